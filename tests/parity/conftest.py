"""JAX as strict as it goes, float64 where a test asks for it, torch on one thread; none of it leaks."""

import jax
import pytest
import torch


@pytest.fixture(autouse=True)
def strict_jax():
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="package")
def one_torch_thread():
    """Torch's threads wait by spinning: beside other work, these small tensors would take a hundred times longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
