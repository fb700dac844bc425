"""Each augmentation does what it says, and only what its random generator tells it."""

import dataclasses

import numpy as np

from rmvpe.config import AugmentConfig, MelConfig
from rmvpe.data import augment

MEL = MelConfig()


def tone(f0_hz: float = 200.0, seconds: float = 1.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * f0_hz * np.arange(int(16000 * seconds)) / 16000)).astype(np.float32)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(16000).astype(np.float32)


def test_mix_reaches_the_ratio_it_is_asked_for():
    voice = tone()
    level = augment.rms(voice)
    for snr_db in (-10.0, 0.0, 15.0):
        music = augment.mix_at_snr(voice, noise(), level, snr_db) - voice
        measured = 20 * np.log10(level / augment.rms(music))
        np.testing.assert_allclose(measured, snr_db, atol=0.01)


def test_silent_accompaniment_is_not_raised():
    np.testing.assert_array_equal(augment.mix_at_snr(tone(), np.zeros(16000, np.float32), 0.1, -20.0), tone())


def test_active_rms_counts_voiced_hops_only():
    voice = np.concatenate([tone(), np.zeros(16000, np.float32)])
    f0_hz = np.concatenate([np.full(100, 200.0), np.zeros(101)])
    np.testing.assert_allclose(augment.active_rms(voice, f0_hz, 160), 0.4 / np.sqrt(2), rtol=1e-3)
    assert augment.active_rms(voice, np.zeros(201), 160) == 0.0


def test_key_shift_stays_inside_the_salience():
    wide = AugmentConfig(key_shift_probability=1.0, key_shift_semitones=(-12.0, 12.0))
    rng = np.random.default_rng(0)
    for f0_hz in (35.0, 300.0, 1900.0):
        shifts = [augment.draw_key_shift(np.array([0.0, f0_hz]), wide, rng) for _ in range(200)]
        shifted = f0_hz * 2.0 ** (np.array(shifts) / 12)
        assert shifted.min() > augment.MIN_F0_HZ
        assert shifted.max() < augment.MAX_F0_HZ
    assert np.ptp([augment.draw_key_shift(np.array([300.0]), wide, rng) for _ in range(200)]) > 15


def test_coloured_noise_has_unit_rms_and_falls_with_frequency():
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(20):
        sample = augment.coloured_noise(16000, rng)
        np.testing.assert_allclose(augment.rms(sample), 1.0, rtol=1e-4)
        power = np.abs(np.fft.rfft(sample)) ** 2
        slopes.append(np.log2(power[400:800].mean() / power[3200:6400].mean()) / 3)
    # Power falls by 0 to 2 octaves per octave, drawn uniformly
    assert -0.1 < min(slopes) < 0.5
    assert 1.5 < max(slopes) < 2.2


def test_equaliser_tilts_within_its_bounds_and_limits_the_band():
    tilting = AugmentConfig(tilt_db=12.0, band_limit_probability=0.0)
    gains = []
    for seed in range(30):
        out = augment.equalise(noise(), MEL, tilting, np.random.default_rng(seed))
        ratio = np.abs(np.fft.rfft(out)) / np.abs(np.fft.rfft(noise()))
        gains.append(20 * np.log10(ratio[30] / ratio[8000]))
    assert max(np.abs(gains)) <= 12.01
    assert np.ptp(gains) > 12
    limiting = dataclasses.replace(tilting, band_limit_probability=1.0, band_limit_hz=(2000.0, 2000.0), tilt_db=0.0)
    out = np.abs(np.fft.rfft(augment.equalise(noise(), MEL, limiting, np.random.default_rng(0))))
    assert out[4000:].mean() < 0.01 * out[:1500].mean()


def test_nobody_sings_when_the_voice_is_muted():
    item = {"voice": tone(), "accompaniment": noise(), "f0_hz": np.full(100, 200.0), "voice_rms": 0.28}
    muted = AugmentConfig(voiceless_probability=1.0, accompaniment_probability=1.0, noise_probability=0.0)
    mix, f0_hz = augment.augment(item, None, MEL, muted, np.random.default_rng(0))
    assert not f0_hz.any()
    spectrum = np.abs(np.fft.rfft(mix))
    assert spectrum[200] < 20 * np.median(spectrum)  # the tone stood 1000 times above the noise's bins


def test_an_item_without_accompaniment_never_gets_one():
    item = {"voice": tone(), "accompaniment": None, "f0_hz": np.full(100, 200.0), "voice_rms": 0.28}
    loud = AugmentConfig(
        accompaniment_probability=1.0, voiceless_probability=1.0, noise_probability=0.0, tilt_probability=0.0
    )
    mix, f0_hz = augment.augment(item, None, MEL, loud, np.random.default_rng(0))
    assert (f0_hz == 200.0).all()
    np.testing.assert_allclose(mix / np.abs(mix).max(), tone() / np.abs(tone()).max(), atol=1e-5)


def test_the_same_generator_gives_the_same_mix():
    item = {"voice": tone(), "accompaniment": noise(), "f0_hz": np.full(100, 200.0), "voice_rms": 0.28}
    first, again, other = (
        augment.augment(item, noise(5), MEL, AugmentConfig(), np.random.default_rng(seed))[0] for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
