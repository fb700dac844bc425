"""Label files as the data sets write them: MIDI lines (.pv), time and Hz (.csv), lists of notes (.json, .txt).

Valid files take a vectorised path; on failure the file is parsed line by line, so that the UserError names the line.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.errors import UserError
from rmvpe.pitch import midi_to_hz

NOTE_STEP_S = 0.01  # of the f0 made from notes
_STEP_MARGIN = 1e-6  # of a step: rounding must not move a note that begins at k x 10 ms
_HIGHEST_MIDI = 127


def read_label(path: str | Path) -> np.ndarray:
    """The f0 of a .pv file, one MIDI number per line: float32 [lines] in Hz, 0 = unvoiced.

    Raises FileNotFoundError, or UserError for a line that is not a number of 0 or more.
    """
    path = Path(path)
    lines = _lines(path, "one MIDI number per line")
    midi = _numbers(lines)
    if midi is None or not (np.isfinite(midi) & (midi >= 0)).all():
        midi = np.array([_midi_number(path, number, line) for number, line in enumerate(lines, start=1)])
    return midi_to_hz(midi).astype(np.float32)


def read_time_f0(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """`time_s` float64 and `f0_hz` float32 (0 = unvoiced), [points], of a .csv file: "seconds,Hz" per line, no header.

    Raises FileNotFoundError, or UserError for an empty file, a line of other content and a time that does not grow.
    """
    path = Path(path)
    lines = _lines(path, "time and f0 per line")
    numbers = _numbers(",".join(lines).split(","))
    if numbers is None or len(numbers) != 2 * len(lines) or not np.isfinite(numbers).all() or (numbers < 0).any():
        numbers = np.array([_time_f0(path, number, line) for number, line in enumerate(lines, start=1)]).ravel()
    time_s, f0_hz = numbers[::2].copy(), numbers[1::2].astype(np.float32)
    late = np.flatnonzero(np.diff(time_s) <= 0)
    if len(late):
        line = int(late[0]) + 2
        raise UserError(
            f"{path}, line {line}: {time_s[line - 1]} s does not come after the line before: sort the times"
        )
    return time_s, f0_hz


def last_time_s(path: str | Path) -> float:
    """The time of the last line of a "seconds,Hz" file, without reading the rest of it. Raises as `read_time_f0`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: every recording needs its label, time and f0 per line")
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 256))
        lines = file.read().decode("utf-8", "replace").rstrip().splitlines()
    try:
        return float(lines[-1].split(",")[0])
    except (IndexError, ValueError):
        return float(read_time_f0(path)[0][-1])  # raises an error that names the line


def read_notes_json(path: str | Path) -> dict[str, np.ndarray]:
    """Notes by song: {id: [[onset s, offset s, MIDI], ...]} as float64 [notes, 3], sorted by onset.

    Raises FileNotFoundError, or UserError for a file or a note of other content.
    """
    path = Path(path)
    try:
        songs = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON ({error}): take it from the data set again") from error
    if not isinstance(songs, dict) or not all(isinstance(rows, list) for rows in songs.values()):
        raise UserError(f"{path} does not hold lists of notes by song: take it from the data set again")
    return {song: _notes(rows, partial("{}, song {}, note {}".format, path, song)) for song, rows in songs.items()}


def read_notes_text(path: str | Path) -> np.ndarray:
    """Notes [notes, 3] of a file with "onset offset MIDI" per line, separated by blanks or commas.

    Raises as `read_notes_json`.
    """
    path = Path(path)
    rows = [line.replace(",", " ").split() for line in _lines(path, "one note per line")]
    return _notes(rows, lambda number: f"{path}, line {number}")


def notes_to_f0(notes: np.ndarray, length_s: float) -> tuple[np.ndarray, np.ndarray]:
    """`time_s` float64 and `f0_hz` float32 [points] at 0, 10 ms, ... `length_s` of `notes` [notes, 3].

    A note sounds from its onset until before its offset, and its pitch is constant: the portamento and vibrato of real
    singing, which notes leave out, then count as errors of half a semitone and more. Where notes overlap, the later one
    sounds.
    """
    time_s = NOTE_STEP_S * np.arange(int(length_s / NOTE_STEP_S + _STEP_MARGIN) + 1)
    f0_hz = np.zeros(len(time_s), dtype=np.float32)
    edges = np.ceil(notes[:, :2] / NOTE_STEP_S - _STEP_MARGIN).astype(int)
    for (first, stop), pitch_hz in zip(edges, midi_to_hz(notes[:, 2]), strict=True):
        f0_hz[first:stop] = pitch_hz
    return time_s, f0_hz


def _lines(path: Path, content: str) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: every recording needs its label, {content}")
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    if not lines:
        raise UserError(f"{path} is empty: write {content}")
    return lines


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError:
        return None


def _midi_number(path: Path, number: int, line: str) -> float:
    try:
        midi = float(line)
    except ValueError:
        midi = math.nan
    if not 0 <= midi < math.inf:
        raise UserError(f"{path}, line {number}: {line[:40]!r} is not a MIDI number; write 0 where it is unvoiced")
    return midi


def _time_f0(path: Path, number: int, line: str) -> tuple[float, float]:
    try:
        time_s, f0_hz = map(float, line.split(","))
    except ValueError:
        time_s = f0_hz = math.nan
    if not (0 <= time_s < math.inf and 0 <= f0_hz < math.inf):
        raise UserError(f"{path}, line {number}: {line[:40]!r} is not seconds,Hz; write 0 Hz where it is unvoiced")
    return time_s, f0_hz


def _notes(rows: Sequence[Any], where: Callable[[int], str]) -> np.ndarray:
    notes = np.array([_note(row, where(number)) for number, row in enumerate(rows, start=1)]).reshape(-1, 3)
    return notes[np.argsort(notes[:, 0], kind="stable")]


def _note(row: Any, where: str) -> tuple[float, float, float]:
    try:
        onset_s, offset_s, midi = map(float, row)
    except (TypeError, ValueError):
        onset_s = offset_s = midi = math.nan
    if not (0 <= onset_s <= offset_s < math.inf and 0 < midi <= _HIGHEST_MIDI):
        raise UserError(f"{where}: {str(row)[:40]} is not a note; write onset and offset in seconds and MIDI pitch")
    return onset_s, offset_s, midi
