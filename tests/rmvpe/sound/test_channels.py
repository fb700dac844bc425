"""Which stereo loses the voice in its mean, and which is ordinary."""

import numpy as np
import pytest

from rmvpe.audio import from_array

RATES = (16_000, 44_100, 48_000)


def voice(rate: int, seed: int, f0_hz: float = 200.0, seconds: float = 3.0) -> np.ndarray:
    """Phrases of a moving f0, twenty harmonics and light noise; every seed is another take."""
    random = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    knots = np.arange(0, seconds + 1, 0.4)
    semitones = np.interp(time_s, knots, random.uniform(-6, 6, len(knots))) + 0.4 * np.sin(2 * np.pi * 5.5 * time_s)
    phase = 2 * np.pi * np.cumsum(f0_hz * 2 ** (semitones / 12)) / rate
    tone = sum(np.sin(k * phase + random.uniform(0, 6.28)) / k**1.2 for k in range(1, 21))
    loud = np.interp(time_s, knots, random.uniform(0, 1, len(knots)) > 0.25)
    return 0.15 * tone * loud + 0.003 * random.normal(size=len(time_s))


def delayed(audio: np.ndarray, rate: int, delay_ms: float) -> np.ndarray:
    n = round(rate * delay_ms / 1000)
    return np.concatenate([np.zeros(n), audio[: len(audio) - n]])


def reverb(audio: np.ndarray, rate: int, seed: int) -> np.ndarray:
    """A room's tail alone, another for every seed."""
    n = rate // 2
    tail = np.random.default_rng(seed).normal(size=n) * 10 ** (-3 * np.arange(n) / rate / 0.4)
    size = 1 << (len(audio) + n).bit_length()
    wet = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(tail, size), size)[: len(audio)]
    return wet * np.std(audio) / np.std(wet)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("other", [-1.0, -0.9, -0.5])
def test_an_inverted_channel_is_left_out(rate: int, other: float):
    left = voice(rate, 0)
    found = from_array(np.stack([left, other * left], 1), rate)
    np.testing.assert_array_equal(found.samples, from_array(left, rate).samples)
    assert "the channels cancel each other, so the left one" in found.notes[0]
    assert "the right one" in from_array(np.stack([other * left, left], 1), rate).notes[0] or other == -1.0


def test_a_channel_that_is_inverted_in_a_part_of_the_file():
    left = voice(44_100, 0)
    right = np.where(np.arange(len(left)) < 0.5 * len(left), left, -0.95 * left)
    found = from_array(np.stack([left, right], 1), 44_100)
    np.testing.assert_array_equal(found.samples, from_array(left, 44_100).samples)
    assert "in a part of it" in found.notes[0]


@pytest.mark.parametrize("rate", [*RATES, 192_000])
@pytest.mark.parametrize("delay_ms", [3, 5, 10, 20, 30])
def test_a_delayed_copy_is_left_out(rate: int, delay_ms: int):
    left = voice(rate, 1)
    right = 0.8 * delayed(left, rate, delay_ms) + 0.002 * np.random.default_rng(2).normal(size=len(left))
    found = from_array(np.stack([left, right], 1), rate)
    np.testing.assert_array_equal(found.samples, from_array(left, rate).samples)
    assert f"delayed by {delay_ms} ms" in found.notes[0]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", [0, 1])
def test_ordinary_stereo_is_its_mean_to_the_bit(rate: int, seed: int):
    lead, second, third = (voice(rate, 10 * seed + k, hz) for k, hz in enumerate((220.0, 330.0, 140.0)))
    noise = 0.05 * np.random.default_rng(seed).normal(size=(2, len(lead)))
    accompaniment = voice(rate, 5, 90.0) + voice(rate, 6, 250.0)
    left_wet, right_wet = reverb(lead, rate, 1), reverb(lead, rate, 2)
    mixes = {
        "the same": (lead, lead),
        "panned": (lead + 0.8 * second + 0.3 * third, 0.9 * lead + 0.3 * second + 0.8 * third),
        "panned hard": (lead, 0.2 * lead + second),
        "wide reverb": (lead + 0.5 * left_wet, lead + 0.5 * right_wet),
        "reverb alone": (left_wet, right_wet),
        "independent noise": (lead + noise[0], lead + noise[1]),
        "more side than middle": (lead + 1.5 * noise[0], lead - 1.5 * noise[0]),
        "two takes": (lead, delayed(voice(rate, 10 * seed + 7, 220.0), rate, 17)),
        "karaoke": (accompaniment, lead),
        "one is silent": (lead, 0 * lead),
        "one is silent but for noise": (1e-3 * noise[0], lead),
        "two microphones": (lead, 0.8 * delayed(lead, rate, 0.5)),
        "chorus": (lead + 0.4 * delayed(lead, rate, 12), lead + 0.4 * delayed(lead, rate, 18)),
        "widened": (lead + 0.5 * delayed(lead, rate, 12), lead - 0.5 * delayed(lead, rate, 12)),
        "a delayed guitar": (lead + 0.7 * second, lead + 0.7 * delayed(second, rate, 15)),
    }
    for name, channels in mixes.items():
        audio = np.stack(channels, 1)
        found = from_array(audio, rate)
        assert found.notes == (), name
        np.testing.assert_array_equal(found.samples, from_array(audio, rate, channel="mean").samples)
