"""Label files as the data sets write them: MIDI lines (.pv), time and Hz (.csv), lists of notes (.json, .txt).

Unvoiced is written in several ways, and all of them are read as 0: 0 itself; a negative frequency, by the convention of
mir_eval, MIREX and Tony, where |f| is the pitch if the frame were sung after all
(https://mir-eval.readthedocs.io/latest/api/melody.html); NaN, as librosa writes it; nothing, as pandas writes NaN.
What cannot be right is refused with its line: infinity, decimal commas, more than 10 kHz, MIDI numbers above 127 (a
file of Hz), times that do not grow. Low Hz are never taken for MIDI numbers: bass guitars play at 40 to 80 Hz.

Valid files take a vectorised path; on failure the file is parsed line by line, so that the UserError names the line.
"""

import math
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.config_check import shown
from rmvpe.errors import UserError
from rmvpe.pitch import midi_to_hz
from rmvpe.reading import check_regular, read_bytes, read_json, reading

NOTE_STEP_S = 0.01  # of the f0 made from notes
MIN_F0_HZ, MAX_F0_HZ = 1.0, 10_000.0  # no voice or instrument has a higher pitch; the network ends at 2005 Hz
MAX_TIME_S = 1e6  # eleven days
MAX_LABEL_BYTES = 64 << 20
TAKE_AGAIN = "take it from the data set again"
_STEP_MARGIN = 1e-6  # of a step: rounding must not move a note that begins at k x 10 ms
_HIGHEST_MIDI = 127
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*([;\t ]\s*[-+]?\d+(,\d+)?\s*)*")
NO_DECIMAL_COMMA = "has decimal commas: write decimals with a point, such as 0.01,220.5"


def read_label(path: str | Path) -> np.ndarray:
    """The f0 of a .pv file, one MIDI number per line: float32 [lines] in Hz, 0 = unvoiced.

    NaN and an empty line are unvoiced too; empty lines at the end count only if there are others. Raises
    FileNotFoundError, or UserError for a line that is not a number from 0 to 127.
    """
    path = Path(path)
    lines = _lines(path, "one MIDI number per line")
    midi = _numbers(lines)
    if midi is None or not ((midi >= 0) & (midi <= _HIGHEST_MIDI)).all():
        midi = np.array([_midi_number(path, number, line) for number, line in enumerate(lines, start=1)])
    return midi_to_hz(midi).astype(np.float32)


def read_time_f0(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """`time_s` float64 and `f0_hz` float32 (0 = unvoiced), [points], of a .csv file: "seconds,Hz" per line, no header.

    Raises FileNotFoundError, or UserError for an empty file, a line of other content and a time that does not grow.
    """
    path = Path(path)
    lines = _lines(path, "time and f0 per line")
    while len(lines) > 1 and not lines[-1].strip():
        del lines[-1]
    numbers = _numbers(",".join(lines).split(","))
    if numbers is None or len(numbers) != 2 * len(lines) or not _usual(numbers[::2], numbers[1::2]):
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
    _check_there(path, "time and f0 per line")
    with reading(path, TAKE_AGAIN), path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 256))
        lines = file.read().decode("utf-8", "replace").rstrip().splitlines()
    try:
        time_s, _ = map(float, lines[-1].split(","))
    except (IndexError, ValueError):
        time_s = math.nan
    # The whole file gives the time of a line with an empty f0, or an error that names the line
    return time_s if 0 <= time_s <= MAX_TIME_S else float(read_time_f0(path)[0][-1])


def read_notes_json(path: str | Path) -> dict[str, np.ndarray]:
    """Notes by song: {id: [[onset s, offset s, MIDI], ...]} as float64 [notes, 3], sorted by onset.

    Raises FileNotFoundError, or UserError for a file or a note of other content.
    """
    path = Path(path)
    songs = read_json(path, TAKE_AGAIN, MAX_LABEL_BYTES)
    if not isinstance(songs, dict) or not all(isinstance(rows, list) for rows in songs.values()):
        raise UserError(f"{path} does not hold lists of notes by song: {TAKE_AGAIN}")
    return {
        song: read_notes_rows(rows, partial("{}, song {}, note {}".format, path, song)) for song, rows in songs.items()
    }


def read_notes_text(path: str | Path) -> np.ndarray:
    """Notes [notes, 3] of a file with "onset offset MIDI" per line, separated by blanks or commas.

    Raises as `read_notes_json`.
    """
    path = Path(path)
    lines = _lines(path, "one note per line")
    while not lines[-1].strip():
        del lines[-1]
    for number, line in enumerate(lines, start=1):
        if has_decimal_comma(line):
            raise UserError(f"{path}, line {number}: {line[:40]!r} {NO_DECIMAL_COMMA}")
    return read_notes_rows([line.replace(",", " ").split() for line in lines], lambda number: f"{path}, line {number}")


def read_notes_rows(rows: Sequence[Any], where: Callable[[int], str]) -> np.ndarray:
    """Notes [notes, 3] of rows of (onset s, offset s, MIDI), sorted by onset.

    `where`: from a row's number, counted from 1, the words that name it in the UserError for a row of other content.
    """
    notes = np.array([_note(row, where(number)) for number, row in enumerate(rows, start=1)]).reshape(-1, 3)
    return notes[np.argsort(notes[:, 0], kind="stable")]


