"""JAX as strict as it goes, and float64 where a test asks for it; nothing leaks into other tests."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def strict_jax():
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def quick_compiler() -> Iterator[None]:
    """XLA's compiler takes half the time if it need not optimise: for tests of what is computed, not of its bits."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
