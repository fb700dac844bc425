"""Label files by the rules of Audacity's manual: begin, end and text, separated by tabs."""

from pathlib import Path

from rmvpe.notes.audacity import write_labels
from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions


def labels(path: Path) -> list[tuple[float, float, str]]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [(float(start), float(end), text) for start, end, text in rows]


def test_a_label_per_note(tmp_path: Path):
    write_labels([Note(0.1, 0.7, 57.3), Note(1.2, 1.5, 61.88)], None, tmp_path / "a.txt", NoteFileOptions())
    assert labels(tmp_path / "a.txt") == [(0.1, 0.7, "A3+30"), (1.2, 1.5, "D4-12")]


def test_without_notes_the_file_is_empty(tmp_path: Path):
    write_labels([], None, tmp_path / "a.txt", NoteFileOptions())
    assert (tmp_path / "a.txt").read_bytes() == b""
