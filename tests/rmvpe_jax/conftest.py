"""JAX as strict as it goes, and float64 where a test asks for it; nothing leaks into other tests.

JAX is imported inside the fixtures, so that pytest can read this file where JAX is missing, and skip the folder.
"""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    import jax

    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def float64() -> Iterator[None]:
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture
def quick_compiler() -> Iterator[None]:
    """XLA's compiler takes half the time if it need not optimise: for tests of what is computed, not of its bits."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
