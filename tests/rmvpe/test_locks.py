"""A lock keeps others out, ends with its process, and is not held by processes that this one starts or forks."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rmvpe import locks

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")
HOLD = """
import sys, time
from pathlib import Path
from typing import Any
from rmvpe import locks
with locks.held(Path(sys.argv[1]), "holder"):
    print("held", flush=True)
    time.sleep(120)
"""


def is_free(path: Path) -> bool:
    try:
        with locks.held(path):
            return True
    except locks.InUseError:
        return False


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == "held\n"
    return process


def test_one_at_a_time_and_nothing_left(tmp_path: Path):
    path = tmp_path / "lock"
    with locks.held(path, "the text"):
        assert path.exists()
        with pytest.raises(locks.InUseError), locks.held(path):
            pass
        with pytest.raises(locks.InUseError):
            locks.check_free(path)
        if sys.platform != "win32":
            assert path.read_text() == "the text"
    assert not path.exists()
    locks.check_free(path)
    assert not path.exists()  # looking makes no file
    assert is_free(path)


def test_a_file_that_is_not_locked_is_taken_over(tmp_path: Path):
    path = tmp_path / "lock"
    path.write_text("a longer text of a process that was killed")
    with locks.held(path, "new"):
        assert sys.platform == "win32" or path.read_text() == "new"


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_process_frees_it(number: signal.Signals, tmp_path: Path):
    path = tmp_path / "lock"
    process = holder(path)
    with pytest.raises(locks.InUseError, match="holder"):
        locks.check_free(path)
    process.send_signal(number)
    process.wait()
    assert is_free(path)


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


@posix
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")  # JAX's, where an earlier test has started it
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_that_it_has_started_do_not_hold_it(method: str, tmp_path: Path):
    path = tmp_path / "lock"
    with locks.held(path):
        context: Any = multiprocessing.get_context(method)
        child = context.Process(target=_sleep, args=(60,))
        child.start()
        shell = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert child.is_alive()
        assert is_free(path)
    finally:
        for process in (child, shell):
            process.kill()
        child.join()
        shell.wait()


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_forked_process_that_leaves_the_block_frees_nothing(tmp_path: Path):
    path = tmp_path / "lock"
    block = locks.held(path)
    block.__enter__()
    child = os.fork()
    if child == 0:
        block.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(child, 0)
    assert path.exists()
    assert not is_free(path)
    block.__exit__(None, None, None)
    assert is_free(path)
