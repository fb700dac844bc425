"""Files and folders appear whole or not at all; what a killed run has left is cleaned; two runs do not collide."""

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from rmvpe.errors import UserError
from rmvpe.files import OutputFolder, atomic_path, check_folder, output_folder, write_text


def tree(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def write_and_fail(writing: AbstractContextManager[Path]) -> None:
    with writing as path:
        (path / "three" if path.is_dir() else path).write_text("three")
        raise RuntimeError("on purpose")


def test_a_file_replaces_another_once_it_is_written(tmp_path: Path):
    target = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        with atomic_path(target) as path:
            path.write_text(text)
            assert path.suffix == ".txt"
    with pytest.raises(RuntimeError, match="on purpose"):
        write_and_fail(atomic_path(target))
    assert tree(tmp_path) == {"new/file.txt": "two"}


def test_a_folder_replaces_another_once_it_is_written(tmp_path: Path):
    target = tmp_path / "new" / "run"
    for text in ("one", "two"):
        with output_folder(target) as folder:
            (folder / text).write_text(text)
            assert tree(target) == ({} if text == "one" else {"one": "one"})
    assert tree(tmp_path) == {"new/run/two": "two"}
    with pytest.raises(RuntimeError, match="on purpose"):
        write_and_fail(output_folder(target))
    assert tree(tmp_path) == {"new/run/two": "two"}
    assert [path.name for path in target.parent.iterdir()] == ["run"]


def test_a_folder_that_is_not_committed_goes(tmp_path: Path):
    with OutputFolder(tmp_path / "run").writing() as folder:
        (folder / "one").write_text("one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_folder_may_replace_a_file_and_stand_behind_a_link(tmp_path: Path):
    (tmp_path / "disk").write_text("a file")
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with output_folder(tmp_path / "run") as folder:
        (folder / "one").write_text("one")
    assert tree(tmp_path / "disk") == {"one": "one"}
    assert (tmp_path / "run").is_symlink()


def test_a_folder_of_somebody_else_is_not_worked_in(tmp_path: Path):
    mine = tmp_path / ".run-unfinished"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"\.run-unfinished .*move it away"), output_folder(tmp_path / "run"):
        pass
    assert tree(tmp_path) == {".run-unfinished/notes.txt": "mine"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write .*run: .*; choose another folder"):
        write_and_fail(output_folder(tmp_path / "file" / "run"))


def die(target: Path, half: bool) -> None:
    """A run that is killed while it writes, or between its two renames."""
    output = OutputFolder(target)
    with output.writing() as folder:
        (folder / "one").write_text("one")
        (output.work / "scratch").mkdir()
        if half:
            target.rename(output.old)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("half", [False, True])
def test_the_next_run_cleans_up_after_a_killed_one(tmp_path: Path, half: bool):
    target = tmp_path / "run"
    with output_folder(target) as folder:
        (folder / "before").write_text("before")
    killed = multiprocessing.get_context("spawn").Process(target=die, args=(target, half))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert tree(tmp_path).keys() > {".run-unfinished/new/one", ".run-unfinished/lock"}
    with pytest.raises(RuntimeError, match="on purpose"):
        write_and_fail(output_folder(target))
    assert tree(tmp_path) == {"run/before": "before"}  # a run that fails leaves the earlier folder, too


def test_a_second_run_is_refused_or_waits(tmp_path: Path):
    pytest.importorskip("fcntl")
    target, order = tmp_path / "run", list[str]()

    def second() -> None:
        with OutputFolder(target).writing(wait=True) as folder:
            order.append("second")
            assert list(folder.iterdir()) == []

    with OutputFolder(target).writing() as folder:
        (folder / "one").write_text("one")
        with pytest.raises(UserError, match="in use by another run"), output_folder(target):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
        OutputFolder(target).commit(folder)
    thread.join()
    assert order == ["first", "second"]
    assert tree(tmp_path) == {"run/one": "one"}


def test_a_folder_is_checked_without_making_it(tmp_path: Path):
    check_folder(tmp_path / "new" / "deeper")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/below", "file", "dangling", "dangling/below", "x" * 300, "a\0b"])
def test_a_folder_that_cannot_be_made_is_a_users_mistake(name: str, tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot write to"):
        check_folder(tmp_path / name)


def test_programs_that_begin_together_do_not_spoil_each_others_check(tmp_path: Path):
    """Each checks the same folder, which is not there yet, and writes to it."""
    start = threading.Barrier(8)

    def work(number: int) -> None:
        for turn in range(30):
            folder = tmp_path / str(turn) / "out"
            start.wait(timeout=30)  # if another has failed, this one ends too
            check_folder(folder)
            write_text(folder / f"{number}.txt", "done\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(list(tmp_path.glob("*/out/*.txt"))) == 30 * 8
