"""Several processes: real ones on loopback train as one does; whoever is missing or wrong is told in a sentence."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optax")

from rmvpe.errors import UserError
from rmvpe.processes import ONE_RANK
from rmvpe_jax import distributed
from rmvpe_jax.rendezvous import roll_call
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
        told = [process.communicate(timeout=DEADLINE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *words) for process, words in zip(processes, told)
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


def meet(*calls: tuple[str, int, int, float]) -> list[str]:
    """What each roll call, all at the same time, tells: "" for nothing wrong."""
    told = [""] * len(calls)

    def attempt(place: int) -> None:
        try:
            roll_call(*calls[place])
        except UserError as error:
            told[place] = str(error)

    threads = [threading.Thread(target=attempt, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_processes_meet_in_any_order(coordinator):
    assert meet(*((coordinator, 4, number, 30.0) for number in (3, 1, 0, 2))) == [""] * 4
    assert meet((coordinator, 1, 0, 1.0)) == [""]


def test_a_process_that_does_not_come_is_named(coordinator):
    told = meet((coordinator, 4, 0, 1.0), (coordinator, 4, 2, 1.5))
    assert told[0] == told[1]
    assert told[0].startswith("of 4 processes, number 1, 3 did not come: start each with --process_id")


@contextmanager
def led(coordinator: str, num_processes: int) -> Iterator[None]:
    """Process 0's roll call, in the background, which must come to a good end."""
    told: list[str] = []
    leader = threading.Thread(target=lambda: told.extend(meet((coordinator, num_processes, 0, 30.0))))
    leader.start()
    yield
    leader.join()
    assert told == [""]


def test_a_process_with_the_wrong_numbers_is_refused_and_the_others_go_on(coordinator):
    with led(coordinator, 3):
        told = meet((coordinator, 4, 3, 30.0))
        assert "process 3 was started with --num_processes 4, process 0 with 3: give all the same" in told[0]
        told = sorted(meet((coordinator, 3, 1, 30.0), (coordinator, 3, 1, 30.0), (coordinator, 3, 2, 30.0)))
    # The second "1" is refused, or finds nobody if the roll call was over before it came
    assert told[:2] == ["", ""]
    assert told[2].startswith(("there is a process 1 already: give each", "no process 0 at"))


def test_strangers_do_no_harm(coordinator):
    host, port = coordinator.split(":")
    with led(coordinator, 2):
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"process_id": "x"}\n', b"\xff\n"):
            with connect(host, int(port)) as stranger:
                stranger.sendall(words)
        assert meet((coordinator, 2, 1, 30.0)) == [""]


def connect(host: str, port: int) -> socket.socket:
    """A connection, as soon as somebody listens."""
    for _ in range(200):
        try:
            return socket.create_connection((host, port), timeout=5)
        except ConnectionRefusedError:
            threading.Event().wait(0.02)
    raise AssertionError("nobody listens")


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
def test_a_wrong_start_is_told(coordinator, start: Callable[[str], None], message):
    with pytest.raises(UserError, match=message):
        start(coordinator)


def test_a_port_that_is_taken_is_told(coordinator):
    port = int(coordinator.rpartition(":")[2])
    with socket.create_server(("", port)), pytest.raises(UserError, match=r"cannot listen at port .*choose another"):
        distributed.start(coordinator, 2, 0)


def test_one_process_alone_neither_joins_nor_waits():
    distributed.start()
    distributed.barrier(ONE_RANK, "alone")
    distributed.stop()
