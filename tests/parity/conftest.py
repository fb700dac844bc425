"""JAX as strict as in tests/jax, and torch on one thread; none of it leaks into other tests."""

import pytest
import torch

from tests.rmvpe_jax.conftest import float64, strict_jax  # noqa: F401 - fixtures


@pytest.fixture(autouse=True, scope="package")
def one_torch_thread():
    """Torch's threads wait by spinning: beside other work, these small tensors would take a hundred times longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
