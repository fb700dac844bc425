"""What hosts do with an f0 curve after the network: gaps filled, another hop, short runs erased.

Each rule is that of a host's own wrapper, written anew, so that a host gets the curve which it is used to. f0 is in Hz
and 0 where unvoiced; frame k of a curve is at k hops. No function changes the array it is given.
"""

import numpy as np


def fill_linear(f0_hz: np.ndarray) -> np.ndarray:
    """f0 in Hz [n] with the unvoiced gaps filled, linearly in Hz; both ends get the nearest voiced f0.

    The result is float64 [n], all 0 if no frame is voiced. So do so-vits-svc and RVC's main branch.
    """
    f0_hz = np.asarray(f0_hz, dtype=np.float64)
    voiced = np.flatnonzero(f0_hz > 0)
    if not len(voiced):
        return np.zeros(len(f0_hz))
    return np.interp(np.arange(len(f0_hz)), voiced, f0_hz[voiced])


def fill_log2(f0_hz: np.ndarray) -> np.ndarray:
    """As `fill_linear`, but linear in log2 of Hz, a straight line in semitones. So do DiffSinger and SOME."""
    f0_hz = np.asarray(f0_hz, dtype=np.float64)
    voiced = f0_hz > 0
    if not voiced.any():
        return np.zeros(len(f0_hz))
    log_hz = np.interp(np.arange(len(f0_hz)), np.flatnonzero(voiced), np.log2(f0_hz[voiced]))
    return np.where(voiced, f0_hz, np.exp2(log_hz))


def stretch_nearest(values: np.ndarray, n_frames: int) -> np.ndarray:
    """`values` [n] stretched over `n_frames` frames: frame k is that at floor(k n / n_frames), a copy of its dtype.

    The first frames meet, not the times: the hop becomes n / n_frames of the old one. So does so-vits-svc (the mode
    "nearest" of torch's interpolate, whose float32 is kept: where k n / n_frames is a whole number, it may take the
    frame before). All 0 if there are no values.
    """
    values = np.asarray(values)
    if not len(values):
        return np.zeros(n_frames, dtype=values.dtype)
    scale = np.float32(len(values)) / np.float32(max(n_frames, 1))
    nearest = np.floor(np.arange(n_frames, dtype=np.float32) * scale).astype(np.int64)
    return values[np.minimum(nearest, len(values) - 1)]


def at_hop(values: np.ndarray, hop_s: float, new_hop_s: float, n_frames: int) -> np.ndarray:
    """`values` [n], one every `hop_s` seconds, at k * `new_hop_s` seconds, k from 0: [n_frames], of their dtype.

    Linear between two values. The last time before that of the last value counts to the end: what it has is repeated.
    So do DiffSinger, SOME and ROSVOT. All 0 if there are no values.
    """
    values = np.asarray(values)
    if not len(values):
        return np.zeros(n_frames, dtype=values.dtype)
    end_s = (len(values) - 1) * hop_s
    last = max(len(np.arange(0.0, end_s, new_hop_s)) - 1, 0)  # the hosts' own count, so that rounding counts the same
    time_s = np.minimum(np.arange(n_frames), last) * new_hop_s
    return np.interp(time_s, np.arange(len(values)) * hop_s, values).astype(values.dtype)


def unvoiced_at_hop(unvoiced: np.ndarray, hop_s: float, new_hop_s: float, n_frames: int) -> np.ndarray:
    """`unvoiced`, bool [n], at another hop, as `at_hop`: True where more than half is unvoiced, bool [n_frames].

    Without any frame all are unvoiced.
    """
    if not len(unvoiced):
        return np.ones(n_frames, dtype=bool)
    # In float32, so that a time halfway between two frames is voiced whatever the rounding of the times
    return at_hop(np.asarray(unvoiced, dtype=np.float32), hop_s, new_hop_s, n_frames) > 0.5


def within_range(f0_hz: np.ndarray, f0_min_hz: float, f0_max_hz: float) -> np.ndarray:
    """f0 in Hz [n] with 0, unvoiced, where it is outside the range in Hz; a limit itself is inside. A copy."""
    f0_hz = np.asarray(f0_hz)
    return np.where((f0_hz < f0_min_hz) | (f0_hz > f0_max_hz), np.zeros((), f0_hz.dtype), f0_hz)


def erase_short_runs(f0_hz: np.ndarray, max_frames: int) -> np.ndarray:
    """f0 in Hz [n] with 0 where a voiced run is `max_frames` frames or shorter. A copy.

    From left to right, the `max_frames` frames between two unvoiced ones become unvoiced. A run at the very start or
    end is kept, as nothing tells how long it is. So does ROSVOT.
    """
    f0_hz = np.array(f0_hz)
    voiced = (f0_hz > 0).tolist()
    for before in range(len(voiced) - max_frames - 1):
        after = before + max_frames + 1
        if not voiced[before] and not voiced[after]:
            voiced[before:after] = [False] * (after - before)
    f0_hz[~np.array(voiced, dtype=bool)] = 0
    return f0_hz
