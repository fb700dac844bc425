"""f0 to training target: a Gaussian over the 360 bins for each voiced frame, zeros elsewhere.

`rmvpe.interpolation.f0_at_times` brings an annotation to frame times first.
"""

import numpy as np

from rmvpe.pitch import N_BINS, hz_to_bins

SIGMA_BINS = 1.25  # 25 cents, as CREPE (arXiv 1802.06182) and RMVPE (arXiv 2306.15412)


def salience_target(f0_hz: np.ndarray) -> np.ndarray:
    """Target salience [frames, 360], float32, of `f0_hz` [frames]: exp(-d^2 / (2 sigma^2)), zeros where unvoiced."""
    voiced = f0_hz > 0
    centre = hz_to_bins(np.where(voiced, f0_hz, 1.0))
    distance = np.arange(N_BINS) - centre[:, None]
    target = np.exp(-0.5 * (distance / SIGMA_BINS) ** 2) * voiced[:, None]
    return target.astype(np.float32)
