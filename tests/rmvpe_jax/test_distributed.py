"""Several processes: real ones on loopback train as one does, and end if one fails; wrong flags are reported."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optax")

from rmvpe.errors import UserError
from rmvpe.processes import ONE_RANK
from rmvpe_jax import distributed
from rmvpe_jax.train import JaxTrainer
from tests.conftest import FLAG
from tests.helpers.paths import ROOT
from tests.helpers.tiny_jax import CONFIG, devices, losses
from tests.rmvpe_jax.one_of_several import EXAMPLES, STEPS

DEADLINE_S = 240


@pytest.fixture
def coordinator() -> str:
    """An address of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def run(coordinator: str, folder: Path, local_devices: int, fault: str = "none") -> list[subprocess.CompletedProcess]:
    """Two processes of tests/rmvpe_jax/one_of_several.py, until both have ended."""
    environment = os.environ | {
        "XLA_FLAGS": f"{FLAG}={local_devices}",
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # as quick_compiler does
    }
    command = [sys.executable, "-m", "tests.rmvpe_jax.one_of_several", coordinator, "2"]
    processes = [
        subprocess.Popen(
            [*command, str(number), fault, str(folder / f"{number}.json")],
            env=environment,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]
    try:
        output = [process.communicate(timeout=DEADLINE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *texts)
        for process, texts in zip(processes, output)
    ]


def test_two_processes_train_as_one_does(coordinator, tmp_path, quick_compiler):
    for number, process in enumerate(run(coordinator, tmp_path, local_devices=2)):
        assert process.returncode == 0, (number, process.stderr[-3000:])
    found = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2)]
    assert found[0] == found[1]
    alone = JaxTrainer(dataclasses.replace(CONFIG, batch_size=EXAMPLES), devices(1))
    assert alone.ranks == ONE_RANK
    # The sums over the batch are taken in another order
    np.testing.assert_allclose(found[0], losses(alone, range(STEPS), EXAMPLES), rtol=1e-5)
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-00000003"]


@pytest.mark.slow
def test_when_one_process_fails_all_end(coordinator, tmp_path):
    first, second = run(coordinator, tmp_path, local_devices=1, fault="save")
    assert first.returncode == 2
    assert first.stderr.strip().endswith("one_of_several: no room for the state")
    assert second.returncode != 0  # a sentence, or JAX's own end if its guard comes first


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda at: distributed.start(at, 2, 1, 0.2), "no process 0 at --coordinator .*: start it, and give"),
        (lambda at: distributed.start(at, 2, 2), "--process_id 2 is not one of 2 processes, counted from 0"),
        (lambda at: distributed.start(at, 0, 0), "--num_processes 0 must be at least 1"),
        (lambda at: distributed.start("here", 2, 1), "--coordinator here must be HOST:PORT"),
        (lambda at: distributed.start(at, 2), "needs --num_processes and --process_id: give all three, or auto"),
        (lambda at: distributed.start(None, 2, 1), "need --coordinator HOST:PORT"),
    ],
)
def test_a_wrong_start_is_reported(coordinator, start: Callable[[str], None], message):
    with pytest.raises(UserError, match=message):
        start(coordinator)


def test_one_process_alone_neither_joins_nor_waits():
    distributed.start()
    distributed.barrier(ONE_RANK, "alone")
    distributed.stop()
