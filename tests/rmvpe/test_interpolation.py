"""Annotations read at other times, without mixing voiced and unvoiced."""

import numpy as np

from rmvpe.interpolation import f0_at_times

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
