"""Confidence becomes the probability that a pitch is right; without a calibration it stays the salience."""

import dataclasses

import numpy as np
import pytest

from rmvpe.calibration import NONE, calibrated
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ModelConfig
from rmvpe.config_check import ConfigError
from rmvpe.decode import decode
from rmvpe.errors import UserError
from rmvpe.estimator import default_config
from rmvpe.evaluation.calibration import fit_calibration
from tests.helpers.settings import decoding


def frames(slope: float, offset: float, count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Salience of frames, and whether each is right, with the probability that the calibration gives."""
    rng = np.random.default_rng(1)
    salience = rng.uniform(0.001, 0.999, count).astype(np.float32)
    return salience, rng.random(count) < calibrated(salience, (slope, offset))


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (1.5, 0.9), (0.6, -1.2), (4.0, 0.0)])
def test_a_fit_finds_the_slope_and_offset_that_made_the_frames(slope, offset):
    assert fit_calibration(*frames(slope, offset)) == pytest.approx((slope, offset), abs=0.15)


def test_calibrated_confidence_is_the_share_that_is_right():
    salience, right = frames(1.6, 1.0)
    confidence = calibrated(salience, fit_calibration(salience, right))
    assert np.abs(salience[right].mean() - 1) > 0.2
    for low in np.arange(0.0, 1.0, 0.2):
        inside = (confidence >= low) & (confidence < low + 0.2)
        assert right[inside].mean() == pytest.approx(confidence[inside].mean(), abs=0.03)


def test_cleanly_parted_frames_still_give_numbers():
    slope, offset = fit_calibration(np.repeat([0.1, 0.9], 50), np.repeat([False, True], 50))
    assert slope > 1
    assert np.isfinite(offset)


@pytest.mark.parametrize("right", [np.ones(4, bool), np.zeros(4, bool), np.array([True, True, False, False])])
def test_what_cannot_be_fitted_is_an_error(right):
    with pytest.raises(ValueError, match="calibration"):
        fit_calibration(np.array([0.1, 0.2, 0.8, 0.9]), right)


def test_without_calibration_salience_is_untouched_and_its_order_always_kept():
    salience = np.random.default_rng(0).random(1000).astype(np.float32)
    np.testing.assert_array_equal(calibrated(salience, NONE), salience)
    bent = calibrated(np.sort(salience), (1.4, 0.9))
    assert bent.dtype == np.float32
    assert np.all(np.diff(bent) >= 0)
    assert bent.min() >= 0
    assert bent.max() <= 1
    assert calibrated(np.array([0.0, 1.0]), (1.4, 0.9)).tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_the_threshold_is_on_the_calibrated_scale():
    salience = np.zeros((2, 360), dtype=np.float32)
    salience[0, 100], salience[1, 100] = 0.3, 0.6
    config = decoding(threshold=0.5, calibration=(1.0, 1.0))  # 0.3 -> 0.54, 0.6 -> 0.80
    _, voiced, confidence = decode(salience, config)
    assert confidence.tolist() == pytest.approx([0.538, 0.803], abs=1e-3)
    assert voiced.tolist() == [True, True]
    assert decode(salience, dataclasses.replace(config, calibration=NONE))[1].tolist() == [False, True]


def test_weights_bring_their_calibration_and_bad_values_are_refused():
    plain = Checkpoint(ModelConfig.small(), {})
    assert default_config(plain) == decoding()
    known = dataclasses.replace(plain, metadata={"threshold": "0.4", "calibration": "1.5,0.25"})
    assert default_config(known) == decoding(threshold=0.4, calibration=(1.5, 0.25))
    for text in ("1.5", "0,1", "a,b", "nan,0", "1,inf"):
        with pytest.raises(UserError, match="SLOPE,OFFSET"):
            default_config(dataclasses.replace(plain, metadata={"calibration": text}))
    with pytest.raises(ConfigError, match="calibration"):
        decoding(calibration=(0.0, 1.0))
