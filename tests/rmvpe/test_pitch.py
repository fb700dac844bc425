"""Pitch units: known values, round trips, and that unvoiced stays unvoiced."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmvpe import pitch

HZ = st.floats(min_value=20.0, max_value=8000.0)


def test_known_values():
    assert pitch.bins_to_hz(np.array(0)) == pytest.approx(31.70, abs=5e-3)
    assert pitch.bins_to_hz(np.array(359)) == pytest.approx(2005.5, abs=0.1)
    assert pitch.hz_to_cents(np.array(10.0)) == 0.0
    assert pitch.hz_to_cents(np.array(20.0)) == pytest.approx(1200.0)
    assert pitch.hz_to_midi(np.array(440.0)) == pytest.approx(69.0)
    assert pitch.midi_to_hz(np.array(60.0)) == pytest.approx(261.6256, abs=1e-4)
    assert pitch.bins_to_cents(np.array(1)) - pitch.bins_to_cents(np.array(0)) == pytest.approx(20.0)


@given(HZ)
def test_round_trips(hz: float):
    f0_hz = np.array([hz])
    assert pitch.cents_to_hz(pitch.hz_to_cents(f0_hz)) == pytest.approx(f0_hz, rel=1e-12)
    assert pitch.bins_to_hz(pitch.hz_to_bins(f0_hz)) == pytest.approx(f0_hz, rel=1e-12)
    assert pitch.midi_to_hz(pitch.hz_to_midi(f0_hz)) == pytest.approx(f0_hz, rel=1e-12)


@given(HZ, st.floats(min_value=-2400, max_value=2400))
def test_cents_between_is_what_was_shifted(hz: float, cents: float):
    assert pitch.cents_between(np.array(hz * 2 ** (cents / 1200)), np.array(hz)) == pytest.approx(cents, abs=1e-8)


def test_unvoiced_never_becomes_a_pitch():
    zero = np.zeros(3)
    assert not pitch.hz_to_midi(zero).any()
    assert not pitch.midi_to_hz(zero).any()
    assert np.all(pitch.hz_to_cents(zero) == -np.inf)
    assert not pitch.cents_to_hz(pitch.hz_to_cents(zero)).any()
    assert np.all(pitch.hz_to_bins(zero) == -np.inf)
