"""Torch computes with our number of threads inside our calls, and keeps its own everywhere else."""

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import rmvpe
from rmvpe import processes
from rmvpe.checkpoint.store import load
from rmvpe.errors import UserError
from rmvpe_torch.infer import Backend
from rmvpe_torch.threads import CpuThreads, switches_of_torch

LOG_MEL = np.full((1, 64, 128), -3.0, np.float32)


@pytest.fixture(params=[1, 2, 3])
def host_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def thread_variables() -> dict[str, str]:
    """The environment without the variables of an SDAA card (`rmvpe_torch.device`)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TORCH_SDAA")}


def mkl_threads() -> int | None:
    """What MKL would compute with, as torch reports it; None in a torch without MKL."""
    found = re.search(r"mkl_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
    return int(found[1]) if found else None


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_the_number_is_that_of_the_calling_thread_alone(host_threads: int, wanted: int):
    mkl, elsewhere = mkl_threads(), ThreadPoolExecutor(1)
    with CpuThreads(wanted).inside():
        assert torch.get_num_threads() == wanted
        if mkl is not None:
            assert mkl_threads() == wanted
        assert elsewhere.submit(torch.get_num_threads).result() == host_threads
    assert torch.get_num_threads() == host_threads
    assert mkl_threads() == mkl
    torch.set_num_threads(host_threads + 1)  # the host's setting works as before
    assert torch.get_num_threads() == host_threads + 1
    if mkl is not None:
        assert mkl_threads() == host_threads + 1


def test_a_part_of_the_work_may_have_fewer():
    with CpuThreads(3).inside(most=1):
        assert torch.get_num_threads() == 1
    with CpuThreads(2).inside(most=5):
        assert torch.get_num_threads() == 2


def test_the_number_is_restored_after_an_error(host_threads: int):
    with pytest.raises(ZeroDivisionError), CpuThreads(host_threads + 2).inside():
        raise ZeroDivisionError
    assert torch.get_num_threads() == host_threads


def test_by_default_no_more_than_the_host_chose_and_no_more_than_the_cores(
    host_threads: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cores in (1, 2, 8):
        monkeypatch.setattr(processes, "physical_cores", lambda cores=cores: cores)
        assert CpuThreads().number == min(cores, host_threads)
    assert CpuThreads(3).number == 3


def test_a_network_leaves_the_threads_and_the_environment_alone(host_threads: int, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    environment, cpus = thread_variables(), processes.allowed_cpus()
    sound = np.sin(np.arange(16000) / 10).astype(np.float32)
    real = torch.sigmoid

    def sigmoid(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return real(x)

    monkeypatch.setattr(torch, "sigmoid", sigmoid)
    for wanted in (1, 2):
        estimator = rmvpe.load("small", "torch", "cpu", threads=wanted)
        assert estimator.backend.threads == wanted
        track = estimator.from_audio(sound, 16000)
        assert len(track) == 101
        assert set(seen) == {wanted}
        seen.clear()
    assert torch.get_num_threads() == host_threads
    assert thread_variables() == environment
    assert processes.allowed_cpus() == cpus


def test_two_networks_at_once_have_a_number_each():
    """Their calls overlap: each waits inside for the other."""
    meet = threading.Barrier(2)

    def inside(wanted: int) -> int:
        with CpuThreads(wanted).inside():
            meet.wait(60)
            found = torch.get_num_threads()
            meet.wait(60)
        return found

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(inside, (1, 3))) == [1, 3]


def test_threads_pickle_and_give_the_same_pitch():
    checkpoint = load("small")
    one, three = (Backend(checkpoint, "cpu", threads=number) for number in (1, 3))
    # More threads may sum in another order
    np.testing.assert_allclose(one.features(LOG_MEL), three.features(LOG_MEL), atol=1e-5)
    make, arguments = three.__reduce__()
    assert make(*arguments).threads == 3


def test_a_torch_without_openmp_takes_its_own_number_alone():
    usual = CpuThreads(switches=lambda: None)
    assert usual.number == torch.get_num_threads()
    with usual.inside():
        assert torch.get_num_threads() == usual.number
    with pytest.raises(UserError, match=r"call torch\.set_num_threads"):
        CpuThreads(torch.get_num_threads() + 1, switches=lambda: None)


def test_a_system_with_other_libraries_has_no_switches():
    assert switches_of_torch("sunos5") is None
