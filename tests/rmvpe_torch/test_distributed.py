"""Several torch processes: they learn what one would, and they end together, whatever happens to one of them."""

import json
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmvpe.errors import UserError  # noqa: E402
from rmvpe.processes import ONE_RANK  # noqa: E402
from rmvpe_torch import distributed  # noqa: E402
from rmvpe_torch.launch import launch, run_processes  # noqa: E402
from rmvpe_torch.train import dropout_seed  # noqa: E402
from tests.helpers.paths import ROOT  # noqa: E402
from tests.rmvpe_torch.ranks_worker import CASES, STEPS, main, make_trainer, on_windows, results, train  # noqa: E402

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals and named pipes"),
    pytest.mark.usefixtures("usual_signals"),
]
WORKER = str(Path(__file__).with_name("ranks_worker.py"))
LIMIT_S = 120.0  # only a failing test waits so long


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The processes find the packages; default type and threads are as they were afterwards."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left the results of each case."""
    folder = tmp_path_factory.mktemp("ranks")
    assert launch(2, partial(main, folder, "train", tuple(CASES))) == 0
    return folder


def records(folder: Path, name: str) -> list[dict[str, float]]:
    return json.loads((folder / f"{name}-0.json").read_text())


def losses(rows: list[dict[str, float]]) -> list[float]:
    return [row["loss"] for row in rows]


@pytest.mark.parametrize("name", ["sync", "accumulate"])
def test_two_processes_with_common_batch_norm_follow_one(two_processes, name):
    one = make_trainer(CASES[name])
    expected = train(one, CASES[name])
    found = records(two_processes, name)
    for row, other in zip(expected, found, strict=True):
        # The same sums in float64, in another order: we saw 1e-15; a wrong weight or a missing term is far more
        assert other == pytest.approx(row, rel=1e-12)
    arrays = np.load(two_processes / f"{name}-0.npz")
    for key, array in results(one).items():
        np.testing.assert_allclose(arrays[key], array, atol=1e-11, err_msg=key)


def test_in_float32_too(two_processes):
    expected = train(make_trainer(CASES["sync float32"]), CASES["sync float32"])
    # Where gradients are tiny, Adam makes rounding larger from step to step: after five steps at 1e-4 we saw 3e-6
    found = losses(records(two_processes, "sync float32"))
    assert found[:5] == pytest.approx(losses(expected)[:5], rel=1e-5)
    assert found == pytest.approx(losses(expected), rel=1e-4)


def test_batch_norm_of_each_process_alone_differs_by_what_the_docs_say(two_processes):
    expected = losses(train(make_trainer(CASES["apart"]), CASES["apart"]))
    found = losses(records(two_processes, "apart"))
    differences = np.abs(np.divide(found, expected) - 1)
    assert differences.max() < 2e-3  # we saw 4.4e-4 with these batches of two: docs/devices.md
    assert differences.min() > 1e-6  # it is not the common one


@pytest.mark.parametrize("name", CASES)
def test_all_processes_hold_the_same(two_processes, name):
    assert records(two_processes, name) == json.loads((two_processes / f"{name}-1.json").read_text())
    first, second = (np.load(two_processes / f"{name}-{process}.npz") for process in range(2))
    assert len(first.files) > 100
    for key in first.files:  # running statistics too, which each process collects from its own batches
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_processes_that_resume_with_dropout_continue_to_the_bit(two_processes):
    resumed = json.loads((two_processes / "dropout-resumed-0.json").read_text())
    assert resumed == records(two_processes, "dropout")[STEPS // 2 :]


def test_dropout_is_another_in_each_step_and_process():
    seeds = {dropout_seed(seed, step, process) for seed in range(3) for step in range(20) for process in range(4)}
    assert len(seeds) == 3 * 20 * 4
    assert max(seeds) < 2**63  # torch takes int64


def test_torchrun_does_the_same(two_processes, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*command, WORKER, "0", str(tmp_path), "train", "sync"], check=True, capture_output=True)
    assert records(tmp_path, "sync") == records(two_processes, "sync")


class Alive:
    """The reading end of a pipe that the processes and their children hold open."""

    def __init__(self, folder: Path):
        os.mkfifo(folder / "alive")
        self.reading = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
        self.writing = os.open(folder / "alive", os.O_WRONLY)  # it does not end before the processes have started

    def read(self) -> bytes:
        """The next lines; empty if all have ended."""
        assert select.select([self.reading], [], [], LIMIT_S)[0], "nothing happens"
        return os.read(self.reading, 4096)

    def wait_for_two(self) -> None:
        """Wait until two processes have written that they are ready."""
        lines = b""
        while lines.count(b"\n") < 2:
            lines += self.read()

    def wait_for_end(self) -> None:
        """Wait until no process is left."""
        os.close(self.writing)
        while self.read():
            pass
        os.close(self.reading)


@pytest.mark.parametrize("how", ["all the same", "user error"])
def test_a_users_mistake_in_any_process_is_raised_once(how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    alive = Alive(tmp_path)
    with pytest.raises(UserError, match="give --data" if how == "all the same" else "has no label: label it"):
        launch(2, partial(main, tmp_path, how))
    assert capfd.readouterr() == ("", "")
    alive.wait_for_end()


def test_a_process_that_is_killed_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    alive = Alive(tmp_path)
    assert launch(2, partial(main, tmp_path, "killed")) == 128 + signal.SIGKILL
    out, error = capfd.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert "process 1 was killed by SIGKILL" in error
    assert "memory" in error
    alive.wait_for_end()


def test_of_a_bug_there_is_one_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    alive = Alive(tmp_path)
    assert launch(2, partial(main, tmp_path, "bug")) == 1
    out, error = capfd.readouterr()
    assert out == ""
    assert error.count("Traceback") == 1  # not those of the processes that lost the connection to it
    assert error.endswith("ZeroDivisionError: process 1 divided by zero\n")
    alive.wait_for_end()


def test_a_function_that_cannot_be_sent_leaves_nothing_behind():
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        launch(2, lambda: None)


@pytest.mark.parametrize(
    ("number", "to_the_group", "code", "error"),
    [
        (signal.SIGINT, False, 130, "worker: interrupted\n"),
        (signal.SIGINT, True, 130, "worker: interrupted\n"),  # as a terminal does on Ctrl-C
        (signal.SIGTERM, False, 128 + signal.SIGTERM, "stopped by SIGTERM\n"),
        (signal.SIGKILL, False, -signal.SIGKILL, ""),
    ],
)
def test_the_end_of_the_launcher_is_the_end_of_all(
    number: signal.Signals, to_the_group: bool, code: int, error: str, tmp_path: Path
):
    alive = Alive(tmp_path)
    with (tmp_path / "stderr").open("w") as stderr:
        command = [sys.executable, WORKER, "2", str(tmp_path), "wait"]
        launcher = subprocess.Popen(command, stderr=stderr, start_new_session=True)
    alive.wait_for_two()
    if to_the_group:
        os.killpg(launcher.pid, number)
    else:
        launcher.send_signal(number)
    assert launcher.wait(LIMIT_S) == code
    alive.wait_for_end()
    assert (tmp_path / "stderr").read_text() == error


# --- Windows, where there are neither process groups nor signal masks: that way, run here

# Stands for Windows' program of this name: ends a process and all below it
TASKKILL = """#!{python}
import os, signal, subprocess, sys

assert sys.argv[1:4] == ["/F", "/T", "/PID"], sys.argv

def end(pid):
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    os.kill(pid, signal.SIGKILL)
    for child in children:
        end(int(child))

end(int(sys.argv[4]))
"""


def test_the_windows_way_ends_a_process_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    if shutil.which("ps") is None:
        pytest.skip("ps is not installed")
    program = tmp_path / "bin" / "taskkill"
    program.parent.mkdir()
    program.write_text(TASKKILL.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    alive = Alive(tmp_path)
    assert launch(2, partial(on_windows, tmp_path, fails=True), windows=True) == 1
    assert capfd.readouterr().err.endswith("ZeroDivisionError: process 1 divided by zero\n")
    alive.wait_for_end()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_windows_way_ends_with_the_launcher(number: signal.Signals, code: int, tmp_path: Path):
    """Ctrl-C reaches all processes of a console, and only the launcher heeds it."""
    (tmp_path / "taskkill").symlink_to("/bin/true")  # then what is left is ended one by one
    alive = Alive(tmp_path)
    with (tmp_path / "stderr").open("w") as stderr:
        command = [sys.executable, WORKER, "2", str(tmp_path), "windows"]
        environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        launcher = subprocess.Popen(command, stderr=stderr, start_new_session=True, env=environment)
    alive.wait_for_two()
    if number == signal.SIGINT:
        os.killpg(launcher.pid, number)
    else:
        launcher.send_signal(number)
    assert launcher.wait(LIMIT_S) == code
    alive.wait_for_end()
    assert (tmp_path / "stderr").read_text() == ("worker: interrupted\n" if number == signal.SIGINT else "")


def never() -> None:
    raise AssertionError("no process should be started")


def test_more_processes_than_devices():
    """Of a kind of which there are several: tests/simulated_sdaa/on_the_card.py."""
    with pytest.raises(UserError, match=r"--device cpu:0 is one device.*give --device cpu$"):
        run_processes(2, "cpu:0", never)
    with pytest.raises(UserError, match=r"--nproc_per_node 10000 is more processes than .* CPU cores can serve"):
        run_processes(10000, "cpu", never)
    with pytest.raises(UserError, match="--nproc_per_node 0 must be at least 1"):
        run_processes(0, "cpu", never)


def test_one_process_is_this_one(monkeypatch: pytest.MonkeyPatch):
    assert run_processes(None, "cpu", never) is None
    assert run_processes(1, "cpu", never) is None
    assert distributed.start("cpu") == (ONE_RANK, torch.device("cpu"))
    set_process_env(monkeypatch, RANK=0, WORLD_SIZE=1, LOCAL_RANK=0, LOCAL_WORLD_SIZE=1, MASTER_ADDR="x", MASTER_PORT=1)
    assert distributed.start("cpu") == (ONE_RANK, torch.device("cpu"))


def set_process_env(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def test_a_process_of_torchrun_starts_no_others(monkeypatch: pytest.MonkeyPatch):
    set_process_env(monkeypatch, RANK=1, WORLD_SIZE=2, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2, MASTER_ADDR="x", MASTER_PORT=1)
    assert run_processes(None, "cpu", never) is None
    assert run_processes(2, "cpu", never) is None
    with pytest.raises(UserError, match="--nproc_per_node 4 differs from torchrun's 2"):
        run_processes(4, "cpu", never)


def test_half_an_environment(monkeypatch: pytest.MonkeyPatch):
    set_process_env(monkeypatch, RANK=1, WORLD_SIZE=2, LOCAL_RANK=1)
    with pytest.raises(UserError, match=r"LOCAL_WORLD_SIZE and MASTER_ADDR and MASTER_PORT not: start .* torchrun"):
        distributed.start("cpu")
