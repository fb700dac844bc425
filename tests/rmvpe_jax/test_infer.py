"""The JAX backend's devices, shapes and mistakes; its numbers are compared with torch's in tests/parity."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.chunked_gru import salience
from rmvpe.config import MelConfig, ModelConfig
from rmvpe.errors import UserError
from rmvpe_jax import device
from rmvpe_jax.infer import Backend, compiled_frames
from rmvpe_jax.mel import frames_of

CONFIG = ModelConfig(mel=MelConfig(n_mels=8), levels=1, blocks=1, inter_layers=1, channels=2, gru_hidden=3, n_bins=5)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    rng = np.random.default_rng(0)
    shapes = expected_tensors(CONFIG)
    return Checkpoint(CONFIG, {name: np.abs(rng.standard_normal(s)).astype(np.float32) for name, s in shapes.items()})


@pytest.mark.parametrize("name", ["auto", "cpu", "cpu:0"])
def test_a_device_that_is_there(checkpoint, name):
    backend = Backend(checkpoint, name)
    assert (backend.name, backend.device) == ("jax", jax.default_backend() if name == "auto" else "cpu")


@pytest.mark.parametrize(
    ("name", "remedy"), [("gpu", "jax[cuda12]"), ("cuda", "jax[cuda12]"), ("gpu:1", "jax[cuda12]"), ("tpu", "jax[tpu]")]
)
def test_a_device_that_is_not_there_is_one_sentence_with_the_remedy(name: str, remedy: str):
    with pytest.raises(UserError) as error:
        device.resolve(name, devices_of=lambda kind: [])
    assert repr(name) in str(error.value)
    assert remedy in str(error.value)
    assert "or choose cpu" in str(error.value)


def test_a_platform_that_jax_does_not_know_has_no_devices():
    assert device.devices_of("abacus") == []


def test_a_number_too_high_and_an_unknown_name(checkpoint):
    with pytest.raises(UserError, match=r"'cpu:64'.* counted from cpu:0"):
        Backend(checkpoint, "cpu:64")
    with pytest.raises(UserError, match="unknown device 'sdaa': choose auto, cpu, gpu, tpu, cuda"):
        Backend(checkpoint, "sdaa")
    with pytest.raises(UserError, match="unknown device 'cpu:x'"):
        Backend(checkpoint, "cpu:x")


def test_an_unknown_precision(checkpoint):
    with pytest.raises(UserError, match="unknown conv_dtype 'int8': choose one of float32, bfloat16, float16"):
        Backend(checkpoint, "cpu", "int8")


def test_lengths_share_compiled_shapes():
    lengths = [compiled_frames(n) for n in (32, 320, 352, 640, 1024, 1056, 2048, 2080, 3072, 3104, 6144)]
    assert lengths == [320, 320, 640, 640, 1024, 2048, 2048, 3072, 3072, 6144, 6144]


COMPILED: list[str] = []  # the name of each program that XLA has compiled since this file was imported


def note(event: str, duration_secs: float, **about: str | int) -> None:
    if event.endswith("backend_compile_duration"):
        COMPILED.append(str(about.get("fun_name")))


jax.monitoring.register_event_duration_secs_listener(note)


def programs_compiled(work: Callable[[], object]) -> list[str]:
    """The names of the programs that XLA compiles in a call."""
    before = len(COMPILED)
    work()
    return COMPILED[before:]


def test_two_hundred_lengths_are_eight_programs():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 97, 200) * 32  # up to a whole window
    config = replace(CONFIG, channels=3)  # which no other test has compiled
    weights = {name: rng.normal(0, 0.3, s).astype(np.float32) ** 2 for name, s in expected_tensors(config).items()}

    backend = Backend(Checkpoint(config, weights), "cpu")

    def predict() -> None:
        for count in counts:
            salience(backend, rng.normal(-6, 3, (1, count, 8)).astype(np.float32))

    compiled = programs_compiled(predict)
    assert 1 < len(compiled) <= 8, compiled
    backend = Backend(Checkpoint(config, weights), "cpu")  # another one of the same network
    assert programs_compiled(predict) == []


def test_salience_is_numpy_float32_in_0_to_1(checkpoint):
    found = salience(Backend(checkpoint, "cpu"), np.zeros((1, 4, 8), np.float32))
    assert type(found) is np.ndarray
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_looking_for_memory_does_not_override_the_user(monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    device.take_memory_as_needed()
    assert device.os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


def test_audio_shorter_than_a_window_is_refused():
    with pytest.raises(ValueError, match="1023 samples are fewer than one window of 1024"):
        frames_of(jnp.zeros((1, 1023)), 1024, 160)
    assert frames_of(jnp.zeros((1, 1024)), 1024, 160).shape == (1, 1, 1024)
