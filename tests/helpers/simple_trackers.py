"""Trackers for the tests of comparing them: one that works, and three that fail, each in its own way.

They are in their own module, which is light to import, because the process of every tracker imports it.
"""

import os

import numpy as np

from rmvpe.evaluation.trackers.adapters import Tracker, TrackerSpec
from rmvpe.track import F0Track

RATE_HZ, FRAME, HOP_S = 16_000, 1024, 0.016
LONG_S = 2.5  # the fragile and the crashing tracker cannot process longer audio


def autocorrelation(audio: np.ndarray) -> F0Track:
    """A small tracker with 16 ms frames: the lag from 1/600 to 1/80 s with the highest autocorrelation."""
    hop = round(HOP_S * RATE_HZ)
    padded = np.pad(audio.astype(np.float64), FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::hop]
    spectrum = np.fft.rfft(frames * np.hanning(FRAME), 2 * FRAME)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(FRAME), 2 * FRAME)) ** 2)[:FRAME]
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :FRAME] / np.maximum(window, 1e-9)
    lags = np.arange(RATE_HZ // 600, RATE_HZ // 80)
    shown = correlation[:, lags]
    # The first of the peaks that are nearly the highest, because two periods correlate as well as one
    is_peak = (shown >= correlation[:, lags - 1]) & (shown >= correlation[:, lags + 1])
    best = lags[0] + (is_peak & (shown >= 0.9 * shown.max(axis=1, keepdims=True))).argmax(axis=1)
    before, peak, after = (correlation[np.arange(len(best)), best + step] for step in (-1, 0, 1))
    curve = before - 2 * peak + after
    f0_hz = RATE_HZ / (best + np.where(curve < 0, 0.5 * (before - after) / np.where(curve < 0, curve, -1.0), 0.0))
    confidence = np.where(correlation[:, 0] > 1e-6, peak / np.maximum(correlation[:, 0], 1e-6), 0.0)
    return F0Track(HOP_S * np.arange(len(best)), f0_hz, confidence > 0.5, confidence)


def open_autocorrelation(threads: int) -> Tracker:
    return Tracker(autocorrelation, f"{threads} thread")


def fragile(audio: np.ndarray) -> F0Track:
    if len(audio) > LONG_S * RATE_HZ:
        raise RuntimeError("too long for me\nand more lines")
    return autocorrelation(audio)


def open_fragile(threads: int) -> Tracker:
    return Tracker(fragile, "short audio only")


def open_broken(threads: int) -> Tracker:
    raise OSError("libfoo.so: cannot open shared object file")


def crashing(audio: np.ndarray) -> F0Track:
    if len(audio) > LONG_S * RATE_HZ:
        os._exit(3)
    return autocorrelation(audio)


def open_crashing(threads: int) -> Tracker:
    return Tracker(crashing, "exits on long audio")


def open_environment(threads: int) -> Tracker:
    omp, numba = os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"]
    return Tracker(autocorrelation, f"OMP {omp}, numba {numba}")


SPECS = {
    "autocorrelation": TrackerSpec("Autocorrelation", open_autocorrelation),
    "fragile": TrackerSpec("Fragile", open_fragile),
    "broken": TrackerSpec("Broken", open_broken),
    "crashing": TrackerSpec("Crashing", open_crashing),
    "absent": TrackerSpec("Absent", open_autocorrelation, ("no_such_module",), "no-such-package"),
}
