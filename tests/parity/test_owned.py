"""A run folder in use refuses all processes of a second training: exit code 2, one sentence, nobody waits."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("jax")
pytest.importorskip("grain")

from rmvpe.training.folder import LOCK
from tests.helpers.hybrid import make_hybrid
from tests.helpers.paths import ROOT
from tests.parity.test_killed import CONFIG
from tests.rmvpe.test_locks import holder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
DEADLINE_S = 120


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data set, a config, and a folder `run` that another process owns."""
    make_hybrid(tmp_path / "Hybrid")
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "run").mkdir()
    process = holder(tmp_path / "run" / LOCK)
    yield tmp_path
    process.kill()
    process.wait()


def start(framework: str, folder: Path, *flags: str) -> subprocess.Popen[str]:
    given = ["--config", folder / "config.py", "--data", folder / "Hybrid", "--logdir", folder / "run"]
    command = [sys.executable, "-m", "rmvpe", "train", framework, *given, "--device", "cpu", *flags]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
    }
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)


def check(processes: list[subprocess.Popen[str]], folder: Path) -> None:
    texts = [process.communicate(timeout=DEADLINE_S)[1] for process in processes]
    assert [process.returncode for process in processes] == [2] * len(processes), texts
    assert "".join(texts).count("in use by another training") == 1, texts
    assert not any("Traceback" in text for text in texts), texts
    assert [path.name for path in (folder / "run").iterdir()] == [LOCK]


def test_two_processes_of_torch(folder: Path):
    check([start("torch", folder, "--nproc_per_node", "2")], folder)


def test_two_processes_of_jax(folder: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    numbers = ("--coordinator", address, "--num_processes", "2", "--process_id")
    check([start("jax", folder, *numbers, str(number)) for number in range(2)], folder)
