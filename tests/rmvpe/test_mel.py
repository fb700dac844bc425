"""The log-mel spectrogram's definition: frames, scale, filters, floor, key shift. tests/parity has golden numbers."""

import numpy as np
import pytest

from rmvpe.config import MelConfig, ModelConfig
from rmvpe.mel import filterbank, hann, hz_to_mel, log_mel, mel_to_hz

MEL = MelConfig()


def tone(f0_hz: float, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * f0_hz * np.arange(int(16000 * seconds)) / 16000).astype(np.float32)


def test_the_window_is_periodic_hann():
    assert hann(4).tolist() == pytest.approx([0.0, 0.5, 1.0, 0.5])


def test_the_mel_scale_is_htks():
    assert hz_to_mel(700.0) == pytest.approx(2595 * np.log10(2))
    assert hz_to_mel(1000.0) == pytest.approx(999.9855, abs=1e-3)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(np.array([30.0, 440.0, 8000.0]))), [30, 440, 8000])


@pytest.mark.parametrize("config", [MEL, ModelConfig.e2e().mel], ids=["128", "256"])
def test_filters_are_triangles_of_unit_area(config: MelConfig):
    bank = filterbank(config)
    assert bank.shape == (config.n_mels, config.window_samples // 2 + 1)
    assert not bank.flags.writeable
    hz_per_bin = config.sample_rate / config.window_samples
    wide = bank[config.n_mels // 2 :]  # sampled finely enough for the sum to approach the integral
    np.testing.assert_allclose(wide.sum(axis=1) * hz_per_bin, 1.0, rtol=0.1)
    assert np.all(np.diff(bank.argmax(axis=1)) >= 0)


def test_frames_are_centred_and_counted_as_samples_over_hop_plus_one():
    for n in (1, 159, 160, 16000):
        assert log_mel(np.ones(n), MEL).shape == (n // 160 + 1, 128)
    click = np.zeros(16000, dtype=np.float32)
    click[50 * 160] = 1.0
    assert log_mel(click, MEL).sum(axis=1).argmax() == 50  # frame k is around sample k * hop


def test_silence_lies_at_the_floor_and_nothing_below():
    np.testing.assert_allclose(log_mel(np.zeros(1000), MEL), np.log(1e-5))


def test_a_tone_is_loudest_in_its_own_band():
    centres_hz = mel_to_hz(np.linspace(hz_to_mel(30.0), hz_to_mel(8000.0), 130))[1:-1]
    for f0_hz in (200.0, 440.0, 1000.0, 4000.0):
        band = log_mel(tone(f0_hz), MEL)[20].argmax()
        assert abs(centres_hz[band] - f0_hz) < max(16.0, 0.03 * f0_hz)  # the FFT's bins are 15.6 Hz apart


def test_gain_is_an_offset():
    loud, soft = log_mel(tone(440.0), MEL), log_mel(tone(440.0) / 10, MEL)
    audible = soft > np.log(1e-4)
    np.testing.assert_allclose((loud - soft)[audible], np.log(10), atol=1e-3)


@pytest.mark.parametrize("semitones", [-12.0, -5.0, -1.3, 2.0, 5.0])
def test_key_shift_moves_the_pitch_and_not_the_time(semitones: float):
    shifted = log_mel(tone(440.0), MEL, key_shift_semitones=semitones)
    direct = log_mel(tone(440.0 * 2 ** (semitones / 12)), MEL)
    # An odd window mirrors one sample less, which costs the last frame where samples are a multiple of the hop
    assert len(direct) - len(shifted) in (0, 1)
    assert abs(int(shifted[25].argmax()) - int(direct[25].argmax())) <= 1
    assert abs(shifted[25].max() - direct[25].max()) < 0.3  # scaled back: the level stays


def test_uncentred_frames_start_at_their_sample():
    audio = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    uncentred = log_mel(audio, MEL, centred=False)
    assert len(uncentred) == (5000 - 1024) // 160 + 1
    padded = np.concatenate([np.zeros(160, dtype=np.float32), audio])
    np.testing.assert_array_equal(log_mel(padded, MEL, centred=False)[1:], uncentred)


def test_less_than_a_window_is_refused_where_nothing_is_mirrored():
    with pytest.raises(ValueError, match="1023 samples"):
        log_mel(np.zeros(1023), MEL, centred=False)
