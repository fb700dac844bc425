"""The synthetic voices have the f0 that they claim, measured from the sound; nothing is folded back from 8 kHz."""

import numpy as np
import pytest

from rmvpe.data.synthesis.contours import at_every_sample
from rmvpe.evaluation.suite.voices import (
    FOURTH_FORMANT_HZ,
    harmonics,
    integral,
    jittered,
    level_of,
    phrases,
    sing,
    tract_gain,
    vowels,
    whisper,
)

RATE, FRAMES = 16_000, 601
EVER = np.ones(FRAMES, dtype=bool)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def autocorrelation(sound: np.ndarray) -> np.ndarray:
    """By lag, 1 at lag 0; each lag over the part that overlaps."""
    n = len(sound)
    power = np.abs(np.fft.rfft(sound, 2 * n)) ** 2
    found = np.fft.irfft(power)[: n // 2] / np.arange(n, n - n // 2, -1)
    return found / found[0]


def test_the_integral_of_a_glide_is_that_of_its_straight_line() -> None:
    time_s = np.arange(8001) / RATE
    assert np.allclose(integral(100.0 + 400.0 * time_s), 100.0 * time_s + 200.0 * time_s**2, atol=1e-9, rtol=0)


@pytest.mark.parametrize("f0_hz", [33.0, 110.0, 440.0, 1500.0, 3100.0])
def test_a_steady_voice_has_its_f0_by_counting_and_by_autocorrelation(f0_hz: float) -> None:
    contour = np.full(FRAMES, f0_hz)
    pulses = integral(at_every_sample(contour))
    # Periods in the whole, to a thousandth of one
    assert pulses[-1] == pytest.approx(f0_hz * (len(pulses) - 1) / RATE, abs=1e-3)
    sound = sing(contour, EVER, rng()).sound[RATE // 2 :]
    found = autocorrelation(sound)
    multiple = max(1, round(40 * f0_hz / RATE))  # of the period: a lag that one sample more does not change much
    near = round(multiple * RATE / f0_hz)
    lag = near - 2 + int(np.argmax(found[near - 2 : near + 3]))
    left, middle, right = found[lag - 1 : lag + 2]
    period = (lag + (left - right) / (2 * (left - 2 * middle + right))) / multiple
    assert abs(1200 * np.log2(RATE / period / f0_hz)) < 5.0  # cents: vowels glide, which tilts the peak
    assert middle > 0.6
    lower = found[20 : near - near // 4]
    if multiple == 1:
        assert lower.max() < middle  # no shorter period: not an octave higher


def test_harmonics_end_below_half_the_rate_and_nothing_is_folded_back() -> None:
    f0_hz = 1870.3
    contour = np.full(FRAMES, f0_hz)
    sound = harmonics(contour, integral(at_every_sample(contour)), lambda hz: np.ones(len(hz)))
    windowed = np.fft.rfft(sound * np.blackman(len(sound)))
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    away = np.abs(hz[:, None] - f0_hz * np.arange(1, 5)).min(axis=1) > 20.0
    level_db = 20 * np.log10(np.abs(windowed) / np.abs(windowed).max())
    assert level_db[away].max() < -90.0
    assert [level_db[np.abs(hz - k * f0_hz) < 5].max() > -12.0 for k in (1, 2, 3, 4)] == [True, True, True, True]


def test_harmonics_that_glide_over_the_edge_fade_out() -> None:
    """A glide from 2400 to 2600 Hz: the third harmonic passes 7600 Hz, above which nothing is left."""
    contour = np.linspace(2400.0, 2600.0, FRAMES)
    sound = harmonics(contour, integral(at_every_sample(contour)), lambda hz: np.ones(len(hz)))
    end = sound[-RATE // 4 :]
    spectrum = np.abs(np.fft.rfft(end * np.hanning(len(end))))
    hz = np.fft.rfftfreq(len(end), 1 / RATE)
    assert spectrum[hz > 7650].max() < 1e-4 * spectrum.max()


@pytest.mark.parametrize("jitter", [0.03, 0.1])
def test_jitter_moves_pulses_by_so_much_and_keeps_their_number(jitter: float) -> None:
    periods = integral(np.full(40 * RATE, 50.0))
    moved = jittered(periods, jitter, rng())
    pulses_s = np.interp(np.arange(5, 1995), moved, np.arange(len(moved)) / RATE)
    lengths_s = np.diff(pulses_s)
    # The normal distribution is cut off at 2 standard deviations, which leaves 0.96 of the deviation
    assert np.std(lengths_s) / np.mean(lengths_s) == pytest.approx(0.96 * jitter, rel=0.08)
    assert np.mean(lengths_s) == pytest.approx(1 / 50.0, rel=1e-3)
    assert np.abs(moved - periods).max() <= 2 * jitter / np.sqrt(2) + 1e-9  # errors do not add up


def test_formants_are_peaks_of_the_tract_at_their_places() -> None:
    hz = np.arange(100.0, 4500.0, 5.0)
    formants = np.array([500.0, 1500.0, 2500.0, 3500.0])
    gain = tract_gain(hz, np.broadcast_to(formants, (len(hz), 4)))
    peaks = hz[1:-1][(gain[1:-1] > gain[:-2]) & (gain[1:-1] > gain[2:])]
    assert (np.abs(peaks - formants) < [15.0, 15.0, 15.0, 60.0]).all()  # a wide one leans on the others' slope
    assert tract_gain(np.zeros(1), formants[None])[0] == pytest.approx(1.0)


def test_a_childs_spectrum_is_a_mans_moved_up() -> None:
    """The long-term spectrum of the sound, on logarithmic frequency: moved by log2 of the scale."""
    places = np.linspace(np.log2(250.0), np.log2(7000.0), 600)

    def envelope_db(scale: float) -> np.ndarray:
        contour = np.full(4 * FRAMES, 100.0)
        sound = sing(contour, np.ones(len(contour), dtype=bool), rng(3), scale=scale).sound
        spectrum = np.abs(np.fft.rfft(sound))
        hz = 100.0 * np.arange(1, 75)
        at = np.round(hz * len(sound) / RATE).astype(int)
        amplitude = np.array([spectrum[middle - 100 : middle + 101].max() for middle in at])
        return np.interp(places, np.log2(hz), 20 * np.log10(amplitude * hz))  # without the source's slope

    man, child = envelope_db(1.0), envelope_db(1.4)
    width = places[1] - places[0]
    shifts = range(0, 200)
    alike = [np.corrcoef(child[shift:], man[: len(man) - shift])[0, 1] for shift in shifts]
    assert int(np.argmax(alike)) * width == pytest.approx(np.log2(1.4), abs=0.07)


def test_vowels_change_and_scale() -> None:
    man, child = vowels(FRAMES, 1.0, rng(1)), vowels(FRAMES, 1.55, rng(1))
    assert np.allclose(child, 1.55 * man)
    assert len(np.unique(np.round(man[:, 0]))) > 3
    assert (man[:, 3] == FOURTH_FORMANT_HZ).all()


def test_a_whisper_has_no_period() -> None:
    spoken = whisper(EVER, rng())
    assert not spoken.f0_hz.any()
    sound = spoken.sound[:RATE]
    lags = slice(RATE // 150, RATE // 60)  # shorter ones are those of the first formant
    assert np.abs(autocorrelation(sound)[lags]).max() < 0.25
    sung = sing(np.full(FRAMES, 110.0), EVER, rng()).sound[:RATE]
    assert autocorrelation(sung)[lags].max() > 0.7  # the measure finds one where there is one


def test_a_voice_sounds_where_it_is_voiced_and_only_hisses_elsewhere() -> None:
    voiced = phrases(1201, rng(5), (0.8, 2.0), (0.25, 0.6))
    sung = sing(np.full(1201, 220.0), voiced, rng())
    assert ((sung.f0_hz > 0) == voiced).all()
    assert level_of(sung.sound, ~voiced) < 0.5 * level_of(sung.sound, voiced)
    rests = ~np.convolve(voiced, np.ones(5), mode="same").astype(bool)  # without the frame in which a voice fades
    spectrum = np.abs(np.fft.rfft(sung.sound * np.repeat(rests[:-1], 80)))
    hz = np.fft.rfftfreq(len(sung.sound), 1 / RATE)
    assert np.sum(spectrum[hz < 500] ** 2) < 0.05 * np.sum(spectrum**2)  # hiss: no voice in the rests
