"""Clips of several lengths in one batch: filler has no influence on the f0, and on ONNX Runtime none on any bit."""

import numpy as np
import pytest

import rmvpe
from rmvpe.audio import read
from rmvpe.backends import Backend, installed_backends
from rmvpe.chunked_gru import salience_of_features
from rmvpe.decode import decode
from rmvpe.mel import log_mel
from rmvpe.pitch import hz_to_cents
from tests.helpers.paths import ROOT

LENGTHS = (32, 320, 640, 224, 448)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Log-mel [5, 640, 128] of singing; of each row `LENGTHS` frames are a clip, and what follows is loud noise."""
    samples = read(ROOT / "examples" / "demo.flac").samples
    whole = log_mel(samples, rmvpe.MelConfig())
    rng = np.random.default_rng(0)
    rows = [whole[first : first + 640].copy() for first in (0, 20, 40, 60, 80)]
    for row, length in zip(rows, LENGTHS):
        row[length:] = rng.uniform(-50.0, 90.0, row[length:].shape)
    return np.stack(rows)


def f0_of(network: Backend, features: np.ndarray, config: rmvpe.DecodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """f0 in Hz and voicing of one clip's features [T, features]."""
    f0_hz, voiced, _ = decode(np.concatenate(list(salience_of_features(network, [features]))), config)
    return f0_hz, voiced


@pytest.mark.parametrize("framework", installed_backends())
def test_filler_changes_nothing_beyond_rounding(framework: str, clips: np.ndarray):
    estimator = rmvpe.load("small", framework, "cpu")
    network, config = estimator.backend, estimator.config
    together = network.features(clips, LENGTHS)
    voiced_frames = 0
    for row, clip, length in zip(together, clips, LENGTHS):
        alone = network.features(clip[None, :length])[0]
        if framework == "onnx":
            np.testing.assert_array_equal(row[:length], alone)
        np.testing.assert_allclose(row[:length], alone, rtol=0, atol=2e-5)
        (found_hz, found), (wanted_hz, wanted) = (f0_of(network, x, config) for x in (row[:length], alone))
        np.testing.assert_array_equal(found, wanted)
        voiced_frames += int(found.sum())
        if found.any():
            assert np.abs(hz_to_cents(found_hz[found]) - hz_to_cents(wanted_hz[found])).max() <= 0.01
    assert voiced_frames > 500


@pytest.mark.parametrize("framework", installed_backends())
def test_both_directions_at_once_are_each_alone(framework: str):
    network = rmvpe.load("small", framework, "cpu").backend
    rng = np.random.default_rng(0)
    ahead, behind = (rng.normal(0.0, 1.0, (n, 384)).astype(np.float32) for n in (300, 1))
    state = rng.normal(0.0, 0.5, 256).astype(np.float32)
    found = network.gru_pair((ahead, behind), (state, None), 0)
    np.testing.assert_array_equal(found[0], network.gru(ahead, state, 0, reverse=False))
    np.testing.assert_array_equal(found[1], network.gru(behind, None, 0, reverse=True))
    assert (found[0].shape, found[1].shape) == ((300, 256), (1, 256))
