"""Whose a run's folder is: what is there is not replaced, and one training at a time writes it."""

import os
import signal
import sys
from pathlib import Path

import pytest

from rmvpe import locks
from rmvpe.errors import UserError
from rmvpe.training.folder import LOCK, NAMES, NO_STATE, check_new, check_unused, has_state, owned
from tests.rmvpe.test_locks import holder

RESUME = "rmvpe train torch --logdir x --resume_iteration latest"
NOT_OURS = ("train.log", ".gitkeep", ".git", "slurm-123.out", "notes.md", "state-of-the-art.txt", "checkpoint.pt")


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("precious")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_training_writes_is_refused_and_kept(name: str, tmp_path: Path):
    fill(tmp_path, name)
    for refuse in (lambda: check_new(tmp_path, RESUME), lambda: owned(tmp_path, True, RESUME).__enter__()):
        with pytest.raises(UserError, match="already has") as error:
            refuse()
        assert name in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_other_files_are_fine(tmp_path: Path):
    fill(tmp_path, *NOT_OURS)
    check_new(tmp_path, RESUME)
    with owned(tmp_path, True, RESUME):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NOT_OURS)


@pytest.mark.parametrize("name", ["state-00000012.pt", "state-00000012"])
def test_a_run_is_continued_not_replaced(name: str, tmp_path: Path):
    fill(tmp_path, name, "config.json", NO_STATE)
    with pytest.raises(UserError, match="already holds a run") as error:
        check_new(tmp_path, RESUME)
    assert RESUME in str(error.value)
    with owned(tmp_path, False, RESUME):
        pass


def test_a_run_that_ended_before_its_first_state_may_begin_again(tmp_path: Path):
    with owned(tmp_path, True, RESUME):
        fill(tmp_path, "config.json", "log.jsonl", "last.safetensors")
    check_new(tmp_path, RESUME)
    with owned(tmp_path, True, RESUME):
        has_state(tmp_path)
    with pytest.raises(UserError, match=r"config\.json"):  # its states were deleted since
        check_new(tmp_path, RESUME)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_dangling_link_is_a_name_too(tmp_path: Path):
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"log\.jsonl"):
        check_new(tmp_path, RESUME)


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    for logdir in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="choose another --logdir"), owned(logdir, True, RESUME):
            pass
    with pytest.raises(UserError, match="is no folder"):
        check_new(tmp_path / "file", RESUME)


def test_nothing_is_left_of_a_run_that_wrote_nothing(tmp_path: Path):
    with pytest.raises(UserError), owned(tmp_path / "runs" / "new", True, RESUME):
        raise UserError("no such device")
    assert not list(tmp_path.iterdir())


def test_one_owner_at_a_time(tmp_path: Path):
    with owned(tmp_path, True, RESUME):
        for new in (True, False):
            with (
                pytest.raises(UserError, match=f"in use by another training .process {os.getpid()}"),
                owned(tmp_path, new, RESUME),
            ):
                pass
        with pytest.raises(UserError, match="in use"):
            check_unused(tmp_path)
    check_unused(tmp_path)
    check_unused(tmp_path / "nowhere")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_kill_frees_the_folder(tmp_path: Path):
    process = holder(tmp_path / LOCK)
    with pytest.raises(UserError, match="in use"), owned(tmp_path, True, RESUME):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with owned(tmp_path, True, RESUME):
        pass


def test_a_disk_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """Such a disk is not at hand: the lock says what the system would say."""

    def refuse(path: Path, text: str = "") -> None:
        raise locks.NoLocksError("No locks available")

    monkeypatch.setattr(locks, "held", refuse)
    with owned(tmp_path, True, RESUME):
        pass
    assert "disk without locks (No locks available)" in capsys.readouterr().err


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path):
    ours = (".log-ab12cd34.jsonl", ".state-00000005-xyz.pt", ".best-q1.safetensors", ".config-1.json", ".loss-2.png")
    others = (".gitkeep", ".state-machine-1.txt", ".logs", ".train-1.log", ".lastpass-1")
    fill(tmp_path, *ours, *others)
    with owned(tmp_path, True, RESUME):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
