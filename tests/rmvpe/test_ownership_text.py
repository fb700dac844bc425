"""Text files for other programs are ours until somebody edits them there; then they are kept."""

from pathlib import Path
from typing import Any

import pytest

from rmvpe.errors import UserError
from rmvpe.notes.files import write
from rmvpe.notes.note import Note
from rmvpe.ownership import Output, check_outputs, is_complete, is_ours

PHRASE = [Note(0.1, 0.7, 57.3), Note(0.7, 1.0, 60.0), Note(1.2, 1.5, 61.88)]
EDITS = [
    ("textgrid", 'text = "C4"', 'text = "la"'),
    ("textgrid", 'name = "notes"', 'name = "words"'),
    ("textgrid", "xmin = 0\n", "xmin = 0 \n"),
    ("labels", "\tC4\n", "\tchorus\n"),
    ("labels", "0.700000\t1.000000", "0.7\t1.0"),
    ("ds", '"ph_seq": "SP AP AP SP AP"', '"ph_seq": "SP l a l a SP AP"'),
    ("ds", '"made_by": "rmvpe",', ""),
    ("ds", "[\n", "[{}, \n"),
]


@pytest.mark.parametrize(("kind", "before", "after"), EDITS)
def test_a_file_with_somebodys_work_is_not_ours(kind: str, before: str, after: str, tmp_path: Path):
    path = tmp_path / "song"
    write(PHRASE, None, path, kind)
    assert is_ours(path, kind)
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8", newline="\n")
    assert not is_ours(path, kind)
    assert not is_complete(path, kind)


def test_what_praat_saved_is_not_ours(tmp_path: Path):
    parselmouth = pytest.importorskip("parselmouth")
    call: Any = parselmouth.praat.call
    path = tmp_path / "song.TextGrid"
    write(PHRASE, None, path)
    call(parselmouth.read(str(path)), "Save as text file", str(path))
    assert not is_ours(path, "textgrid")


def test_labels_beside_a_recording_may_be_somebodys(tmp_path: Path):
    """A label track that Audacity exported has our lines, if its texts are names of notes."""
    path = tmp_path / "song.txt"
    write(PHRASE, None, path)
    check_outputs([Output(path, "labels")])
    with pytest.raises(UserError, match="--force"):
        check_outputs([Output(path, "labels", careful=True)])


FOREIGN = [b"{}", b"[]", b"[[]]", b"[{}]", b"[1]", b'[{"made_by": "rmvpe"}]', b"\xff", b"0.0\t1.0\tverse\n", b"\n"]


@pytest.mark.parametrize("kind", ["textgrid", "ds", "labels"])
@pytest.mark.parametrize("content", FOREIGN)
def test_files_of_others(content: bytes, kind: str, tmp_path: Path):
    (tmp_path / "song").write_bytes(content)
    assert not is_ours(tmp_path / "song", kind)
