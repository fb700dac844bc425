"""Each effect does what its numbers say, measured on its output, and moves nothing in time."""

import numpy as np
import pytest

from rmvpe.data import effects
from rmvpe.data.mixing import rms

RATE = 16000
MUSIC_LIKE = 0.1


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return MUSIC_LIKE * np.random.default_rng(seed).standard_normal(int(RATE * seconds)).astype(np.float32)


def tone(f0_hz: float = 200.0, seconds: float = 1.0, level: float = 0.4) -> np.ndarray:
    return (level * np.sin(2 * np.pi * f0_hz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def decibels(power_ratio: float) -> float:
    return float(10 * np.log10(power_ratio))


def gain_db(effect, f0_hz: float) -> float:
    """Level of a steady tone after over before, away from the ends."""
    before, middle = tone(f0_hz, 2.0), slice(RATE // 2, -RATE // 2)
    return decibels((rms(effect(before)[middle]) / rms(before[middle])) ** 2)


def lag(after: np.ndarray, before: np.ndarray, furthest: int = 400) -> int:
    """The delay in samples at which `after` is most like `before`."""
    inner = before[furthest:-furthest]
    scores = [after[furthest + d : len(after) - furthest + d] @ inner for d in range(-furthest + 1, furthest)]
    return int(np.argmax(scores)) - furthest + 1


def octave_band(audio: np.ndarray, centre_hz: float) -> np.ndarray:
    """`audio` in about one octave around a frequency, by a filter (a Gaussian over octaves) that hardly rings."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(audio), 1 / RATE), 1.0) / centre_hz)
    return np.fft.irfft(np.fft.rfft(audio.astype(np.float64)) * np.exp(-0.5 * (octaves / 0.4) ** 2), len(audio))


def measured_rt60_s(responses: list[np.ndarray], centre_hz: float) -> float:
    """Reverberation time by backward integration (Schroeder 1965), from the decay between -5 and -25 dB (ISO: T20)."""
    n = len(responses[0])
    power = np.mean([octave_band(np.pad(response, (0, n)), centre_hz)[:n] ** 2 for response in responses], axis=0)
    remaining = np.cumsum(power[::-1])[::-1]
    level_db = 10 * np.log10(remaining / remaining[0])
    used = slice(np.argmax(level_db < -5), np.argmax(level_db < -25))
    slope = np.polyfit(np.arange(n)[used] / RATE, level_db[used], 1)[0]
    return -60.0 / slope


@pytest.mark.parametrize("n", [1, 2, 1023, 21347, 37346])
def test_fast_length_is_the_next_even_number_of_small_factors(n: int):
    found = effects.fast_length(n)
    assert effects.is_fast(found)
    assert found % 2 == 0
    assert not any(effects.is_fast(between) for between in range(max(n, 2) + max(n, 2) % 2, found, 2))
    assert not effects.is_fast(13)


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_noise_has_unit_rms_and_the_colour_it_is_asked_for(colour: float):
    slopes = []
    for seed in range(20):
        sample = effects.coloured_noise(RATE, RATE, colour, np.random.default_rng(seed))
        np.testing.assert_allclose(rms(sample), 1.0, rtol=1e-4)
        power = np.abs(np.fft.rfft(sample)) ** 2  # bins of 1 Hz
        slopes.append(np.log2(power[200:400].mean() / power[3200:6400].mean()) / 4)
    # Mean over 20 of estimates from at least 200 bins each, spread 1/14 x 1.44 / 4 octaves: within 0.03 easily
    np.testing.assert_allclose(np.mean(slopes), colour, atol=0.03)


@pytest.mark.parametrize("tilt_db", [-12.0, 9.0])
def test_tilt_is_a_straight_line_over_octaves(tilt_db: float):
    def tilted(audio: np.ndarray) -> np.ndarray:
        return effects.equalise(audio, RATE, tilt_db)

    # 30 Hz to 8 kHz are 8.06 octaves, and the gain is 0 dB in their middle
    for f_hz in (60.0, 490.0, 4000.0):
        expected = tilt_db * (np.log2(f_hz / 30) / np.log2(8000 / 30) - 0.5)
        np.testing.assert_allclose(gain_db(tilted, f_hz), expected, atol=0.05)  # tones end abruptly: leakage


@pytest.mark.parametrize("order", [2, 4, 8])
def test_band_has_butterworth_ends_and_an_untouched_middle(order: int):
    def telephone(audio: np.ndarray) -> np.ndarray:
        return effects.equalise(audio, RATE, 0.0, 300.0, 3400.0, order)

    for f_hz, beyond in ((300.0, 0), (150.0, 1), (3400.0, 0), (6800.0, 1)):
        expected = -decibels(1 + 2.0 ** (2 * order * beyond))
        np.testing.assert_allclose(gain_db(telephone, f_hz), expected, atol=0.1)  # the other end adds up to 0.03 dB
    assert abs(gain_db(telephone, 1000.0)) < 0.1
    only_low, only_high = (effects.equalise(noise(), RATE, 0.0, *ends) for ends in ((0.0, 2000.0), (2000.0, np.inf)))
    for limited, kept in ((only_low, slice(50, 1000)), (only_high, slice(4000, 7900))):
        before, after = (np.abs(np.fft.rfft(audio)) ** 2 for audio in (noise(), limited))
        # Two octaves inside the band 4th order loses 1/256 of the power at most; 0.05 dB with the ends of the excerpt
        assert abs(decibels(after[kept].sum() / before[kept].sum())) < 0.05


@pytest.mark.parametrize("high_share", [0.35, 0.9])
@pytest.mark.parametrize("rt60_s", [0.2, 0.5, 1.2])
def test_room_decays_as_fast_as_it_is_asked_to_and_faster_at_high_frequencies(rt60_s: float, high_share: float):
    # Hardly any direct sound, so that the tail is what is measured
    responses = [
        effects.room_response(rt60_s, high_share, -40.0, 0.0, RATE, 2.0, np.random.default_rng(seed))
        for seed in range(16)
    ]
    # A decay read from noise: in an octave at 250 Hz x 0.07 s (a third of the shortest RT60) x 16 rooms there are some
    # 200 independent values, which spreads the reading by 7 %; and bands blend, so that the middle one is no pure decay
    for centre_hz, share in ((200.0, 1.0), (1000.0, high_share**0.5), (5500.0, high_share)):
        np.testing.assert_allclose(measured_rt60_s(responses, centre_hz), rt60_s * share, rtol=0.12)


def test_room_keeps_its_energy_ratio_pre_delay_and_direct_path():
    for ratio_db in (-3.0, 0.0, 12.0):
        response = effects.room_response(0.6, 0.5, ratio_db, 0.02, RATE, 1.0, np.random.default_rng(1))
        assert len(response) == round(0.6 * RATE)
        np.testing.assert_allclose(rms(response) ** 2 * len(response), 1.0, rtol=1e-4)
        direct, tail = response[0] ** 2, np.sum(response[1:].astype(np.float64) ** 2)
        np.testing.assert_allclose(decibels(direct / tail), ratio_db, atol=0.01)
        assert not response[1:320].any()
        assert response[320:400].any()
        assert np.abs(response[1:]).max() < response[0]  # the direct path is the loudest
    assert len(effects.room_response(3.0, 0.5, 0.0, 0.02, RATE, 1.0, np.random.default_rng(1))) == RATE


def test_what_sounds_before_the_excerpt_reverberates_in_it():
    song = np.where(np.arange(3 * RATE) < RATE, tone(220.0, 3.0), 0.0).astype(np.float32)  # ends at 1 s
    response = effects.room_response(0.9, 0.8, 3.0, 0.01, RATE, 1.0, np.random.default_rng(0))
    whole = np.convolve(song.astype(np.float64), response)[: len(song)]
    start, context = round(1.2 * RATE), RATE
    excerpt = effects.reverberate(song[start - context : start + RATE], response, context)
    assert len(excerpt) == RATE
    np.testing.assert_allclose(excerpt, whole[start : start + RATE], atol=1e-6)  # float32 transforms of values below 1
    loud, later = (rms(excerpt[at : at + 1600]) for at in (0, 6400))
    # 0.4 s of a decay of 60 dB in 0.9 s (a little less: 220 Hz lies below the first band) are 26.7 dB; one tone in
    # one room fluctuates by some dB
    np.testing.assert_allclose(20 * np.log10(loud / later), 26.7, atol=5.0)


def test_reverberation_does_not_move_the_direct_sound_and_refuses_too_little_context():
    audio = noise(2.0)
    response = effects.room_response(0.8, 0.5, 6.0, 0.02, RATE, 1.0, np.random.default_rng(3))
    assert lag(effects.reverberate(audio, response, RATE), audio[RATE:]) == 0
    with pytest.raises(ValueError, match="needs 12799 of context, not 100"):
        effects.reverberate(audio, response, 100)


@pytest.mark.parametrize("ratio", [2.0, 6.0])
def test_compressor_divides_level_steps_by_its_ratio(ratio: float):
    audio = np.concatenate([tone(500.0, level=0.8), tone(500.0, level=0.2), tone(500.0, level=0.002)])
    out = effects.compress(audio, RATE, -15.0, ratio)
    assert out.dtype == np.float32
    # Well after each change: a release of 100 ms is over to e^-7 of the step
    first, second, third = (rms(out[at - 3200 : at]) for at in (RATE, 2 * RATE, 3 * RATE))
    np.testing.assert_allclose(20 * np.log10(first / second), 12.04 / ratio, atol=0.1)
    np.testing.assert_allclose(third, rms(audio[-3200:]), rtol=1e-4)  # far below the threshold nothing changes
    gentle = effects.compress(noise(), RATE, 40.0, ratio)
    np.testing.assert_array_equal(gentle, noise())


def test_soft_clipper_makes_the_third_harmonic_that_tanh_makes():
    for drive_db in (-20.0, 0.0, 12.0):
        spectrum = np.abs(np.fft.rfft(effects.soft_clip(tone(400.0), drive_db)))
        phase = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
        expected = np.abs(np.fft.rfft(np.tanh(10 ** (drive_db / 20) * np.sin(phase))))
        np.testing.assert_allclose(spectrum[1200] / spectrum[400], expected[3] / expected[1], rtol=1e-3)
    quiet = np.concatenate([tone(level=0.9), tone(level=0.001)])
    # tanh(x) = x - x^3/3: at 1/250 of the knee that is 5e-6 of it
    np.testing.assert_allclose(effects.soft_clip(quiet, 12.0)[RATE:], quiet[RATE:], rtol=1e-4, atol=1e-9)
    assert np.abs(effects.soft_clip(quiet, 12.0)).max() <= 0.9 * 10 ** (-12 / 20)


@pytest.mark.parametrize("snr_db", [6.0, 12.0, 20.0, 40.0])
def test_codec_leaves_the_ratio_it_is_asked_for_in_every_band(snr_db: float):
    audio = effects.coloured_noise(2 * RATE, RATE, 1.0, np.random.default_rng(0))
    out = effects.codec(audio, RATE, snr_db)
    assert out.shape == audio.shape
    assert out.dtype == np.float32
    for centre_hz in (250.0, 1000.0, 4000.0):
        signal, error = (octave_band(part, centre_hz) for part in (audio, out - audio))
        # Steps as coarse as the values themselves are not uniform noise any more: up to 1.5 dB at 6 dB
        np.testing.assert_allclose(decibels(np.sum(signal**2) / np.sum(error**2)), snr_db, atol=1.5)


def test_codec_drops_what_is_weak_beside_something_strong():
    weak = tone(1050.0, level=0.01)
    out = effects.codec(tone(1000.0) + weak, RATE, 10.0)  # 32 dB apart and in one critical band
    kept = np.abs(np.fft.rfft(out))[1050] / np.abs(np.fft.rfft(weak))[1050]
    assert kept < 0.3
    alone = effects.codec(weak, RATE, 10.0)
    assert np.abs(np.fft.rfft(alone))[1050] / np.abs(np.fft.rfft(weak))[1050] > 0.8


@pytest.mark.parametrize(
    "effect",
    [
        lambda audio: effects.equalise(audio, RATE, 10.0, 200.0, 4000.0),
        lambda audio: effects.compress(audio, RATE, -10.0, 8.0),
        lambda audio: effects.soft_clip(audio, 15.0),
        lambda audio: effects.codec(audio, RATE, 6.0),
    ],
    ids=["equalise", "compress", "soft_clip", "codec"],
)
def test_effects_keep_time_length_and_silence(effect):
    for n in (15999, 16000, 20345):
        audio = noise(2.0)[:n]
        out = effect(audio)
        assert out.shape == audio.shape
        assert out.dtype == np.float32
        assert lag(out, audio) == 0
    np.testing.assert_array_equal(effect(np.zeros(5000, np.float32)), np.zeros(5000))
