"""A run that is killed (SIGKILL) at any moment and resumed is, bit for bit, the run that was not: on a CPU.

Real processes, started as a user starts them.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("jax")
pytest.importorskip("grain")

from rmvpe.checkpoint.store import load
from rmvpe.training.run_log import read_log
from tests.helpers.hybrid import make_hybrid
from tests.helpers.paths import ROOT
from tests.helpers.states import assert_same_state

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
FRAMEWORKS = ("torch", "jax")
CONFIG = """
from rmvpe.config import ModelConfig, TrainConfig

MODEL = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=16, dropout=0.25)
CONFIG = TrainConfig(model=MODEL, excerpt_frames=32, batch_size=2, iterations=20, validation_interval=5, ema_decay=0.9)
"""
DEADLINE_S = 240
STDERR_LOG = "stderr.txt"  # of the newest process


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    make_hybrid(folder / "Hybrid")
    (folder / "config.py").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def whole(folder) -> dict[str, Path]:
    for framework in FRAMEWORKS:
        assert start(framework, folder, f"whole-{framework}").wait(DEADLINE_S) == 0
    return {framework: folder / f"whole-{framework}" for framework in FRAMEWORKS}


def start(framework: str, folder: Path, logdir: str, *flags: str) -> subprocess.Popen:
    given = flags or ("--config", str(folder / "config.py"), "--data", str(folder / "Hybrid"))
    command = [sys.executable, str(ROOT / "scripts" / f"train_{framework}.py"), "--device", "cpu", *given]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    with (folder / STDERR_LOG).open("wb") as log:
        return subprocess.Popen([*command, "--logdir", str(folder / logdir)], env=environment, stderr=log)


def kill_when(process: subprocess.Popen, folder: Path, moment) -> None:
    """SIGKILL as soon as `moment()` is true, looked at as often as possible."""
    limit = time.monotonic() + DEADLINE_S
    while not moment():
        assert process.poll() is None, (folder / STDERR_LOG).read_text()[-2000:]
        assert time.monotonic() < limit, "the run did not get so far"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def resume(framework: str, folder: Path, logdir: str) -> None:
    process = start(framework, folder, logdir, "--resume_iteration", "latest")  # its config is in the run
    assert process.wait(DEADLINE_S) == 0, (folder / STDERR_LOG).read_text()[-2000:]


def without_commit(texts: Mapping[str, str]) -> dict[str, str]:
    """Without the commit, which changes when somebody works in the checkout meanwhile."""
    return {key: text for key, text in texts.items() if key != "git_commit"}


def check_same_state(framework: str, whole: Path, resumed: Path) -> None:
    """The states after the last step: all numbers and texts, bit for bit."""
    store = importlib.import_module(f"rmvpe_{framework}.state")
    a, b = (store.load(store.find(run)[20]) for run in (whole, resumed))
    assert_same_state(a, b, ignore=["git_commit"])
    for name in ("last.safetensors", "best.safetensors"):
        checkpoints = [load(run / name) for run in (whole, resumed)]
        assert without_commit(checkpoints[0].metadata) == without_commit(checkpoints[1].metadata)
        for key, tensor in checkpoints[0].tensors.items():
            np.testing.assert_array_equal(tensor, checkpoints[1].tensors[key], err_msg=f"{name} {key}")
    left = [path.name for path in resumed.iterdir() if path.name.startswith(".")]
    assert not left, "temporary files, the lock, or the mark of a run without state"


def check_same(whole: Path, resumed: Path) -> None:
    rows = [[(r["step"], r["loss"]) for r in read_log(run) if "loss" in r] for run in (whole, resumed)]
    assert [step for step, _ in rows[1]] == list(range(1, 21))
    assert rows[0] == rows[1]
    tensors = [load(run / "last.safetensors").tensors for run in (whole, resumed)]
    for name, tensor in tensors[0].items():
        np.testing.assert_array_equal(tensor, tensors[1][name], err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_ten_steps_a_kill_and_ten_more_are_twenty(framework, folder, whole):
    logdir = folder / f"killed-{framework}"
    process = start(framework, folder, logdir.name)
    kill_when(process, folder, lambda: any(row.get("step") == 12 for row in read_log(logdir)))
    resume(framework, folder, logdir.name)
    check_same(whole[framework], logdir)
    check_same_state(framework, whole[framework], logdir)


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_kill_at_any_moment_loses_nothing(framework, folder, whole):
    """Killed again and again, mostly while a state is being written, until the run gets through."""
    logdir, rng = folder / f"hunted-{framework}", np.random.default_rng(0)
    flags: tuple[str, ...] = ()
    for attempt in range(6):
        process = start(framework, folder, logdir.name, *flags)
        wanted, delay = 3 + 3 * attempt, rng.uniform(0.0, 0.05)

        def moment(wanted: int = wanted, delay: float = delay) -> bool:
            reached = any(row.get("step", 0) >= wanted for row in read_log(logdir))
            if reached:
                time.sleep(delay)  # states are written at steps 5, 10, 15 and 20
            return reached

        kill_when(process, folder, moment)
        # Killed before the first state, the run starts anew
        flags = ("--resume_iteration", "latest") if any(logdir.glob("state-0*")) else ()
    resume(framework, folder, logdir.name)
    check_same(whole[framework], logdir)
    check_same_state(framework, whole[framework], logdir)


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_ten_kills_at_random_moments(framework, folder, whole):
    """From the start of the process on, so also while it reads data, compiles, validates or writes its first files."""
    logdir, seed = folder / f"random-{framework}", int(np.random.default_rng().integers(2**32))
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for attempt in range(10):
        flags = ("--resume_iteration", "latest") if any(logdir.glob("state-0*")) else ()
        process = start(framework, folder, logdir.name, *flags)
        until = time.monotonic() + rng.uniform(0.5, 12.0 if framework == "torch" else 25.0)
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        assert process.wait() in (0, -signal.SIGKILL), f"kill {attempt}: {(folder / STDERR_LOG).read_text()[-2000:]}"
    if any(logdir.glob("state-0*")):
        resume(framework, folder, logdir.name)
    else:
        assert start(framework, folder, logdir.name).wait(DEADLINE_S) == 0
    check_same(whole[framework], logdir)
    check_same_state(framework, whole[framework], logdir)
