"""JAX as strict as it goes, and float64 where a test asks for it; nothing leaks into other tests."""

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
