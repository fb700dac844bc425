"""Augmentation: each setting does what it says, and the result depends on the random generator alone."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from rmvpe.config import AugmentConfig, MelConfig
from rmvpe.config_check import ConfigError
from rmvpe.data import augment, effects
from rmvpe.data.mixing import active_rms, mix_at_snr, rms
from rmvpe.mel import log_mel

MEL = MelConfig()
RATE = MEL.sample_rate
CONTEXT = 8000
BANDS = ((20, 50), (1700, 1900), (7200, 7900))  # Hz: below any high-pass, around a high voice, above any low-pass
SETTINGS = [field.name for field in dataclasses.fields(AugmentConfig)]
OFF = AugmentConfig.none()


def tone(f0_hz: float = 200.0, seconds: float = 1.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * f0_hz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def noise(seed: int = 0, n: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def excerpt(**changes) -> augment.Excerpt:
    """One second of a tone, half a second of context before it, and white noise for music."""
    standard = augment.Excerpt(
        voice=tone(seconds=1.5),
        accompaniment=noise(n=RATE + CONTEXT),
        f0_hz=np.full(101, 200.0),
        voice_rms=0.4 / np.sqrt(2),
        context=CONTEXT,
    )
    return dataclasses.replace(standard, **changes)


def only(**settings) -> AugmentConfig:
    return dataclasses.replace(OFF, **settings)


def augmented(config: AugmentConfig, seed: int = 0, **changes) -> np.ndarray:
    return augment.augment(excerpt(**changes), MEL, config, np.random.default_rng(seed))[0]


def test_mix_reaches_the_ratio_it_is_asked_for():
    voice = tone()
    level = rms(voice)
    for snr_db in (-10.0, 0.0, 15.0):
        music = mix_at_snr(voice, noise(), level, snr_db) - voice
        np.testing.assert_allclose(20 * np.log10(level / rms(music)), snr_db, atol=0.01)
        music = augmented(only(accompaniment_probability=1.0, snr_db=(snr_db, snr_db))) - tone(seconds=1.5)[CONTEXT:]
        np.testing.assert_allclose(20 * np.log10(level / rms(music)), snr_db, atol=0.01)


def test_silent_accompaniment_is_not_raised():
    np.testing.assert_array_equal(mix_at_snr(tone(), np.zeros(RATE, np.float32), 0.1, -20.0), tone())


def test_active_rms_counts_voiced_hops_only():
    voice = np.concatenate([tone(), np.zeros(RATE, np.float32)])
    f0_hz = np.concatenate([np.full(100, 200.0), np.zeros(101)])
    np.testing.assert_allclose(active_rms(voice, f0_hz, 160), 0.4 / np.sqrt(2), rtol=1e-3)
    assert active_rms(voice, np.zeros(201), 160) == 0.0


def test_key_shift_stays_inside_the_salience():
    wide = only(key_shift_probability=1.0, key_shift_semitones=(-12.0, 12.0))
    rng = np.random.default_rng(0)
    for f0_hz in (35.0, 300.0, 1900.0):
        shifts = [augment.draw_key_shift(np.array([0.0, f0_hz]), MEL, wide, rng) for _ in range(200)]
        shifted = f0_hz * 2.0 ** (np.array(shifts) / 12)
        assert shifted.min() > augment.MIN_F0_HZ
        assert shifted.max() < augment.MAX_F0_HZ
    assert np.ptp([augment.draw_key_shift(np.array([300.0]), MEL, wide, rng) for _ in range(200)]) > 15


@pytest.mark.parametrize("asked", [-12.0, -4.7, 0.0, 1.3, 5.0, 11.9])
def test_key_shift_is_one_that_a_whole_window_makes(asked: float):
    semitones = augment.fast_key_shift(asked, MEL.window_samples)
    window = MEL.window_samples * 2.0 ** (semitones / 12)
    np.testing.assert_allclose(window, round(window), rtol=1e-12)
    assert effects.is_fast(round(window))
    # Lengths without prime factors above 11 lie at most 46 cents apart from 700 to 1800 samples; rounding adds 2 cents
    assert abs(semitones - asked) < 0.25 if asked else semitones == 0.0


@pytest.mark.parametrize("semitones", [-7.0, -3.0, 4.0, 8.0])
def test_key_shift_shows_the_tone_that_the_label_names(semitones: float):
    shift = augment.fast_key_shift(semitones, MEL.window_samples)
    shown = log_mel(tone(600.0), MEL, key_shift_semitones=shift).mean(axis=0)
    meant = log_mel(tone(600.0 * 2.0 ** (shift / 12)), MEL).mean(axis=0)
    assert np.argmax(shown) == np.argmax(meant)
    loud = meant > meant.max() - 3.0
    # 26 dB down from the peak the two agree to 0.07 (0.6 dB): the tone meets each window's bins elsewhere
    np.testing.assert_allclose(shown[loud], meant[loud], atol=0.15)
    moved = np.argmax(shown) - np.argmax(log_mel(tone(600.0), MEL).mean(axis=0))
    # Around 600 Hz a mel band is 0.75 semitones wide
    assert moved * semitones > 0
    assert abs(moved) >= abs(semitones)


def test_nothing_happens_when_all_is_off():
    np.testing.assert_array_equal(augmented(OFF), tone(seconds=1.5)[CONTEXT:])


@pytest.mark.parametrize(
    "name", ["accompaniment", "reverberation", "tilt", "band_limit", "noise", "compression", "clip", "codec"]
)
def test_each_probability_governs_its_effect(name: str):
    voice = noise(1, RATE + CONTEXT)  # all frequencies, so that every filter shows
    untouched, changed = voice[CONTEXT:], 0
    ranges = {"noise_log10": (-1.0, -1.0), "clip_drive_db": (6.0, 6.0), "compression_threshold_db": (-20.0, -6.0)}
    half = only(**{f"{name}_probability": 0.5}, **ranges)
    for seed in range(100):
        out = augmented(half, seed, voice=voice)
        assert out.shape == untouched.shape
        assert out.dtype == np.float32
        changed += not np.allclose(out, untouched, rtol=0, atol=1e-4)
    assert 30 <= changed <= 70  # of 100 tosses of a coin, four standard deviations around 50


def test_gain_lies_in_its_range():
    gains = [rms(augmented(only(gain_log10=(-1.5, 0.3)), seed)) / rms(tone()) for seed in range(100)]
    assert -1.51 < min(np.log10(gains)) < -1.3
    assert 0.1 < max(np.log10(gains)) < 0.31


def test_noise_level_is_relative_to_the_voice():
    untouched = tone(seconds=1.5)[CONTEXT:]
    for log10 in (-2.0, -0.3):
        added = augmented(only(noise_probability=1.0, noise_log10=(log10, log10))) - untouched
        np.testing.assert_allclose(np.log10(rms(added) / rms(untouched)), log10, atol=0.01)


def test_nobody_sings_when_the_voice_is_muted():
    muted = only(voiceless_probability=1.0, accompaniment_probability=0.0)
    mix, f0_hz = augment.augment(excerpt(), MEL, muted, np.random.default_rng(0))
    assert not f0_hz.any()
    spectrum = np.abs(np.fft.rfft(mix))
    assert spectrum[200] < 20 * np.median(spectrum)  # the tone stood 1000 times above the noise's bins
    assert rms(mix) > 0.01  # the music plays, whatever the probability of an accompaniment


def test_voiceless_excerpts_are_music_or_silence_or_noise():
    config = only(voiceless_probability=1.0, silence_probability=0.3, noise_probability=0.5, noise_log10=(-1.0, -1.0))
    kinds = {"silence": 0, "noise": 0, "music": 0}
    for seed in range(200):
        mix, f0_hz = augment.augment(excerpt(), MEL, config, np.random.default_rng(seed))
        assert not f0_hz.any()
        # Music lies at most 25 dB below the voice's 0.28, in 0.016 to 0.7; the noise is a tenth of it
        correlation = abs(np.corrcoef(mix, noise(n=RATE + CONTEXT)[CONTEXT:])[0, 1]) if mix.any() else 0.0
        kinds["music" if correlation > 0.3 else "noise" if mix.any() else "silence"] += 1
    # 0.3 x 0.5 of 200 = 30 each, within four standard deviations of 5
    assert 10 <= kinds["silence"] <= 50
    assert 10 <= kinds["noise"] <= 50
    assert kinds["music"] >= 110


def test_an_item_without_accompaniment_never_gets_one_nor_loses_its_voice():
    config = only(accompaniment_probability=1.0, voiceless_probability=1.0)
    mix, f0_hz = augment.augment(excerpt(accompaniment=None), MEL, config, np.random.default_rng(0))
    assert (f0_hz == 200.0).all()
    np.testing.assert_array_equal(mix, tone(seconds=1.5)[CONTEXT:])


def test_backing_voice_is_quieter_than_the_lead_whose_label_stays():
    other = tone(330.0, 1.5) / rms(tone(330.0))
    for level_db in (-20.0, -6.0):
        config = only(backing_db=(level_db, level_db))
        mix, f0_hz = augment.augment(excerpt(backing=other), MEL, config, np.random.default_rng(0))
        spectrum = np.abs(np.fft.rfft(mix))
        np.testing.assert_allclose(20 * np.log10(spectrum[330] / spectrum[200]), level_db, atol=0.1)
        assert (f0_hz == 200.0).all()
    # Where the lead hardly sings, the backing voice would be the only one and the label would deny it
    pausing = np.where(np.arange(101) < 20, 200.0, 0.0)
    np.testing.assert_array_equal(augmented(OFF, f0_hz=pausing, backing=other), augmented(OFF))


def test_the_room_is_around_the_voice_or_around_everything():
    """Music that is one click shows whether it was in the room; a voice that ended in the context leaves its tail."""
    click = np.zeros(RATE + CONTEXT, np.float32)
    click[CONTEXT + 4000] = 1.0
    sung_before = noise(1, RATE + CONTEXT)
    sung_before[CONTEXT:] = 0.0
    for of_mix in (0.0, 1.0):
        config = only(
            reverberation_probability=1.0,
            reverberation_of_mix_probability=of_mix,
            rt60_s=(0.4, 0.4),
            rt60_high_share=(1.0, 1.0),
            direct_to_reverberant_db=(3.0, 3.0),
            accompaniment_probability=1.0,
            snr_db=(-20.0, -20.0),
        )
        unvoiced = np.zeros(101)
        mix, f0_hz = augment.augment(
            excerpt(voice=sung_before, accompaniment=click, f0_hz=unvoiced), MEL, config, np.random.default_rng(2)
        )
        assert int(np.argmax(np.abs(mix))) == 4000  # direct path first
        np.testing.assert_array_equal(f0_hz, unvoiced)  # a tail is nobody singing
        tail_db = 20 * np.log10(rms(mix[800:1600]) / rms(mix[3100:3900]))
        # 60 dB in 0.4 s are 21.6 dB in the 0.144 s between; noise of 800 samples has its level within 0.3 dB
        np.testing.assert_allclose(tail_db, 21.6, atol=1.0)
        after_click_db = 10 * np.log10(np.sum(mix[4001:].astype(np.float64) ** 2) / mix[4000] ** 2)
        # The voice has little left of its tail by then: what follows is the click's own, 3 dB below it, if it has one
        assert abs(after_click_db + 3.0) < 0.5 if of_mix else after_click_db < -15.0


def test_the_same_sound_before_the_excerpt_matters_only_through_the_room():
    quiet_before = tone(seconds=1.5)
    quiet_before[:CONTEXT] = 0.0
    for effect in ("tilt", "band_limit", "noise", "compression", "clip", "codec"):
        config = only(**{f"{effect}_probability": 1.0})
        np.testing.assert_array_equal(augmented(config, voice=quiet_before), augmented(config))
    roomy = only(reverberation_probability=1.0)
    assert np.abs(augmented(roomy, voice=quiet_before) - augmented(roomy)).max() > 1e-3


def test_tilt_and_band_limits_vary_and_leave_the_fundamental_audible():
    tilts = []
    for seed in range(40):
        out = augmented(only(tilt_probability=1.0), seed, voice=noise(n=RATE + CONTEXT))
        ratio = np.abs(np.fft.rfft(out)) / np.abs(np.fft.rfft(noise(n=RATE + CONTEXT)[CONTEXT:]))
        tilts.append(20 * np.log10(np.median(ratio[7000:]) / np.median(ratio[40:60])))
    assert max(np.abs(tilts)) <= 12.0
    assert np.ptp(tilts) > 12
    limited, voice = only(band_limit_probability=1.0), noise(n=RATE + CONTEXT)
    before = np.abs(np.fft.rfft(voice[CONTEXT:])) ** 2
    ends = set()
    for seed in range(60):
        out = np.abs(np.fft.rfft(augmented(limited, seed, voice=voice, f0_hz=np.full(101, 1800.0)))) ** 2
        low, middle, high = (10 * np.log10(out[a:b].mean() / before[a:b].mean()) for a, b in BANDS)
        ends.add((bool(low < -3), bool(high < -3)))
        assert middle > -3.0  # 1800 Hz is kept although the low-pass may start at 1500 Hz
    assert ends == {(True, False), (False, True), (True, True)}
    for seed in range(60):
        # A bare tone at 65 Hz loses at most the 3 dB of the filter's edge, although the high-pass may start at 500 Hz
        bare = augmented(limited, seed, voice=tone(65.0, 1.5), f0_hz=np.full(101, 65.0), accompaniment=None)
        assert 20 * np.log10(rms(bare[2000:-2000]) / rms(tone(65.0)[2000:-2000])) > -3.1


@pytest.mark.parametrize("voice", ["tone", "silence"])
def test_everything_at_once_stays_finite_and_in_shape(voice: str):
    certain: dict[str, Any] = {name: 1.0 for name in SETTINGS if name.endswith("_probability")}
    everything = AugmentConfig(**certain | {"voiceless_probability": 0.5})
    for seed in range(40):
        changes = {"voice": np.zeros(RATE + CONTEXT, np.float32)} if voice == "silence" else {}
        for config in (everything, AugmentConfig()):
            mix, f0_hz = augment.augment(excerpt(**changes), MEL, config, np.random.default_rng(seed))
            assert mix.shape == (RATE,)
            assert mix.dtype == np.float32
            assert np.isfinite(mix).all()
            assert f0_hz.shape == (101,)


def test_the_same_generator_gives_the_same_mix():
    first, again, other = (augmented(AugmentConfig(), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codec_probability": 1.2}, "codec_probability must be from 0 to 1, not 1.2"),
        ({"snr_db": (10.0, 0.0)}, r"augment.snr_db must be \[low, high\], not \[10.0, 0.0\]"),
        ({"rt60_s": (0.0, 1.0)}, "rt60_s must be from 0.001 to 20, not 0.0"),
    ],
)
def test_impossible_settings_are_named(settings: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**settings)
