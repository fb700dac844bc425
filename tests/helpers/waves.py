"""A stand-in network whose confidence is the loudness, and a sound whose loudness wanders: for tests of voicing."""

import numpy as np

from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.estimator import Estimator
from tests.helpers.networks import StandInNetwork


class Waves(StandInNetwork):
    """A network that hears bin 200 in everything, the louder a frame the surer."""

    batch_windows = 2

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        salience = np.zeros((*log_mel.shape[:2], 360), dtype=np.float32)
        loudness = log_mel.max(axis=2)
        salience[..., 200] = np.clip(0.06 * (loudness + 7.0), 0.0, 1.0)
        return salience


def waves(window: int, overlap: int, config: DecodeConfig) -> Estimator:
    return Estimator(
        Waves(), ModelConfig.small(), config, window_frames=window, overlap_frames=overlap, block_frames=window
    )


def swelling(seconds: float) -> np.ndarray:
    """A tone whose level wanders slowly between -90 and -6 dBFS, on no grid of windows."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(seconds * 16000)) / 16000
    points = np.arange(0.0, seconds + 0.4, 0.4)
    level_db = np.interp(time_s, points, rng.uniform(-90.0, -6.0, len(points)))
    return (np.sqrt(2) * 10 ** (level_db / 20) * np.sin(2 * np.pi * 320.0 * time_s)).astype(np.float32)
