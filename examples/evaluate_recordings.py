"""Scores on your own recordings: put NAME.csv (time_s,f0_hz; 0 Hz = unvoiced) beside NAME.wav.

    python examples/evaluate_recordings.py                                  # the bundled recording, see below
    python examples/evaluate_recordings.py my-recordings --weights mine.safetensors

Nobody has labelled the bundled recording. Without arguments it is re-synthesised as harmonics along the f0 that was
found, so that this f0 is exact, and scored against it. Needs `pip install '.[torch,eval]'`, or jax for torch.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile

import rmvpe
from rmvpe.data.readers.folder import Annotated
from rmvpe.evaluation.evaluate import evaluate

RECORDING = Path(__file__).with_name("demo.flac")


def resynthesise(folder: Path) -> None:
    """Write `folder`/demo.wav, ten harmonics along the f0 of the bundled recording, and `folder`/demo.csv."""
    track = rmvpe.load("small").from_file(RECORDING)
    time_s = np.arange(round(track.time_s[-1] * 16_000)) / 16_000
    f0_hz = np.interp(time_s, track.time_s, track.interpolated().f0_hz)
    loudness = np.interp(time_s, track.time_s, track.voiced.astype(float))
    phase = 2 * np.pi * np.cumsum(f0_hz) / 16_000
    voice = loudness * sum(np.sin(number * phase) / number for number in range(1, 11))
    soundfile.write(folder / "demo.wav", 0.2 * voice, 16_000)
    np.savetxt(folder / "demo.csv", np.stack([track.time_s, track.f0_hz], axis=1), "%.4f", delimiter=",")


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Print the scores of each file and of all together; returns the latter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--weights", default="small", help="bundled name or file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.folder is None:
            resynthesise(Path(temporary))
        source = Annotated(arguments.folder or temporary)
        result = evaluate(rmvpe.load(arguments.weights), source, snr_db=(np.inf,))  # inf dB: no music
    for row in [*result.files, {"file": "all", **result.pooled["clean"]}]:
        print(f"{row['file']}: " + ", ".join(f"{name} {100 * row[name]:.1f} %" for name in ("RPA", "OA", "VR", "VFA")))
    return result.pooled["clean"]


if __name__ == "__main__":
    main()
