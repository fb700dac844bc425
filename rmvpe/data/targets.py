"""f0 annotation to training target: a Gaussian over the 360 bins for each voiced frame, zeros elsewhere.

Annotations live on grids of their own (see `rmvpe.data.readers.hybrid`); `f0_at_times` brings them to frame times
without ever mixing voiced and unvoiced: between two voiced points it interpolates in log-frequency, otherwise the
nearer point decides.
"""

import numpy as np

from rmvpe.pitch import N_BINS, hz_to_bins

SIGMA_BINS = 1.25  # 25 cents, as CREPE and RMVPE train


def salience_target(f0_hz: np.ndarray) -> np.ndarray:
    """Target salience [frames, 360], float32, of `f0_hz` [frames]: exp(-d^2 / (2 sigma^2)), zeros where unvoiced."""
    voiced = f0_hz > 0
    centre = hz_to_bins(np.where(voiced, f0_hz, 1.0))
    distance = np.arange(N_BINS) - centre[:, None]
    target = np.exp(-0.5 * (distance / SIGMA_BINS) ** 2) * voiced[:, None]
    return target.astype(np.float32)
