"""Annotations to targets: reading other grids without mixing voiced and unvoiced, and the Gaussian."""

import numpy as np
import pytest

from rmvpe.config import DecodeConfig
from rmvpe.data.targets import SIGMA_BINS, salience_target
from rmvpe.decode import decode
from rmvpe.interpolation import f0_at_times
from rmvpe.pitch import bins_to_hz, cents_between

TIME_S = np.arange(10) * 0.02
F0_HZ = np.array([0, 0, 100, 200, 400, 0, 0, 300, 0, 0], dtype=np.float64)


def test_on_the_annotations_own_times_nothing_changes():
    np.testing.assert_allclose(f0_at_times(TIME_S, F0_HZ, TIME_S), F0_HZ, rtol=1e-12)


def test_between_two_voiced_points_the_logarithm_is_interpolated():
    found = f0_at_times(TIME_S, F0_HZ, np.array([0.05, 0.045, 0.07]))
    np.testing.assert_allclose(found, [100 * 2**0.5, 100 * 2**0.25, 200 * 2**0.5], rtol=1e-9)


def test_beside_silence_the_nearer_point_decides():
    found = f0_at_times(TIME_S, F0_HZ, np.array([0.029, 0.031, 0.089, 0.091, 0.131, 0.149, 0.151]))
    assert found.tolist() == [0, 100, 400, 0, 300, 300, 0]


def test_outside_is_unvoiced_after_half_a_step():
    time_s, f0_hz = np.array([0.1, 0.12]), np.array([150.0, 150.0])
    found = f0_at_times(time_s, f0_hz, np.array([0.0, 0.089, 0.091, 0.129, 0.131, 1.0]))
    np.testing.assert_allclose(found, [0, 0, 150, 150, 0, 0])


def test_annotations_of_one_point_and_of_none():
    np.testing.assert_allclose(f0_at_times(np.array([0.5]), np.array([100.0]), np.array([0.4, 0.5])), [0, 100])
    assert f0_at_times(np.zeros(0), np.zeros(0), np.array([0.0, 1.0])).tolist() == [0, 0]


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
    decoded, voiced, confidence = decode(salience_target(f0_hz), DecodeConfig())
    assert voiced.all()
    assert confidence.min() > 0.9
    # Nine bins cut a Gaussian of 1.25 bins off-centre by at most half a bin: under a cent
    assert np.abs(cents_between(decoded, f0_hz)).max() < 1.0
