"""Files of notes for the fuzz: what we write, and what is done with what is read back."""

import itertools
from pathlib import Path

from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes

NOTES = Notes((Note(0.1, 0.5, 60.25, 90, 0.9), Note(0.5, 0.75, 64.0, 1, 0.4), Note(1.5, 2.0, 57.5, 127, 1.0)), 12.5)
TRANSCRIPTIONS = (
    "name,ph_seq,ph_dur,ph_num,note_seq,note_dur\n"
    "a,SP l a SP,0.1 0.1 0.4 0.4,1 1 1 1,rest C4 rest,0.1 0.5 0.4\n"
    "b,,,,,\n"
)


def write_note_files(folder: Path) -> None:
    """Every format that is read, and a table of DiffSinger."""
    for ending in ("mid", "csv", "json"):
        NOTES.write(folder / f"notes.{ending}")
    (folder / "transcriptions.csv").write_text(TRANSCRIPTIONS, encoding="utf-8")


def read_note_file(path: Path) -> None:
    """Notes of a file are in order, do not overlap, and can be written again; a table keeps its other rows."""
    from rmvpe.notes.transcriptions import update_transcriptions

    if path.name == "transcriptions.csv":
        update_transcriptions(path, {"a": NOTES})
        return
    notes = Notes.read(path)
    for note, after in itertools.pairwise(notes):
        assert note.onset_s < note.offset_s <= after.onset_s
    for ending in ("csv", "json"):
        notes.write(path.with_name(f"again.{ending}"))
    notes.rounded()
    notes.quantised(120)
