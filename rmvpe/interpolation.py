"""f0 at other times than it was given for: voiced and unvoiced points are never mixed.

Between two voiced points f0 is interpolated linearly in log-frequency. Next to an unvoiced point the nearer one counts.
"""

import numpy as np


def f0_at_times(time_s: np.ndarray, f0_hz: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """f0 in Hz [m] at the times `at_s` [m], from `f0_hz` [n] (0 = unvoiced) at the rising times `time_s` [n].

    Times are in seconds. The result is 0 more than half a step (the median of the n - 1) before the first point or
    after the last one.
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
