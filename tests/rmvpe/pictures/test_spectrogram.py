"""The colours of a spectrogram: silence is the darkest, whatever else the file holds."""

import numpy as np
import pytest

from rmvpe.pictures.spectrogram import brightness_range, log_frequency_picture


def brightness(sound: np.ndarray) -> np.ndarray:
    """0 (darkest) to 1, [rows, columns]."""
    picture, _ = log_frequency_picture(sound.astype(np.float32))
    dark, bright = brightness_range(picture)
    return np.clip((picture - dark) / (bright - dark), 0, 1)


@pytest.mark.parametrize("n", [0, 1, 16_000])
def test_digital_silence_is_the_darkest_colour(n: int) -> None:
    np.testing.assert_array_equal(brightness(np.zeros(n)), 0.0)


def test_a_silent_half_is_the_darkest_colour_beside_a_quiet_and_a_loud_half() -> None:
    time = np.arange(32_000) / 16_000
    for level in (0.001, 0.9):
        shown = brightness(level * np.sin(2 * np.pi * 440 * time) * (time > 1))
        assert shown[:, : shown.shape[1] // 2 - 10].max() == 0.0
        assert shown.max() > 0.5


def test_quiet_noise_stays_dark() -> None:
    """Dither of 16 bits is almost black: a file without music must not look like one."""
    noise = np.random.default_rng(0).standard_normal(32_000)
    assert brightness(noise * 0.3 / 2**15).mean() < 0.1
    assert brightness(noise * 0.1).mean() > 0.5


def test_a_part_of_the_range_shows_a_tone_in_its_row() -> None:
    sound = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    picture, _ = log_frequency_picture(sound, lowest_hz=220.0, highest_hz=880.0, rows=101)
    assert picture.shape[0] == 101
    assert abs(int(picture[:, 50].argmax()) - 50) <= 2


def test_an_hour_needs_little_memory() -> None:
    picture, step_s = log_frequency_picture(np.zeros(16_000 * 3600, dtype=np.float32), 2000, rows=64)
    assert picture.shape[1] <= 2000
    assert picture.dtype == np.float32
    assert picture.shape[1] * step_s == pytest.approx(3600, rel=0.01)
