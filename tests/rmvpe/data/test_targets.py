"""Targets: a Gaussian around the pitch, which decodes to it again."""

import numpy as np
import pytest

from rmvpe.data.targets import SIGMA_BINS, salience_target
from rmvpe.decode import decode
from rmvpe.pitch import bins_to_hz, cents_between
from tests.helpers.settings import decoding


def test_the_target_is_a_gaussian_around_the_pitch():
    target = salience_target(np.array([bins_to_hz(np.array(100.0)), 0.0, bins_to_hz(np.array(200.5))]))
    assert target.shape == (3, 360)
    assert target.dtype == np.float32
    assert target[0].argmax() == 100
    assert target[0, 100] == 1.0
    np.testing.assert_allclose(
        target[0, [99, 101, 102]], np.exp(-0.5 * (np.array([1, 1, 2]) / SIGMA_BINS) ** 2), rtol=1e-5
    )
    assert not target[1].any()
    assert target[2, 200] == pytest.approx(target[2, 201], rel=1e-5)


def test_a_target_decodes_to_its_own_pitch():
    f0_hz = np.geomspace(45.0, 1900.0, 500)
    decoded, voiced, confidence = decode(salience_target(f0_hz), decoding())
    assert voiced.all()
    assert confidence.min() > 0.9
    # Nine bins cut a Gaussian of 1.25 bins off-centre by at most half a bin: under a cent
    assert np.abs(cents_between(decoded, f0_hz)).max() < 1.0
