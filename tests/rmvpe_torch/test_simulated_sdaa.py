"""SDAA on a simulated card, tests/simulated_sdaa, which stands in for `torch_sdaa`.

The tests start processes, because a process cannot unregister a device. Tests that can share one process are in
tests/simulated_sdaa/on_the_card.py.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from tests.helpers.hybrid import make_hybrid
from tests.helpers.paths import ROOT

SIMULATION = ROOT / "tests" / "simulated_sdaa"
STEPS = 4
SMALL = ("-m", "small", "--batch_size", "4", "--excerpt_frames", "32", "--validation_files", "1", "-n", str(STEPS))
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # the networks are small, and other tests run at the same time
# Float32 sums in another order; Adam divides small gradients by their own size, so the difference grows with every step
SAME_LOSS = 1e-4


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The environment of a process that finds the simulated torch_sdaa; compiles it once."""
    if not hasattr(torch.amp, "GradScaler"):
        pytest.skip("the simulated SDAA device needs torch 2.3 or later")
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        pytest.skip(f"the simulated SDAA device must be compiled, and there is no C++ compiler {compiler!r}")
    paths = [str(SIMULATION), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "error", **ONE_THREAD}
    python(variables, "-c", "import torch_sdaa")
    return variables


def python(environment: dict[str, str], *arguments: str | Path) -> str:
    """What Python prints when it is run so in the project's folder; a failure shows all that it wrote."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hybrid(tmp_path_factory.mktemp("sdaa") / "Hybrid")


def train(environment: dict[str, str], data: Path, logdir: Path, *flags: str) -> list[dict[str, float]]:
    """Train by command line; returns the log's records of the updates."""
    python(environment, "scripts/train_torch.py", "--data", data, "--logdir", logdir, *SMALL, *flags)
    records = [json.loads(line) for line in (logdir / "log.jsonl").read_text().splitlines()]
    return [record for record in records if "loss" in record]


def losses(records: list[dict[str, float]]) -> list[float]:
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    return [record["loss"] for record in records]


@pytest.fixture(scope="module")
def cpu_losses(environment: dict[str, str], data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return losses(train(environment, data, tmp_path_factory.mktemp("sdaa") / "cpu", "--device", "cpu"))


def test_on_the_card(environment: dict[str, str]):
    tests = SIMULATION / "on_the_card.py"
    python(
        {**environment, "PYTHONWARNINGS": ""}, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", tests
    )


def test_a_run_on_the_card_goes_on_on_the_cpu(
    environment: dict[str, str], data: Path, cpu_losses: list[float], tmp_path: Path
):
    assert len(train(environment, data, tmp_path / "run", "--device", "sdaa", "-n", "2")) == 2
    both = train(environment, data, tmp_path / "run", "--device", "cpu", "--resume_iteration", "latest")
    assert losses(both) == pytest.approx(cpu_losses, rel=SAME_LOSS)


def test_more_processes_than_core_groups(environment: dict[str, str], data: Path):
    command = [sys.executable, "scripts/train_torch.py", "--data", str(data)]
    command += ["--device", "sdaa", "--nproc_per_node", "5"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "5 is more processes than there are sdaa devices here: choose at most 4" in done.stderr


def test_two_core_groups_train_as_one_device(
    environment: dict[str, str], data: Path, cpu_losses: list[float], tmp_path: Path
):
    """Over tccl, which is gloo in the simulation: it shows nothing about the real one's speed and faults."""
    halves = ("--nproc_per_node", "2", "--batch_size", "2", "--sync_batch_norm")
    found = losses(train(environment, data, tmp_path / "run", "--device", "sdaa", *halves))
    assert found[0] == pytest.approx(cpu_losses[0], rel=1e-6)
    # Sums over two halves are rounded differently in every batch norm, and Adam makes that grow. The loss of one half
    # alone is about 1e-2 away
    assert found == pytest.approx(cpu_losses, rel=1e-3)


@pytest.mark.slow
def test_amp_is_float16_with_a_scaler(environment: dict[str, str], data: Path, cpu_losses: list[float], tmp_path: Path):
    records = train(environment, data, tmp_path / "run", "--device", "sdaa", "--amp")
    assert all(record["loss_scale"] > 1.0 for record in records)
    # Ten bits of mantissa in every convolution
    assert losses(records) == pytest.approx(cpu_losses, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--amp",), ("--sync_batch_norm",)], ids=["plain", "amp", "sync batch norm"])
def test_a_whole_card(environment: dict[str, str], data: Path, tmp_path: Path, flags: tuple[str, ...]):
    four = ("--nproc_per_node", "4", *flags)
    card, cpu = (
        losses(train(environment, data, tmp_path / device, "--device", device, *four)) for device in ("sdaa", "cpu")
    )
    # With --amp the card computes in float16 and the CPU in bfloat16, which has three bits less
    assert card == pytest.approx(cpu, rel=2e-2 if "--amp" in flags else SAME_LOSS)
