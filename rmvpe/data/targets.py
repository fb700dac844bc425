"""f0 to training target: a Gaussian over the 360 bins for each voiced frame, zeros elsewhere.

`rmvpe.interpolation.f0_at_times` brings an annotation to frame times first.
"""

import numpy as np

from rmvpe.pitch import N_BINS, hz_to_bins

SIGMA_BINS = 1.25  # 25 cents, as CREPE (arXiv 1802.06182) and RMVPE (arXiv 2306.15412)


REACH_BINS = 19  # beyond it the Gaussian, below 1e-50, is zero in float32


def salience_target(f0_hz: np.ndarray) -> np.ndarray:
    """Target salience [frames, 360], float32, of `f0_hz` [frames]: exp(-d^2 / (2 sigma^2)), zeros where unvoiced."""
    frames = np.flatnonzero(f0_hz > 0)
    centre = hz_to_bins(f0_hz[frames])[:, None]
    # Only the bins around the pitch: the rest is 90 % of the numbers
    nearest = np.rint(centre.clip(-2 * REACH_BINS, N_BINS + 2 * REACH_BINS)).astype(np.int64)
    bins = nearest + np.arange(-REACH_BINS, REACH_BINS + 1)
    values = np.exp(-0.5 * ((bins - centre) / SIGMA_BINS) ** 2)
    target = np.zeros((len(f0_hz), N_BINS + 2 * REACH_BINS), dtype=np.float32)
    inside = bins.clip(-REACH_BINS, N_BINS + REACH_BINS - 1) + REACH_BINS
    target[frames[:, None], inside] = values
    return np.ascontiguousarray(target[:, REACH_BINS:-REACH_BINS])
