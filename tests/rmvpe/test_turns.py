"""An estimator in several threads, pickled, and in forked and spawned processes: the same f0, and nothing hangs.

Each case of processes is a program of its own, which ends within a time limit: a fork in this process, beside the
threads of other tests, would test something else.
"""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import rmvpe
from rmvpe.backends import installed_backends
from rmvpe.estimator import Estimator
from rmvpe.turns import Turns
from tests.helpers.paths import ROOT
from tests.rmvpe.test_recommended import SOUND, estimator

FRAMEWORKS = installed_backends()
TIME_LIMIT_S = 240
without_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(scope="module")
def loaded() -> dict[str, Estimator]:
    return {name: rmvpe.load("small", name, "cpu", config=rmvpe.DecodeConfig(threshold=0.0)) for name in FRAMEWORKS}


def clips(count: int) -> list[np.ndarray]:
    """Tones of several lengths and pitches, in noise."""
    rng = np.random.default_rng(0)
    lengths = [16000 + 3777 * number for number in range(count)]
    return [
        (np.sin(np.arange(n) * 0.05 * (1 + k)) * 0.3 + 0.05 * rng.standard_normal(n)).astype(np.float32)
        for k, n in enumerate(lengths)
    ]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_eight_threads_get_the_bits_of_one(framework: str, loaded: dict[str, Estimator]):
    sounds = clips(8)
    alone = [loaded[framework].from_audio(sound, 16000) for sound in sounds]
    start = threading.Barrier(8)

    def work(first: int) -> list[bool]:
        start.wait()
        order = [(first + k) % 8 for k in range(8)]
        return [loaded[framework].from_audio(sounds[k], 16000) == alone[k] for k in order[:3]]

    with ThreadPoolExecutor(8) as pool:
        assert all(all(found) for found in pool.map(work, range(8)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_pickled_estimator_is_the_same(framework: str, loaded: dict[str, Estimator]):
    changed = loaded[framework].with_config(f0_max_hz=900.0)
    again: Estimator = pickle.loads(pickle.dumps(changed))
    assert again.config == changed.config
    assert (again.backend.name, again.backend.device) == (framework, "cpu")
    assert again.from_audio(SOUND, 16000) == changed.from_audio(SOUND, 16000)
    assert again.with_config(threshold=None).config.threshold == rmvpe.load("small", framework, "cpu").config.threshold


def test_an_estimator_of_another_network_pickles_with_it():
    again: Estimator = pickle.loads(pickle.dumps(estimator()))
    assert again.from_audio(SOUND, 16000) == estimator().from_audio(SOUND, 16000)


PROGRAM = """
import multiprocessing, os, sys, threading, warnings
import numpy as np
import rmvpe

warnings.filterwarnings("ignore", message=".*fork.*")  # of JAX, and of Python 3.12 beside threads
SOUND = np.sin(np.arange(24000) * 0.1).astype(np.float32)

def far(a, b):
    return max(np.abs(a.f0_hz / b.f0_hz - 1).max(), np.abs(a.confidence - b.confidence).max())

def main(framework, way):
    if framework == "torch":
        import torch
        torch.set_num_threads(2)  # so that there are threads that a fork leaves behind
    estimator = rmvpe.load("small", framework, "cpu", config=rmvpe.DecodeConfig(threshold=0.0))
    expected = estimator.from_audio(SOUND, 16000)
    found = globals()[way](estimator)
    assert len(found) == 2, found
    # one thread sums in another order than two: 2e-7 in salience
    print("far", max(far(track, expected) for track in found))

def pool(method, estimator):
    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.starmap(estimator.from_audio, [(SOUND, 16000)] * 2)

def fork_pool(estimator):
    return pool("fork", estimator)

def spawn_pool(estimator):
    return pool("spawn", estimator)

def forkserver_pool(estimator):
    return pool("forkserver", estimator)

def inherited(estimator):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=lambda: queue.put(estimator.from_audio(SOUND, 16000))) for _ in range(2)]
    for child in children:
        child.start()
    found = [queue.get() for _ in children]
    for child in children:
        child.join()
    return found

def beside_threads(estimator):
    stop = threading.Event()
    def work():
        while not stop.is_set():
            estimator.from_audio(SOUND, 16000)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    found = inherited(estimator)
    stop.set()
    return found

def grandchild(estimator):
    if os.fork() == 0:
        estimator.from_audio(SOUND, 16000)
        if os.fork() == 0:
            track = estimator.from_audio(SOUND, 16000)
            track.write(sys.argv[3])
            os._exit(0)
        os.wait()
        os._exit(0)
    os.wait()
    return [rmvpe.F0Track.read(sys.argv[3])] * 2

class Clips:
    def __init__(self, estimator):
        self.estimator = estimator
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return self.estimator.from_audio(SOUND, 16000)

def loader(estimator):
    from torch.utils.data import DataLoader
    return list(DataLoader(Clips(estimator), batch_size=None, num_workers=2, collate_fn=None))

if __name__ == "__main__":
    main(*sys.argv[1:3])
"""


@without_fork
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    "way",
    [
        "fork_pool",
        "spawn_pool",
        "inherited",
        "beside_threads",
        "loader",
        pytest.param("forkserver_pool", marks=pytest.mark.slow),
        pytest.param("grandchild", marks=pytest.mark.slow),
    ],
)
def test_processes(framework: str, way: str, tmp_path: Path):
    if way == "loader":
        pytest.importorskip("torch")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, str(program), framework, way, str(tmp_path / "t.npz")],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1e-5, done.stdout


@without_fork
@pytest.mark.filterwarnings("ignore:.*fork.*")  # of JAX, if another test has loaded it
def test_a_fork_waits_for_a_computation_and_its_child_prepares_first():
    prepared: list[int] = []
    turns = Turns(lambda: prepared.append(os.getpid()))
    with turns:
        assert not prepared
    inside, leave = threading.Event(), threading.Event()

    def compute() -> None:
        with turns:
            inside.set()
            leave.wait()

    thread = threading.Thread(target=compute)
    thread.start()
    inside.wait()
    threading.Timer(0.2, leave.set).start()
    child = os.fork()
    if child == 0:
        with turns:
            os._exit(0 if prepared == [os.getpid()] and leave.is_set() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not prepared
    thread.join()
