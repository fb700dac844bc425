"""`note_seq` and `note_dur` in the transcriptions.csv of a DiffSinger data set.

The table that MakeDiffSinger (https://github.com/openvpi/MakeDiffSinger) makes and DiffSinger trains on has a row per
recording: `name`, the phonemes with their durations (`ph_seq`, `ph_dur`), the number of phonemes of each word
(`ph_num`), and the notes (`note_seq`, `note_dur`). Notes are parts of words: their durations add up to that of the
phonemes, and no note goes over the border of two words. So in a row that has words, notes are fitted to them, as SOME
does (https://github.com/openvpi/SOME): an onset or end at most 50 ms from a border moves to it, and a note that goes on
over a border is cut there. Without words the notes stay where they are.
"""

import csv
import io
import itertools
import math
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.notes.check import check_notes
from rmvpe.notes.diffsinger import check_pitches, note_of
from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes
from rmvpe.notes.timeline import MICROSECONDS, Span, length_us, microseconds, seconds_text, spans

COLUMNS = ("name", "ph_seq", "ph_dur", "ph_num", "note_seq", "note_dur")
SNAP_US = 50_000
Row = dict[str, str]


def update_transcriptions(path: str | Path, recordings: Mapping[str, Notes]) -> tuple[str, ...]:
    """Write the notes of `recordings`, name -> notes, into the table `path`; on an error the old file stays.

    `note_seq` and `note_dur` of the rows with these names are replaced; other rows, other columns and the order of both
    stay. Names are the same if they look the same (Unicode's NFC): macOS writes accents in another way. Returns the
    names that have no row: they are not added, because a row without phonemes spoils the training. Where there is no
    file, one is made with a row for each recording, whose phonemes are still empty. Raises UserError if the file is no
    such table, if `ph_dur` and `ph_num` of a row contradict each other, and for notes that a `.ds` cannot hold.
    """
    path = Path(path)
    for name, notes in recordings.items():
        check_recording(name, notes)
    if path.exists():
        columns, rows, line_end = _read(path)
        columns += [column for column in COLUMNS[-2:] if column not in columns]
    else:
        columns, line_end = list(COLUMNS), "\n"
        rows = [{**dict.fromkeys(COLUMNS, ""), "name": name} for name in recordings]
    found = {_key(name): notes for name, notes in recordings.items()}
    for number, row in enumerate(rows, start=1):
        if _key(row["name"]) in found:
            row.update(note_columns(found[_key(row["name"])], _words(path, number, row)))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator=line_end)
    table.writeheader()
    table.writerows(rows)
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.getvalue().encode())
    present = {_key(row["name"]) for row in rows}
    return tuple(name for name in recordings if _key(name) not in present)


def check_transcriptions(path: str | Path, names: Collection[str]) -> dict[str, bool]:
    """Which of `names` get notes in the table `path`, and whether their rows have some already: name -> bool.

    To be called before the notes are computed. Where there is no file, all names get a row. Raises UserError as
    `update_transcriptions` would for the table and for the rows of these names.
    """
    path = Path(path)
    if not path.exists():
        return dict.fromkeys(names, False)
    wanted = {_key(name): name for name in names}
    filled: dict[str, bool] = {}
    for number, row in enumerate(_read(path)[1], start=1):
        if (name := wanted.get(_key(row["name"]))) is not None:
            _words(path, number, row)
            filled[name] = filled.get(name, True) and bool(row.get("note_seq") and row.get("note_dur"))
    return filled


def check_recording(name: str, notes: Notes) -> None:
    """Raise UserError, which names the recording, for notes that a table cannot hold."""
    try:
        check_notes(notes)
        check_pitches(notes)
    except ValueError as error:
        raise UserError(f"the notes of {name} cannot be written: {error}") from error


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def note_columns(notes: Notes, borders_us: Sequence[int] = ()) -> Row:
    """`note_seq` and `note_dur`, separated by spaces, with "rest" between notes.

    borders_us: the ends of the words in microseconds, from the first word's on; by default there are none, and the
    notes cover the length of the track.
    """
    if borders_us:
        fitted = [_snapped(note, borders_us) for note in notes]
        found = [part for span in spans(fitted, borders_us[-1]) for part in _cut(span, borders_us)]
    else:
        found = spans(notes, length_us(notes, notes.track))
    durations = " ".join(seconds_text(span.end_us - span.start_us) for span in found)
    return {"note_seq": " ".join(map(note_of, found)), "note_dur": durations}


def _snapped(note: Note, borders_us: Sequence[int]) -> Note:
    """The note with its ends at borders that are near; as it was, where nothing would be left of it."""
    onset_us, offset_us = (_nearest(microseconds(time_s), borders_us) for time_s in (note.onset_s, note.offset_s))
    if onset_us >= offset_us:
        return note
    return replace(note, onset_s=onset_us / MICROSECONDS, offset_s=offset_us / MICROSECONDS)


def _nearest(us: int, borders_us: Sequence[int]) -> int:
    border = min((0, *borders_us), key=lambda border: abs(border - us))
    return border if abs(border - us) <= SNAP_US else us


def _cut(span: Span, borders_us: Sequence[int]) -> list[Span]:
    inside = [border for border in borders_us if span.start_us < border < span.end_us]
    edges = [span.start_us, *sorted(set(inside)), span.end_us]
    return [Span(start, end, span.note) for start, end in itertools.pairwise(edges)]


def _words(path: Path, number: int, row: Row) -> list[int]:
    """The ends of the words of row `number`, counted from 1, in microseconds; empty if the row has no phonemes."""
    lengths, counts = row.get("ph_dur", "").split(), row.get("ph_num", "").split()
    if not lengths and not counts:
        return []
    where = f"{path}: in row {number}, {row['name']},"
    try:
        seconds = [float(text) for text in lengths]
        sizes = [int(text) for text in counts]
    except ValueError as error:
        raise UserError(f"{where} ph_dur or ph_num holds something else than numbers: correct the row") from error
    if not all(0 <= value < math.inf for value in seconds) or not all(size > 0 for size in sizes) or not sum(seconds):
        raise UserError(f"{where} ph_dur and ph_num must be durations in seconds and numbers above 0: correct the row")
    if sum(sizes) != len(seconds):
        raise UserError(
            f"{where} ph_num counts {sum(sizes)} phonemes and ph_dur has {len(seconds)}: correct the row, or empty "
            "both for notes that are not fitted to words"
        )
    borders, position, now = [], 0, 0.0
    for size in sizes:
        now += sum(seconds[position : position + size])
        position += size
        borders.append(microseconds(now))
    return borders


def _read(path: Path) -> tuple[list[str], list[Row], str]:
    """Columns, rows and line end of a table. Raises UserError, in one sentence that names the file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table of transcriptions: {error}; save it as UTF-8 csv") from error
    if "name" not in header or len(set(header)) != len(header):
        raise UserError(
            f"{path} is no table of transcriptions: its first line must name the columns, each once, such as "
            f"{','.join(COLUMNS)}"
        )
    for number, row in enumerate(rows, start=1):
        if len(row) > len(header):
            raise UserError(f"{path}: row {number} has {len(row)} fields for {len(header)} columns: correct the row")
    filled = [dict(zip(header, [*row, *[""] * (len(header) - len(row))])) for row in rows]
    return header, filled, "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
