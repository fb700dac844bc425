"""Temporary files of killed programs are removed; those of living ones, of other machines and of other people stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.files import atomic_path, check_folder
from rmvpe.leftovers import PATTERN, is_running, machine, remove_leftovers, temporary_name

NAMES = [
    "a.csv",
    "あ" * 83 + ".npz",
    "x" * 250 + ".png",
    "x." + "y" * 250,
    ".hidden",
    "a\nb.csv",
    "🎤" * 60 + ".csv",
    "no",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_the_temporary_name_fits_where_the_name_does(name: str, tmp_path: Path):
    temporary = temporary_name(Path(name))
    assert PATTERN.fullmatch(temporary)
    assert len(os.fsencode(temporary)) <= 143
    with atomic_path(tmp_path / name) as path:
        path.write_text("result")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "result")]


@pytest.mark.skipif(sys.platform == "win32", reason="there a program has no SIGKILL")
def test_what_a_killed_program_has_left_goes(tmp_path: Path):
    code = f"""
import os
from rmvpe.files import atomic_path
with atomic_path({str(tmp_path / "song.csv")!r}) as path:
    path.write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".song-rmvpe-")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_being_written_stays(tmp_path: Path):
    """Two programs write into one folder: the second starts while the first is at work."""
    with atomic_path(tmp_path / "song.csv") as path:
        path.write_text("half")
        check_folder(tmp_path)
        assert path.read_text() == "half"
        with atomic_path(tmp_path / "song.csv") as other:
            assert other != path


def test_what_is_not_ours_stays(tmp_path: Path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    process = int(gone.stdout)
    assert not is_running(process)
    elsewhere = "00000000" if machine() != "00000000" else "11111111"
    owner = f"{machine()}-{process}"
    stay = [f".a-rmvpe-{elsewhere}-{process}-abcdef.csv", f".a-{owner}.csv", f"a-rmvpe-{owner}-abcdef.csv"]
    for name in (*stay, f".a-rmvpe-{owner}-abcdef.csv"):
        (tmp_path / name).write_text("?")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)


def test_processes_that_run():
    assert is_running(os.getpid())
    assert is_running(10**30)  # no number of a process: nothing is known
