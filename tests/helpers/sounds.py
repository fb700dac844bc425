"""Sounds of every kind that a spectrogram meets."""

import numpy as np


def sounds(n: int = 20_000) -> dict[str, np.ndarray]:
    """Name -> samples [n], float64 at 16 kHz."""
    rng = np.random.default_rng(0)
    time = np.arange(n) / 16000
    phase = 2 * np.pi * np.cumsum(200 * 2 ** (time / 2)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 25)) * 0.2 + 1e-3 * rng.standard_normal(n)
    return {
        "voice": np.asarray(voice),
        "noise": rng.standard_normal(n) * 0.1,
        "silence": np.zeros(n),
        "dc": np.full(n, 0.5),
        "click": np.eye(1, n, n // 2)[0],
        "quiet": voice * 1e-4,
    }
