"""Scores of clips, pooled over a level's clips, with 95 % intervals by bootstrap over the clips.

The interval is the percentile bootstrap (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13):
the clips are drawn again with replacement, and the pooled score is computed of each draw. Two weights are compared on
the same draws (paired), so that what makes a clip hard for both does not count as noise. The draws have one seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmvpe.config import DecodeConfig
from rmvpe.decode import PitchCurve
from rmvpe.evaluation.metrics import TOLERANCE_CENTS, Aligned, align, tally
from rmvpe.evaluation.suite.clips import Clip
from rmvpe.pitch import cents_between

# Of sung frames; OA of all, VFA of those that are not sung. "RPA mid": without the frames within 30 ms of either end of
# a sung stretch. "VO": voiced, and off by whole octaves. "cents": median of the error's size
SHARES = ("RPA", "RPA mid", "RCA", "OA", "VR", "VFA", "VO")
CENTS = "cents"
SCORES = (*SHARES, CENTS)
LOWER_IS_BETTER = ("VFA", "VO", CENTS)
END_S = 0.03
RESAMPLINGS, SEED, PERCENT = 2000, 0, (2.5, 97.5)
MEDIAN_STEPS = 2000  # a resampled median is one of so many quantiles


@dataclass(frozen=True)
class ClipScores:
    """What a clip adds to its level: for each of `SHARES` how many frames count, and of how many; errors in cents."""

    name: str
    counts: dict[str, float]
    totals: dict[str, float]
    cents: np.ndarray  # [sung frames that have a pitch], sizes of the errors

    def scores(self) -> dict[str, float]:
        """The scores of this clip alone; NaN where no frame is left."""
        return {name: float(found[0]) for name, found in _pooled([self], np.ones((1, 1))).items()}


@dataclass(frozen=True)
class Interval:
    """A score and its 95 % interval; NaN where it is not defined, and the interval of a single clip."""

    value: float
    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        """Of a difference: whether the interval leaves out 0."""
        return self.low > 0.0 or self.high < 0.0


def clip_scores(clip: Clip, time_s: np.ndarray, curve: PitchCurve, config: DecodeConfig) -> ClipScores:
    """Scores of an estimator's pitch curve, whose frames are at `time_s`, voiced as `config` says."""
    voiced = curve.voiced(config)
    pooled = tally(clip.time_s, clip.f0_hz, time_s, curve.f0_hz, voiced)
    aligned = align(clip.time_s, clip.f0_hz, time_s, curve.f0_hz, voiced)
    off, sung = errors(aligned), clip.f0_hz > 0
    mid = sung & ~near_an_end(clip.time_s, sung)
    octaves = np.round(off / 1200.0)
    octave_off = (octaves != 0) & (np.abs(off - 1200.0 * octaves) <= TOLERANCE_CENTS)
    counts = {name: pooled.counts[name] for name in ("RPA", "RCA", "OA", "VR", "VFA")}
    counts |= {
        "RPA mid": float(np.sum(np.abs(off[mid]) <= TOLERANCE_CENTS)),
        "VO": float(np.sum(octave_off & aligned.est_voiced)),
    }
    totals = dict.fromkeys(SHARES, float(pooled.voiced))
    totals |= {"OA": float(len(sung)), "VFA": float(pooled.unvoiced), "RPA mid": float(np.sum(mid))}
    return ClipScores(clip.name, counts, totals, np.abs(off[np.isfinite(off)]))


def errors(aligned: Aligned) -> np.ndarray:
    """Cents [points] from the reference to the estimate; NaN where either has no pitch."""
    both = (aligned.ref_hz > 0) & (aligned.est_hz > 0)
    off = np.full(len(both), np.nan)
    off[both] = cents_between(aligned.est_hz[both], aligned.ref_hz[both])
    return off


def near_an_end(time_s: np.ndarray, sung: np.ndarray) -> np.ndarray:
    """bool [points]: whether a point that is not sung, or the recording's end, is at most 30 ms away."""
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else END_S
    silent = np.concatenate([[time_s[0] - step], time_s[~sung], [time_s[-1] + step]])
    right = np.clip(np.searchsorted(silent, time_s), 1, len(silent) - 1)
    distance = np.minimum(np.abs(silent[right] - time_s), np.abs(time_s - silent[right - 1]))
    return distance <= END_S + step / 2  # the stretch ends half a step before the first silent point


def draws(count: int) -> np.ndarray:
    """How often each of `count` clips is in each resampling: int [resamplings, count], always the same."""
    picked = np.random.default_rng(SEED).integers(0, count, (RESAMPLINGS, count))
    flat = (picked + count * np.arange(RESAMPLINGS)[:, None]).ravel()
    return np.bincount(flat, minlength=RESAMPLINGS * count).reshape(RESAMPLINGS, count)


def summary(clips: Sequence[ClipScores]) -> dict[str, Interval]:
    """The pooled scores of a level, every frame of all clips weighing the same."""
    values, drawn = _pooled(clips, np.ones((1, len(clips)))), _pooled(clips, draws(len(clips)))
    return {name: _interval(float(values[name][0]), drawn[name], len(clips)) for name in SCORES}


def difference(clips: Sequence[ClipScores], baseline: Sequence[ClipScores]) -> dict[str, Interval]:
    """How much higher the scores of `clips` are than those of `baseline`: the same clips in the same order."""
    once, drawn = np.ones((1, len(clips))), draws(len(clips))
    values = [_pooled(side, once) for side in (clips, baseline)]
    resampled = [_pooled(side, drawn) for side in (clips, baseline)]
    return {
        name: _interval(
            float(values[0][name][0] - values[1][name][0]), resampled[0][name] - resampled[1][name], len(clips)
        )
        for name in SCORES
    }


def _interval(value: float, drawn: np.ndarray, count: int) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if count < 2 or not len(known) or not math.isfinite(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(known, PERCENT)
    return Interval(value, float(low), float(high))


def _pooled(clips: Sequence[ClipScores], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Each score [resamplings] of clips taken `weights` [resamplings, clips] times; NaN where no frame is left."""
    scores = {}
    for name in SHARES:
        counts = weights @ np.array([clip.counts[name] for clip in clips])
        totals = weights @ np.array([clip.totals[name] for clip in clips])
        scores[name] = np.divide(counts, totals, out=np.full(len(weights), np.nan), where=totals > 0)
    return scores | {CENTS: _medians([clip.cents for clip in clips], weights)}


def _medians(cents: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """The median of all errors [resamplings], those of clip k taken `weights` [resamplings, k] times."""
    everything = np.sort(np.concatenate(cents))
    if not len(everything):
        return np.full(len(weights), np.nan)
    if len(weights) == 1:  # the clips as they are
        return np.array([np.median(everything)])
    grid = everything[:: max(1, len(everything) // MEDIAN_STEPS)]
    below = np.array([np.searchsorted(np.sort(one), grid, side="right") for one in cents])  # [clips, grid]
    reached = weights @ below >= 0.5 * (weights @ np.array(list(map(len, cents))))[:, None]
    # The last value of the grid may lie below the largest error; a clip without pitch leaves nothing to reach
    return grid[np.where(reached.any(axis=1), reached.argmax(axis=1), len(grid) - 1)]
