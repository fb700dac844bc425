"""How loud a voice is inside a mix: the energy at the harmonics of its f0, not the level of all that sounds."""

import numpy as np

from rmvpe.config import MelConfig

SAMPLE_RATE_HZ = MelConfig().sample_rate
WINDOW = 1024  # samples, 64 ms: four periods of 62 Hz, and short enough to show a consonant
HIGHEST_HZ = 6000.0  # harmonics above it add little to a voice and much to what is not the voice
BLOCK = 512  # frames at once
FLOOR_DB = -120.0
# The three bins of a Hann window's main lobe hold this much of its middle one, within 0.1 dB wherever it lies
LOBE = 1.5
# Centres of bands an octave wide to each side: a nasal or a liquid is fainter than a vowel in the upper ones
BANDS_HZ = (400.0, 800.0, 1600.0, 3200.0)


def harmonic_levels_db(samples: np.ndarray, time_s: np.ndarray, f0_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels at the harmonics of `f0_hz` [frames] at the times `time_s` [frames]: of all, and by band.

    Returns float64 [frames] in dBFS, where a full-scale sine has -3, and float32 [frames, 4] for `BANDS_HZ`, with
    triangular weights over the logarithm of frequency, so that a gliding harmonic does not jump from band to band.
    samples: 16 kHz mono [n]. f0_hz: in Hz, above 0 in all frames: give `track.interpolated()`, so that a pause has a
    level too; where it is 0 the levels are the lowest, -120 dBFS. Frames outside the samples are silent.
    """
    window = np.hanning(WINDOW + 1)[:-1]
    scale = 2.0 / window.sum() ** 2 / LOBE  # power of a sine from the squares of its three bins
    bin_hz = SAMPLE_RATE_HZ / WINDOW
    samples = np.asarray(samples)
    starts = np.round(time_s * SAMPLE_RATE_HZ).astype(np.int64) - WINDOW // 2
    levels = np.full(len(time_s), FLOOR_DB)
    bands = np.full((len(time_s), len(BANDS_HZ)), FLOOR_DB, dtype=np.float32)
    for at in range(0, len(time_s), BLOCK):
        frames = at + np.flatnonzero(f0_hz[at : at + BLOCK] > 0)
        if not len(frames) or not len(samples):
            continue
        index = starts[frames, None] + np.arange(WINDOW)
        inside = (index >= 0) & (index < len(samples))
        rows = np.where(inside, samples[np.clip(index, 0, len(samples) - 1)], 0.0) * window
        power = np.square(np.abs(np.fft.rfft(rows))) * scale  # [frames, bins]
        power[:, 1:-1] += power[:, :-2] + power[:, 2:]
        count = max(1, int(HIGHEST_HZ / f0_hz[frames].min()))
        harmonics = f0_hz[frames, None] * np.arange(1, count + 1)  # [frames, harmonics]
        bins = np.clip(np.round(harmonics / bin_hz).astype(np.int64), 0, power.shape[1] - 1)
        heard = harmonics <= HIGHEST_HZ
        heard[:, 0] = True  # the fundamental, however high
        kept = np.where(heard, np.take_along_axis(power, bins, axis=1), 0.0)
        levels[frames] = _decibels(kept.sum(axis=1))
        octaves = np.log2(harmonics)
        for band, centre_hz in enumerate(BANDS_HZ):
            weights = np.clip(1.0 - np.abs(octaves - np.log2(centre_hz)), 0.0, 1.0)
            bands[frames, band] = _decibels((kept * weights).sum(axis=1))
    return levels, bands


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10.0)))