def read_text(path: Path) -> str:
    """The text of a label file: UTF-8 or UTF-16, with or without a byte order mark of UTF-8.

    Numbers look the same in every other encoding, so letters that are none of UTF-8 are replaced. Raises UserError.
    """
    data = read_bytes(path, TAKE_AGAIN, MAX_LABEL_BYTES)
    with reading(path, TAKE_AGAIN):
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16")
        return data.decode("utf-8-sig", "replace")


def voiced_hz(f0_hz: float) -> float | None:
    """A frequency of a label file as this library writes it: 0 if it is unvoiced there, None if it cannot be right."""
    if math.isnan(f0_hz) or -math.inf < f0_hz <= 0:
        return 0.0
    return f0_hz if MIN_F0_HZ <= f0_hz <= MAX_F0_HZ else None


def has_decimal_comma(line: str) -> bool:
    """Whether the numbers of a line are written as 0,01: a comma inside them, and another separator between them."""
    return "." not in line and re.search(r"[;\t ]", line.strip()) is not None and bool(_DECIMAL_COMMA.fullmatch(line))


def why_not_a_point(line: str, columns: str = "seconds,Hz") -> str:
    """What is wrong with a line that is no time and f0, and what to write; `columns` is what a line should be."""
    parts = [part.strip() for part in line.split(",")]
    if has_decimal_comma(line) or (len(parts) in (3, 4) and all(part.isdecimal() for part in parts)):
        return NO_DECIMAL_COMMA
    try:
        numbers = [float(part) for part in re.split(r"\s*[,;]\s*|\s+", line.strip())[:2]]
    except ValueError:
        numbers = []
    if len(numbers) == 2 and 0 <= numbers[0] <= MAX_TIME_S and voiced_hz(numbers[1]) is None:
        return f"has an f0 outside {MIN_F0_HZ:g} to {MAX_F0_HZ:g} Hz: write Hz, and 0 where it is unvoiced"
    if len(numbers) == 2 and (numbers[0] < 0 or numbers[0] > MAX_TIME_S):
        return f"has a time outside 0 to {MAX_TIME_S:g} s: write seconds from the start of the recording"
    return f"is not {columns}; write 0 Hz where it is unvoiced"


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


def _check_there(path: Path, content: str) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: every recording needs its label, {content}")
    if path.is_dir():
        raise UserError(f"{path} is a folder: put a file there, {content}")
    check_regular(path, f"put a file there, {content}")


def _lines(path: Path, content: str) -> list[str]:
    """The lines of a label; without those at the end that are empty, unless empty lines stand for something."""
    _check_there(path, content)
    text = read_text(path)
    kept = text.rstrip().splitlines()
    if not kept:
        raise UserError(f"{path} is empty: write {content}")
    lines = text.splitlines()
    return lines if any(not line.strip() for line in kept) else kept


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError:
        return None


def _usual(time_s: np.ndarray, f0_hz: np.ndarray) -> bool:
    """Whether all times and frequencies are in range and none of these is written in another way than 0."""
    in_range = (f0_hz == 0) | ((f0_hz >= MIN_F0_HZ) & (f0_hz <= MAX_F0_HZ))
    return bool(((time_s >= 0) & (time_s <= MAX_TIME_S)).all() and in_range.all())


def _midi_number(path: Path, number: int, line: str) -> float:
    text = line.strip()
    try:
        midi = float(text or "nan")
    except ValueError:
        midi = -1.0
    if math.isnan(midi):
        return 0.0
    if not 0 <= midi <= _HIGHEST_MIDI:
        shown_line = f"{path}, line {number}: {line[:40]!r}"
        if re.fullmatch(r"[-+]?\d+,\d+", text):
            raise UserError(f"{shown_line} has a decimal comma: write decimals with a point, such as 57.5")
        if _HIGHEST_MIDI < midi < math.inf:
            raise UserError(
                f"{shown_line} is above {_HIGHEST_MIDI}, the highest MIDI number: a .pv file holds MIDI numbers, not "
                "Hz; write 69 + 12 log2(f / 440)"
            )
        raise UserError(f"{shown_line} is not a MIDI number; write 0 where it is unvoiced")
    return midi


def _time_f0(path: Path, number: int, line: str) -> tuple[float, float]:
    parts = line.split(",")
    try:
        time_s = float(parts[0])
        f0_hz = voiced_hz(float(parts[1].strip() or "nan")) if len(parts) == 2 else None
    except (ValueError, IndexError):
        time_s, f0_hz = math.nan, None
    if not 0 <= time_s <= MAX_TIME_S or f0_hz is None:
        raise UserError(f"{path}, line {number}: {line[:40]!r} {why_not_a_point(line)}")
    return time_s, f0_hz


def _note(row: Any, where: str) -> tuple[float, float, float]:
    try:
        onset_s, offset_s, midi = map(float, row)
    except (TypeError, ValueError, OverflowError):
        onset_s = offset_s = midi = math.nan
    if not (0 <= onset_s <= offset_s <= MAX_TIME_S and 0 < midi <= _HIGHEST_MIDI):
        raise UserError(f"{where}: {shown(row)} is not a note; write onset and offset in seconds and MIDI pitch")
    return onset_s, offset_s, midi
