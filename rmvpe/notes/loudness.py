"""How loud a voice is inside a mix: the energy at the harmonics of its f0, not the level of all that sounds."""

import numpy as np

from rmvpe.config import MelConfig

SAMPLE_RATE_HZ = MelConfig().sample_rate

WINDOW = 1024  # samples, 64 ms: four periods of 62 Hz, and short enough to show a consonant
HIGHEST_HZ = 4000.0  # harmonics above it add little to a voice and much to what is not the voice
LOBE = (
    1.5  # the three bins of a Hann window's main lobe hold this much of its middle one, within 0.1 dB wherever it lies
)
BLOCK = 512  # frames at once
FLOOR_DB = -120.0
EMPHASIS, EMPHASIS_HZ = 0.5, 1000.0


def harmonic_levels_db(
    samples: np.ndarray, time_s: np.ndarray, f0_hz: np.ndarray, emphasis: float = EMPHASIS
) -> tuple[np.ndarray, np.ndarray]:
    """Two levels at the harmonics of `f0_hz` [frames] at the times `time_s` [frames], float64 [frames] in dB.

    The first is in dBFS; in the second, harmonics count more the higher they are: by their ratio to 1 kHz to the power
    `emphasis`, in amplitude. So an m or an l between two vowels, which has few upper harmonics, is a dip.

    samples: 16 kHz mono [n]. f0_hz: in Hz, above 0 in all frames: give `track.interpolated()`, so that a pause has a
    level too; where it is 0 the level is the lowest, -120 dBFS. A full-scale sine has -3 dBFS. Frames outside the
    samples are silent.
    """
    window = np.hanning(WINDOW + 1)[:-1]
    scale = 2.0 / window.sum() ** 2 / LOBE  # power of a sine from the squares of its three bins
    bin_hz = SAMPLE_RATE_HZ / WINDOW
    padded = np.pad(np.asarray(samples, dtype=np.float64), WINDOW)
    last = len(padded) - WINDOW
    starts = np.clip(np.round(time_s * SAMPLE_RATE_HZ).astype(np.int64) + WINDOW // 2, 0, last)
    levels = np.full((2, len(time_s)), FLOOR_DB)
    for at in range(0, len(time_s), BLOCK):
        hz = f0_hz[at : at + BLOCK]
        rows = padded[starts[at : at + BLOCK, None] + np.arange(WINDOW)] * window
        power = np.square(np.abs(np.fft.rfft(rows))) * scale  # [frames, bins]
        power[:, 1:-1] += power[:, :-2] + power[:, 2:]
        pitched = hz > 0
        if not pitched.any():
            continue
        count = max(1, int(HIGHEST_HZ / hz[pitched].min()))
        harmonics = np.where(pitched, hz, 1.0)[:, None] * np.arange(1, count + 1)  # [frames, harmonics]
        bins = np.clip(np.round(harmonics / bin_hz).astype(np.int64), 0, power.shape[1] - 1)
        kept = np.where(harmonics <= HIGHEST_HZ, np.take_along_axis(power, bins, axis=1), 0.0)
        kept[:, 0] = np.take_along_axis(power, bins[:, :1], axis=1)[:, 0]  # the fundamental counts however high
        for row, weight in zip(levels, (1.0, (harmonics / EMPHASIS_HZ) ** (2.0 * emphasis))):
            energy = 10.0 * np.log10(np.maximum((kept * weight).sum(axis=1), 10 ** (FLOOR_DB / 10)))
            row[at : at + BLOCK] = np.where(pitched, energy, FLOOR_DB)
    return levels[0], levels[1]
