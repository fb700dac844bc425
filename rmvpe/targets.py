"""f0 annotation to training target: a Gaussian over the 360 bins for each voiced frame, zeros elsewhere.

Annotations live on grids of their own (see `rmvpe.data.sources`); `f0_at_times` brings them to frame times without
ever mixing voiced and unvoiced: between two voiced points it interpolates in log-frequency, otherwise the nearer point
decides.
"""

import numpy as np

from rmvpe.pitch import N_BINS, hz_to_bins

SIGMA_BINS = 1.25  # 25 cents, as CREPE and RMVPE train


def f0_at_times(time_s: np.ndarray, f0_hz: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """The annotation (`time_s`, `f0_hz`, 0 = unvoiced) read at the times `at_s`, in Hz; 0 outside the annotation.

    A time more than half an annotation step before the first or after the last point counts as outside.
    """
    if not len(time_s):
        return np.zeros(len(at_s))
    right = np.clip(np.searchsorted(time_s, at_s), 1, max(len(time_s) - 1, 1)).clip(max=len(time_s) - 1)
    left = np.maximum(right - 1, 0)
    span = np.where(right > left, time_s[right] - time_s[left], 1.0)
    share = np.clip((at_s - time_s[left]) / span, 0.0, 1.0)
    left_hz, right_hz = f0_hz[left].astype(np.float64), f0_hz[right].astype(np.float64)
    both = (left_hz > 0) & (right_hz > 0)
    mixed = np.exp((1 - share) * np.log(np.where(both, left_hz, 1.0)) + share * np.log(np.where(both, right_hz, 1.0)))
    nearest = np.where(share < 0.5, left_hz, right_hz)
    step = np.median(np.diff(time_s)) if len(time_s) > 1 else 0.0
    inside = (at_s >= time_s[0] - step / 2 - 1e-9) & (at_s <= time_s[-1] + step / 2 + 1e-9)
    return np.where(inside, np.where(both, mixed, nearest), 0.0)


def salience_target(f0_hz: np.ndarray) -> np.ndarray:
    """Target salience [frames, 360], float32, of `f0_hz` [frames]: exp(-d^2 / (2 sigma^2)), zeros where unvoiced."""
    voiced = f0_hz > 0
    centre = hz_to_bins(np.where(voiced, f0_hz, 1.0))
    distance = np.arange(N_BINS) - centre[:, None]
    target = np.exp(-0.5 * (distance / SIGMA_BINS) ** 2) * voiced[:, None]
    return target.astype(np.float32)
