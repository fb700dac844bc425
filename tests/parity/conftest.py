"""JAX as strict as in tests/jax, and torch on one thread; none of it leaks into other tests."""

from collections.abc import Iterator

import pytest

from tests.helpers.threads import one_torch_thread
from tests.rmvpe_jax.conftest import float64, strict_jax  # noqa: F401 - fixtures


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield
