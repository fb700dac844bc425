"""Notes as tables, there and back.

- csv: the header `onset_s,offset_s,pitch_midi,name,velocity,confidence`, one line per note; a field is empty where the
  value is not known. Times to the microsecond, pitch to a hundredth of a cent. `name` is for people: readers ignore it.
- json: a table with `made_by`, `tuning_cents`, `missing` and `notes`, at full precision; null where not known.

Readers raise ValueError for whatever is wrong, without the name of the file: `rmvpe.notes.files.read` adds it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmvpe.json_text import decode, parse_json
from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.track_display import TrackArrays
from rmvpe.track_files import FIELDS as TRACK_FIELDS

COLUMNS = ("onset_s", "offset_s", "pitch_midi", "name", "velocity", "confidence")
VALUES = tuple(name for name in COLUMNS if name != "name")  # what a `Note` is made of
OPTIONAL = ("velocity", "confidence")
MADE_BY = "made_by"  # the first key of a json file, by which `rmvpe.ownership` knows ours
MAX_BYTES = 16 << 20  # of a file: more than a day of notes


@dataclass(frozen=True)
class Contents:
    """What a file of notes holds; see `rmvpe.notes.notes.Notes`. tuning_cents: None where the file has none."""

    notes: tuple[Note, ...]
    tuning_cents: float | None = None
    missing: tuple[str, ...] = ()


def write_csv(notes: Sequence[Note], track: TrackArrays | None, path: Path, options: NoteFileOptions) -> None:
    """One line per note; the track and the options play no part."""
    lines = [",".join(COLUMNS), *map(_line, notes)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _line(note: Note) -> str:
    velocity = "" if note.velocity is None else f"{note.velocity:d}"
    confidence = "" if note.confidence is None else f"{note.confidence:.4f}"
    return f"{note.onset_s:.6f},{note.offset_s:.6f},{note.pitch_midi:.4f},{note.name},{velocity},{confidence}"


def read_csv(path: Path) -> Contents:
    header, *lines = decode(bytes_of(path)).splitlines() or [""]
    if header.strip() == ",".join(TRACK_FIELDS):
        raise ValueError("it is an f0 track: read it with F0Track.read, whose notes() finds the notes")
    if header.strip() != ",".join(COLUMNS):
        raise ValueError(f"its first line is not {','.join(COLUMNS)}")
    return Contents(tuple(_note_of(number, line) for number, line in enumerate(lines, start=2) if line.strip()))


def _note_of(number: int, line: str) -> Note:
    """The note of line `number` of a csv, counted from 1."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(COLUMNS):
        raise ValueError(f"line {number} has {len(fields)} columns, not {len(COLUMNS)}")
    values: dict[str, Any] = {}
    for name, field in zip(COLUMNS, fields):
        if name == "name":
            continue
        if not field and name in OPTIONAL:
            values[name] = None
            continue
        try:
            values[name] = float(field)
        except ValueError as error:
            raise ValueError(f"in line {number}, {name} is {field[:40]!r}, not a number") from error
    return _note(f"in line {number}", values)


def write_json(notes: Sequence[Note], track: TrackArrays | None, path: Path, options: NoteFileOptions) -> None:
    """`json_table` after the mark of this package; the track and the options play no part."""
    text = json.dumps({MADE_BY: "rmvpe", **json_table(notes)}, indent=1, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def json_table(notes: Sequence[Note]) -> dict[str, Any]:
    """`rmvpe.Notes` as lists and numbers, for JSON; a plain list of notes has no tuning, and nothing is missing."""
    return {
        "tuning_cents": float(getattr(notes, "tuning_cents", 0.0)),
        "missing": list(getattr(notes, "missing", ())),
        "notes": [{name: _plain(name, getattr(note, name)) for name in VALUES} for note in notes],
    }


def _plain(name: str, value: Any) -> float | int | None:
    """A value of a note as a number of Python's own, also where numpy made it."""
    return None if value is None else int(value) if name == "velocity" else float(value)


def read_json(path: Path) -> Contents:
    table = _table("the file", parse_json(bytes_of(path)), (MADE_BY, "tuning_cents", "missing", "notes"))
    tuning_cents, missing, rows = table.get("tuning_cents", 0.0), table.get("missing", []), table.get("notes")
    if not isinstance(rows, list):
        raise ValueError('it has no list "notes"')
    if not _is_number(tuning_cents) or not math.isfinite(tuning_cents):
        raise ValueError(f"tuning_cents is {tuning_cents!r:.40}, not a number")
    if not isinstance(missing, list) or not all(isinstance(sentence, str) for sentence in missing):
        raise ValueError("missing is not a list of texts")
    notes = [_note(f"in note {number}", _row(number, row)) for number, row in enumerate(rows, start=1)]
    return Contents(tuple(notes), float(tuning_cents), tuple(missing))


def _row(number: int, row: Any) -> dict[str, Any]:
    """The values of note `number` of a json file, counted from 1."""
    where = f"note {number}"
    values = {**dict.fromkeys(OPTIONAL), **_table(where, row, VALUES)}
    if absent := [name for name in VALUES if name not in values]:
        raise ValueError(f"{where} has no {', '.join(absent)}")
    for name, value in values.items():
        if not _is_number(value) and not (value is None and name in OPTIONAL):
            raise ValueError(f"in {where}, {name} is {value!r:.40}, not a number")
    return values


def _table(where: str, value: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """`value`, if it is a table without other keys than these: a mistyped one would be lost without a word."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {type(value).__name__}, not a table")
    if unknown := [name[:40] for name in value if name not in keys]:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(keys)}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _note(where: str, values: dict[str, Any]) -> Note:
    """A note of checked numbers; its velocity must be whole."""
    velocity = values["velocity"]
    if velocity is not None and not float(velocity).is_integer():
        raise ValueError(f"{where}, velocity is {velocity:g}, not a whole number")
    numbers = {name: None if value is None else float(value) for name, value in values.items()}
    return Note(**{**numbers, "velocity": None if velocity is None else int(velocity)})  # type: ignore[arg-type]


def bytes_of(path: Path) -> bytes:
    """The file, if it is not far too large for one of notes."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than the {MAX_BYTES:,} bytes that are read")
    return data
