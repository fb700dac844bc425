"""Files of notes: which formats there are, written whole or not at all, and read with one kind of error."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.notes.audacity import write_labels
from rmvpe.notes.check import check_notes
from rmvpe.notes.diffsinger import write_ds
from rmvpe.notes.midi import write_mid
from rmvpe.notes.midi_read import read_mid
from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.praat import write_textgrid
from rmvpe.notes.tables import Contents, read_csv, read_json, write_csv, write_json
from rmvpe.track_display import TrackArrays

Writer = Callable[[Sequence[Note], TrackArrays | None, Path, NoteFileOptions], None]
WRITERS: dict[str, Writer] = {
    "mid": write_mid,
    "csv": write_csv,
    "json": write_json,
    "ds": write_ds,
    "textgrid": write_textgrid,
    "labels": write_labels,
}
READERS: dict[str, Callable[[Path], Contents]] = {"mid": read_mid, "csv": read_csv, "json": read_json}
# Suffix in lower case, without the dot -> format; the first one of a format is the one that its programs expect
SUFFIXES = {
    "mid": "mid",
    "midi": "mid",
    "csv": "csv",
    "json": "json",
    "ds": "ds",
    "textgrid": "textgrid",
    "txt": "labels",  # the only suffix that Audacity offers
    "labels": "labels",
}


def format_of(path: str | os.PathLike[str], file_format: str | None = None) -> str:
    """The name of the format: `file_format`, or by default that of the suffix. Raises UserError if it is unknown."""
    if file_format is None:
        name = SUFFIXES.get(Path(path).suffix[1:].lower(), "")
        what = f"{path} has no known suffix"
    else:
        name, what = file_format, f"unknown format {file_format!r}"
    if name not in WRITERS:
        raise UserError(f"{what}: choose one of {', '.join(WRITERS)}")
    return name


def write(
    notes: Sequence[Note],
    track: TrackArrays | None,
    path: str | os.PathLike[str],
    file_format: str | None = None,
    options: NoteFileOptions | None = None,
) -> None:
    """Write `path` in `file_format`, by default that of its suffix; on an error the old file, if any, stays.

    track: the f0 that the notes were found in, for pitch bends and curves; None if it is not known. Raises UserError
    for an unknown format, a folder that cannot be written, notes that overlap or hold impossible numbers, and what the
    format cannot hold.
    """
    write_as = WRITERS[format_of(path, file_format)]
    try:
        check_notes(notes)
    except ValueError as error:
        raise UserError(f"cannot write {path}: {error}") from error
    with atomic_path(path) as temporary:
        write_as(notes, track, temporary, options or NoteFileOptions())


def read(path: Path) -> Contents:
    """The notes of a file. Raises UserError for whatever is wrong with it, in one sentence that names it."""
    name = format_of(path)
    if name not in READERS:
        raise UserError(f"{path} is a {name} file, which is only written: read one of {', '.join(READERS)}")
    if not path.is_file():
        raise UserError(
            f"{path} is a folder: give a file" if path.is_dir() else f"{path} does not exist: check the path"
        )
    try:
        contents = READERS[name](path)
        check_notes(contents.notes)
    except UserError:
        raise
    except Exception as error:  # mido and the parsers raise many kinds for a file of another kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as notes: {reason}") from error
    return contents
