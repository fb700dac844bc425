"""Notes by another project's program, in a Python that has it: `PYTHON benchmarks/note_peers.py NAME`.

Started by `benchmarks/notes.py`. It needs that program, numpy and soundfile, and nothing of this project. For each line
of stdin, the path of a sound file, it answers with one line of JSON: {"notes": [[onset s, offset s, MIDI], ...]} or
{"error": "why"}. Its first line says what it is: {"about": "..."}.

- swift-f0: `segment_notes` of `SwiftF0().detect`, both with their defaults, as its README has it. One float pitch a
  note.
- basic-pitch: `predict` with its defaults and the ONNX model that its package contains. It is polyphonic and its
  pitches are whole MIDI numbers; all its notes are given, overlapping ones too.
"""

import json
import math
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Find = Callable[[str], list[tuple[float, float, float]]]


def open_swift() -> tuple[Find, str]:
    """Notes of SwiftF0 (https://github.com/lars76/swift-f0)."""
    import soundfile
    from swift_f0 import SwiftF0, segment_notes

    model = SwiftF0()

    def find(path: str) -> list[tuple[float, float, float]]:
        samples, rate = soundfile.read(path, dtype="float32")
        notes = segment_notes(model.detect(samples, rate))
        return [(note.start, note.end, 69.0 + 12.0 * math.log2(note.pitch_hz / 440.0)) for note in notes]

    return find, f"swift-f0 {version('swift-f0')}, segment_notes"


def open_basic_pitch() -> tuple[Find, str]:
    """Notes of Basic Pitch (https://github.com/spotify/basic-pitch)."""
    import basic_pitch
    from basic_pitch.inference import Model, predict

    model = Model(Path(basic_pitch.__file__).parent / "saved_models" / "icassp_2022" / "nmp.onnx")

    def find(path: str) -> list[tuple[float, float, float]]:
        _, _, events = predict(path, model)
        return sorted((float(event[0]), float(event[1]), float(event[2])) for event in events)

    return find, f"basic-pitch {version('basic-pitch')}, ONNX, polyphonic"


PEERS = {"swift-f0": open_swift, "basic-pitch": open_basic_pitch}


def main() -> None:
    """Answer on stdout; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    find, about = PEERS[sys.argv[1]]()
    print(json.dumps({"about": about}), file=answers, flush=True)
    for line in sys.stdin:
        answer: dict[str, Any]
        try:
            answer = {"notes": [list(map(float, note)) for note in find(line.rstrip("\n"))]}
        except Exception as error:  # another project's code: whatever it raises is its answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
