"""Levels at the harmonics of an f0, beside what they should not hear."""

import numpy as np
import pytest

from rmvpe.notes.loudness import FLOOR_DB, harmonic_levels_db

RATE = 16_000
TIME_S = np.arange(0.0, 1.0, 0.01)
INNER = slice(10, 90)  # frames whose windows lie within the sound


def tone(hz: float, gain: float = 1.0) -> np.ndarray:
    return gain * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)


@pytest.mark.parametrize("hz", [80.0, 207.65, 440.0, 1108.7])
def test_a_full_scale_sine_has_minus_three_decibels(hz: float) -> None:
    level, _ = harmonic_levels_db(tone(hz), TIME_S, np.full(100, hz))
    assert level[INNER] == pytest.approx(-3.01, abs=0.15)


def test_half_the_amplitude_is_six_decibels() -> None:
    loud, _ = harmonic_levels_db(tone(250.0), TIME_S, np.full(100, 250.0))
    soft, _ = harmonic_levels_db(tone(250.0, 0.5), TIME_S, np.full(100, 250.0))
    assert loud - soft == pytest.approx(6.02, abs=0.01)


def test_what_lies_between_the_harmonics_is_not_heard() -> None:
    level, _ = harmonic_levels_db(tone(375.0), TIME_S, np.full(100, 250.0))
    assert level[INNER].max() < -40.0


def test_emphasis_hears_the_upper_harmonics_more() -> None:
    """A hum through closed lips and an open vowel, equally loud: only the emphasised level tells them apart."""
    closed, open_ = tone(200.0), (tone(200.0) + tone(2000.0)) / np.sqrt(2)
    f0_hz = np.full(100, 200.0)
    (plain, low), (plain_open, high) = (harmonic_levels_db(sound, TIME_S, f0_hz) for sound in (closed, open_))
    assert plain[INNER] == pytest.approx(plain_open[INNER], abs=0.5)
    assert (high - low)[INNER].min() > 6.0


def test_silence_outside_and_no_pitch_are_the_floor() -> None:
    level, emphasised = harmonic_levels_db(tone(250.0), np.array([0.5, 30.0, -2.0]), np.array([0.0, 250.0, 250.0]))
    assert level.tolist() == [FLOOR_DB] * 3
    assert emphasised.tolist() == [FLOOR_DB] * 3


def test_many_frames_are_those_of_a_few() -> None:
    """Blocks do not show."""
    rng = np.random.default_rng(0)
    sound, time_s, f0_hz = rng.standard_normal(20 * RATE), np.arange(0, 20, 0.01), rng.uniform(80, 800, 2000)
    whole = harmonic_levels_db(sound, time_s, f0_hz)
    part = harmonic_levels_db(sound, time_s[700:710], f0_hz[700:710])
    for one, other in zip(whole, part):
        assert one[700:710] == pytest.approx(other, abs=1e-9)
