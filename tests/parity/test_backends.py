"""Both backends end to end on a real recording, from random weights: the bundled weights' test is `test_bundled.py`."""

from pathlib import Path

import numpy as np
import pytest

import rmvpe_jax.infer
import rmvpe_torch.infer
from rmvpe import audio
from rmvpe.compare import compare_salience
from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.decode import local_average_cents
from rmvpe.estimator import Estimator
from rmvpe.mel import log_mel
from tests.parity import golden

RECORDING = Path(__file__).resolve().parents[2] / "examples" / "demo.flac"
BACKENDS = {"torch": rmvpe_torch.infer.Backend, "jax": rmvpe_jax.infer.Backend}
CHECKPOINT = golden.checkpoint(ModelConfig.small(), seed=3)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return audio.read(RECORDING).samples[: 6 * audio.SAMPLE_RATE_HZ]


@pytest.mark.parametrize("front_end", ["host", "device"])
def test_both_frameworks_give_the_same_salience(samples, front_end):
    def salience(backend) -> np.ndarray:
        network = backend(CHECKPOINT, "cpu")
        return Estimator(network, CHECKPOINT.config, front_end=front_end).salience(samples)

    a, b = (salience(backend) for backend in BACKENDS.values())
    # A threshold in the middle of the confidences, so that flips would show
    found = compare_salience(a, b, DecodeConfig(threshold=float(np.median(a.max(axis=1)))))
    assert found.frames == len(samples) // 160 + 1
    assert found.max_salience < 1e-4
    assert found.flip_distance < 1e-3


@pytest.mark.parametrize("framework", BACKENDS)
def test_the_spectrum_on_the_device_is_the_hosts(samples, framework):
    backend = BACKENDS[framework](CHECKPOINT, "cpu")
    found = backend.log_mel(samples[None])
    assert found.dtype == np.float32
    assert found.shape == (1, (len(samples) - 1024) // 160 + 1, 128)
    # Both transform in float64, as the definition does
    assert np.abs(found[0] - log_mel(samples, CHECKPOINT.config.mel, centred=False)).max() < 1e-5


@pytest.mark.parametrize("framework", BACKENDS)
def test_windows_in_a_batch_do_not_touch_each_other(framework):
    backend = BACKENDS[framework](CHECKPOINT, "cpu")
    windows = np.random.default_rng(0).normal(-6.0, 3.0, (3, 32, 128)).astype(np.float32)
    together = backend.salience(windows)
    assert together.shape == (3, 32, 360)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together[2], backend.salience(windows[2:])[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("framework", BACKENDS)
def test_bfloat16_convolutions_keep_the_pitch(samples, framework):
    mel = log_mel(samples[: 16000 * 2 + 864], CHECKPOINT.config.mel, centred=False)[None, :192]
    full, low = (BACKENDS[framework](CHECKPOINT, "cpu", dtype).salience(mel)[0] for dtype in ("float32", "bfloat16"))
    assert 0 < np.abs(full - low).max() < 0.1
    centre = full.argmax(axis=1)
    # The peak of random weights is flat, so the mean around float32's peak is compared; trained weights are measured
    # in docs/model.md
    cents = local_average_cents(full, centre) - local_average_cents(low, centre)
    assert np.abs(cents).max() < 2.0
