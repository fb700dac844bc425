"""Options of XLA that a version of JAX may not know."""

import jax
import pytest

from rmvpe_jax import device


@pytest.fixture(autouse=True)
def asked_anew():
    device.training_options.cache_clear()
    yield
    device.training_options.cache_clear()


def test_an_option_that_this_version_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(device, "YNNPACK_WITHOUT_CONVOLUTIONS", ("NO_SUCH_TYPE",))
    assert device.training_options(jax.local_devices(backend="cpu")[0]) == {}


def test_the_options_compile():
    options = device.training_options(jax.local_devices(backend="cpu")[0])
    assert float(jax.jit(lambda x: x + 1, compiler_options=options)(1.0)) == 2
