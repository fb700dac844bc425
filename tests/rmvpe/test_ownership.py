"""A result replaces only an earlier one: what we write is known as ours by its content, everything else is kept."""

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.errors import UserError
from rmvpe.evaluation.report import Report, ReportFiles
from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes
from rmvpe.ownership import Output, check_outputs, is_complete, is_ours
from rmvpe.track import WRITERS, F0Track

TRACK = F0Track(np.arange(50) * 0.01, np.where(np.arange(50) % 7, 220.0, 0.0), np.arange(50) % 7 > 0, np.full(50, 0.75))
FOREIGN = {
    "csv": b"0.00,220.0\n0.01,0\n",
    "npz": b"PK\x03\x04 somebody's archive",
    "npy": b"\x93NUMPY\x01\x00",
    "pv": b"60.1\n60.25\n",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "json": b'{"name": "somebody\'s"}',
    "notes json": b'{"made_by": "rmvpe 0.1.0", "tuning_cents": 0.0, "notes": []}',
    "report csv": b"file,score\na,1\n",
    "markdown": b"# Notes\n",
    "two columns": b"time,f0\n",
    "curve": b"0.0 220.0\n",
    "pitchtier": b'File type = "ooTextFile"\nObject class = "PitchTier"\n\nxmin = 0 \nxmax = 1 \npoints: size = 0 \n',
    "textgrid": b'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 1 \n',
    "labels": b"0.000000\t1.000000\tverse\n",
    "ds": b'[{"offset": 0.0, "ph_seq": "SP"}]',
}
posix = pytest.mark.skipif(sys.platform == "win32", reason="no such files there")


@pytest.mark.parametrize("kind", WRITERS)
def test_what_we_write_is_ours_and_complete(kind: str, tmp_path: Path):
    path = tmp_path / f"track.{kind}"
    TRACK.write(path)
    assert is_ours(path, kind)
    assert is_complete(path, kind)
    check_outputs([Output(path, kind)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3 + 1])
    assert not is_complete(path, kind)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_needs_force(kind: str, tmp_path: Path):
    path = tmp_path / "precious"
    path.write_bytes(FOREIGN[kind])
    assert not is_ours(path, kind)
    with pytest.raises(UserError, match=r"precious exists .* --force"):
        check_outputs([Output(path, kind)])
    check_outputs([Output(path, kind)], force=True)
    assert path.read_bytes() == FOREIGN[kind]


def test_notes_and_a_report_do_not_replace_each_other(tmp_path: Path):
    """Both are JSON files of ours."""
    notes, report = tmp_path / "notes.json", tmp_path / "report.json"
    Notes((Note(0.0, 1.0, 60.0),)).write(notes)
    Report("Title", "| a |", ("file",), [], {"notes": [], "tuning_cents": 0.0}).write(ReportFiles(json=report))
    check_outputs([Output(notes, "notes json"), Output(report, "json")])
    assert is_complete(notes, "notes json")
    assert is_complete(report, "json")
    for path, kind in ((report, "notes json"), (notes, "json")):
        assert not is_complete(path, kind)
        with pytest.raises(UserError, match=rf"{path.name} exists .* --force"):
            check_outputs([Output(path, kind)])


def test_arrays_of_other_programs_are_not_ours(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.full(10, 220.0))  # float64
    np.savez(tmp_path / "a.npz", f0=np.full(10, 220.0))
    assert not is_ours(tmp_path / "a.npy", "npy")
    assert not is_ours(tmp_path / "a.npz", "npz")


@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_replaced(force: bool, tmp_path: Path):
    path = tmp_path / "a.csv"
    TRACK.write(path)
    (tmp_path / "folder").mkdir()
    for output in (path, tmp_path / "folder" / ".." / "a.csv"):
        with pytest.raises(UserError, match=r"a\.csv is an input"):
            check_outputs([Output(output, "csv")], [path], force)


def test_a_hard_link_to_an_input_is_that_input(tmp_path: Path):
    path = tmp_path / "a.csv"
    TRACK.write(path)
    os.link(path, tmp_path / "b.csv")
    with pytest.raises(UserError, match=r"b\.csv is an input"):
        check_outputs([Output(tmp_path / "b.csv", "csv")], [path])


def test_two_outputs_in_one_place(tmp_path: Path):
    with pytest.raises(UserError, match="are one file"):
        check_outputs([Output(tmp_path / "a.csv", "csv"), Output(tmp_path / "x" / ".." / "a.csv", "json")])


def test_a_label_beside_a_recording_may_look_like_ours(tmp_path: Path):
    """A .pv of a data set has our format: where inputs lie, only the user can tell."""
    for kind in ("pv", "curve"):
        path = tmp_path / f"song.{kind}"
        TRACK.write(path)
        check_outputs([Output(path, kind)])
        with pytest.raises(UserError, match="--force"):
            check_outputs([Output(path, kind, careful=True)])


@posix
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("what", ["folder", "link", "dangling", "fifo", "device"])
def test_only_regular_files_are_replaced(what: str, force: bool, tmp_path: Path):
    path = tmp_path / "out.csv"
    target = tmp_path / "target.csv"
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/null")
    else:
        if what == "link":
            TRACK.write(target)
        path.symlink_to(target)
    before = os.lstat(path)
    with pytest.raises(UserError, match=str(path)):
        check_outputs([Output(path, "csv")], force=force)
    with pytest.raises(UserError, match=str(path)):
        TRACK.write(path, "csv")
    assert stat.S_IFMT(os.lstat(path).st_mode) == stat.S_IFMT(before.st_mode)
    assert target.exists() == (what == "link")


@posix
def test_a_linked_folder_is_followed(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    check_outputs([Output(tmp_path / "out" / "a.csv", "csv")])
    TRACK.write(tmp_path / "out" / "a.csv")
    assert (tmp_path / "disk" / "a.csv").is_file()
    with pytest.raises(UserError, match="is an input"):
        check_outputs([Output(tmp_path / "out" / "a.csv", "csv")], [tmp_path / "disk" / "a.csv"])
