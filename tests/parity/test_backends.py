"""The three backends end to end on a real recording, from random weights; `test_bundled.py` has the bundled ones."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

import rmvpe_jax.infer
import rmvpe_ort.infer
import rmvpe_torch.infer
from rmvpe import audio
from rmvpe.backends import Backend
from rmvpe.checkpoint.store import load
from rmvpe.chunked_gru import salience
from rmvpe.config import ModelConfig
from rmvpe.estimator import Estimator, default_config
from rmvpe.evaluation.agreement import compare_salience
from rmvpe.mel import log_mel
from tests.helpers import golden
from tests.helpers.paths import DEMO_RECORDING
from tests.helpers.settings import decoding

RECORDING = DEMO_RECORDING
BACKENDS: dict[str, Callable[..., Backend]] = {
    "torch": rmvpe_torch.infer.Backend,
    "jax": rmvpe_jax.infer.Backend,
    "onnx": rmvpe_ort.infer.Backend,
}
CHECKPOINT = golden.checkpoint(ModelConfig.small(), seed=3)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return audio.read(RECORDING).samples[: 6 * audio.SAMPLE_RATE_HZ]


@pytest.mark.parametrize("front_end", ["host", "device"])
def test_all_runtimes_give_the_same_salience(samples, front_end):
    def from_audio(backend) -> np.ndarray:
        network = backend(CHECKPOINT, "cpu")
        return Estimator(network, CHECKPOINT.config, front_end=front_end).salience(samples, 16000)

    expected, *others = (from_audio(backend) for backend in BACKENDS.values())
    for other in others:
        # A threshold in the middle of the confidences, so that flips would show
        found = compare_salience(expected, other, decoding(threshold=float(np.median(expected.max(axis=1)))))
        assert found.frames == len(samples) // 160 + 1
        assert found.max_salience < 1e-4
        assert found.flip_distance < 1e-3


@pytest.mark.parametrize(("semitones", "window"), [(0.0, 1024), (-12.0, 512), (12.0, 2048)])
@pytest.mark.parametrize("framework", BACKENDS)
def test_the_spectrum_on_the_device_is_the_hosts(samples, framework, semitones, window):
    backend = BACKENDS[framework](CHECKPOINT, "cpu")
    found = backend.log_mel(samples[None], key_shift_semitones=semitones)
    assert found.dtype == np.float32
    assert found.shape == (1, (len(samples) - window) // 160 + 1, 128)
    # Both transform in float64, as the definition does
    expected = log_mel(samples, CHECKPOINT.config.mel, key_shift_semitones=semitones, centred=False)
    assert np.abs(found[0] - expected).max() < 1e-5
    if not semitones:
        np.testing.assert_array_equal(backend.log_mel(samples[None]), found)


@pytest.mark.parametrize("framework", BACKENDS)
def test_windows_in_a_batch_do_not_touch_each_other(framework):
    backend = BACKENDS[framework](CHECKPOINT, "cpu")
    windows = np.random.default_rng(0).normal(-6.0, 3.0, (3, 32, 128)).astype(np.float32)
    together = salience(backend, windows)
    assert together.shape == (3, 32, 360)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together[2], salience(backend, windows[2:])[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("framework", BACKENDS)
def test_a_network_in_parts_is_the_network(framework, layers):
    """Its GRU in blocks that hand on their state, of which one is longer than what JAX compiles for."""
    weights = golden.checkpoint(dataclasses.replace(ModelConfig.small(), channels=2, gru_layers=layers), seed=4)
    backend = BACKENDS[framework](weights, "cpu")
    assert backend.gru_layers == layers
    log_mel = np.random.default_rng(0).normal(-6.0, 3.0, (3, 1440, 128)).astype(np.float32)
    together = backend.features(log_mel)
    np.testing.assert_allclose(together[2], backend.features(log_mel[2:])[0], rtol=0, atol=1e-5)
    x = together[0]
    for layer in range(layers):
        forward = backend.gru(x[:1300], None, layer, reverse=False)
        forward = np.concatenate([forward, backend.gru(x[1300:], forward[-1], layer, reverse=False)])
        backward = backend.gru(x[1300:], None, layer, reverse=True)
        backward = np.concatenate([backend.gru(x[:1300], backward[0], layer, reverse=True), backward])
        x = np.concatenate([forward, backward], axis=1)
    found = backend.head(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, salience(backend, log_mel[:1])[0], rtol=0, atol=1e-5)


LOW_PRECISION = [
    (framework, conv_dtype)
    for framework in BACKENDS
    for conv_dtype in ("bfloat16", "float16")
    if (framework, conv_dtype) != ("onnx", "bfloat16")  # which onnxruntime does not have
]


@pytest.mark.parametrize(("framework", "conv_dtype"), LOW_PRECISION)
def test_lower_precision_of_the_convolutions_keeps_the_pitch(samples, framework, conv_dtype):
    # bfloat16 keeps 8 bits of a number, float16 11: their rounding moves a salience by about 0.02 and 0.002
    max_cents, margin = {"bfloat16": (10.0, 0.03), "float16": (1.0, 0.005)}[conv_dtype]
    weights = load("small")  # random weights have no pitch to keep
    full, low = (
        Estimator(BACKENDS[framework](weights, "cpu", dtype), weights.config).salience(samples, 16000)
        for dtype in ("float32", conv_dtype)
    )
    found = compare_salience(full, low, default_config(weights))
    assert found.voiced_both > 200
    assert found.agrees(salience_tolerance=0.1, cents_tolerance=max_cents, flip_margin=margin), found
    assert found.max_salience > 1e-4  # the setting had an effect


# Around the edges of a hop, of half a window, of a window, and of the 32 frames that the U-Net needs
LENGTHS = [1, 2, 159, 160, 161, 511, 512, 513, 1023, 1024, 1025, 4959, 4960, 4961, 5119, 5120, 5121, 6000]


def test_short_clips_come_out_the_same(samples):
    loud = samples[int(np.abs(samples).argmax()) - 3000 :]
    expected, *others = (Estimator(backend(CHECKPOINT, "cpu"), CHECKPOINT.config) for backend in BACKENDS.values())
    for n in LENGTHS:
        salience_of = expected.salience(loud[:n], 16000)
        assert salience_of.shape == (n // 160 + 1, 360)
        for other in others:
            np.testing.assert_allclose(other.salience(loud[:n], 16000), salience_of, rtol=0, atol=1e-4, err_msg=str(n))
