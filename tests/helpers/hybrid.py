"""A small Hybrid folder of gliding harmonic tones over noise, for training tests."""

from pathlib import Path

import numpy as np

from rmvpe.data.readers.hybrid import write_hybrid_pair


def glide(seed: int, seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A harmonic glide [samples] at 16 kHz and its f0 [frames] at 10 ms from time 0; the last 0.3 s are silent."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(16000 * seconds)) / 16000
    low, high = np.sort(rng.uniform(120.0, 500.0, 2))

    def f0_at(moment: np.ndarray) -> np.ndarray:
        return low * (high / low) ** (moment / seconds)

    phase = 2 * np.pi * np.cumsum(f0_at(time)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 6)) * 0.15
    grid = np.arange(int(100 * seconds) + 1) * 0.01
    sounding = seconds - 0.3
    return np.where(time < sounding, voice, 0.0).astype(np.float32), np.where(grid < sounding, f0_at(grid), 0.0)


def make_hybrid(root: Path, train: int = 4, valid: int = 2) -> Path:
    """Write `root`/{train,valid} and return `root`."""
    for split, count, first in (("train", train, 0), ("valid", valid, 100)):
        (root / split).mkdir(parents=True)
        for index in range(count):
            voice, f0_hz = glide(first + index)
            noise = np.random.default_rng(index).normal(0, 0.1, len(voice)).astype(np.float32)
            write_hybrid_pair(root / split, f"glide-{index}", voice, noise, f0_hz)
    return root
