"""Melody-extraction metrics by mir_eval (Salamon et al. 2014), and the lag between two tracks.

RPA raw pitch accuracy, RCA the same with octave errors forgiven, VR voicing recall, VFA voicing false alarm,
OA overall accuracy; a pitch counts as right within 50 cents. RPA and RCA judge the pitch of every voiced reference
frame whatever the estimate's voicing decision, so an estimate brings a pitch for *every* frame and its voicing apart.
Times are seconds, frequencies Hz. The reference is the annotation itself, never a label decoded back.

Scores of many files are pooled so that every point of their annotations weighs the same: a `Tally` holds how many
points each score was counted over and how many of them it counted, and tallies add.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from rmvpe.errors import UserError
from rmvpe.interpolation import f0_at_times

METRICS = ("RPA", "RCA", "OA", "VR", "VFA")
_MIR_EVAL_NAMES = {
    "RPA": "Raw Pitch Accuracy",
    "RCA": "Raw Chroma Accuracy",
    "OA": "Overall Accuracy",
    "VR": "Voicing Recall",
    "VFA": "Voicing False Alarm",
}
SCORES = (*METRICS, "octave", "lag")
TOLERANCE_CENTS = 50.0
LAG_STEP_S, MAX_LAG = 0.01, 5  # lags are sought among -5 to 5 frames of the network, whatever the annotation's grid


def require_mir_eval() -> None:
    """Raise UserError if mir_eval is not installed."""
    try:
        import mir_eval  # noqa: F401
    except ImportError as error:
        raise UserError("mir_eval is not installed and scores need it: run pip install 'rmvpe[eval]'") from error


@dataclass(frozen=True)
class Aligned:
    """Reference and estimate on the reference's times: arrays [points]; `ref_hz` 0 = unvoiced."""

    ref_hz: np.ndarray
    est_hz: np.ndarray
    est_voiced: np.ndarray


def align(
    ref_time_s: np.ndarray, ref_hz: np.ndarray, est_time_s: np.ndarray, est_hz: np.ndarray, est_voiced: np.ndarray
) -> Aligned:
    """Read the estimate at the reference's times (log-frequency interpolation; the nearest voicing decision)."""
    if not len(est_time_s):
        nothing = np.zeros(len(ref_hz))
        return Aligned(np.asarray(ref_hz, dtype=np.float64), nothing, nothing > 0)
    nearest = np.clip(np.searchsorted(est_time_s, ref_time_s), 1, len(est_time_s) - 1)
    nearest -= (ref_time_s - est_time_s[nearest - 1]) <= (est_time_s[nearest] - ref_time_s)
    inside = ref_time_s <= est_time_s[-1] + 1e-9
    return Aligned(
        np.asarray(ref_hz, dtype=np.float64),
        f0_at_times(est_time_s, est_hz, ref_time_s),
        np.asarray(est_voiced, dtype=bool)[nearest] & inside,
    )


def melody_scores(aligned: Aligned) -> dict[str, float]:
    """RPA, RCA, OA, VR and VFA, each 0 to 1. RPA, RCA and VR of a reference without voice are 0, as in mir_eval."""
    import mir_eval

    times = np.arange(len(aligned.ref_hz)) * 0.01  # both are on one grid already: any common times serve
    with warnings.catch_warnings():
        # mir_eval warns about references or estimates without voiced frames; both are legitimate here
        warnings.filterwarnings("ignore", module="mir_eval")
        scores = mir_eval.melody.evaluate(
            times, aligned.ref_hz, times, aligned.est_hz, est_voicing=aligned.est_voiced.astype(float)
        )
    return {name: float(scores[long_name]) for name, long_name in _MIR_EVAL_NAMES.items()}


def pool(parts: list[Aligned]) -> Aligned:
    """All files end to end, so that every frame weighs the same."""
    return Aligned(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("ref_hz", "est_hz", "est_voiced"))
    )


def octave_errors(aligned: Aligned) -> float:
    """Share of voiced reference frames whose pitch is off by one or more whole octaves (within 50 cents of that)."""
    both = (aligned.ref_hz > 0) & (aligned.est_hz > 0)
    if not (aligned.ref_hz > 0).any():
        return 0.0
    cents = 1200.0 * np.log2(aligned.est_hz[both] / aligned.ref_hz[both])
    octaves = np.round(cents / 1200.0)
    return float(np.sum((octaves != 0) & (np.abs(cents - 1200.0 * octaves) <= TOLERANCE_CENTS))) / float(
        np.sum(aligned.ref_hz > 0)
    )


def lag(ref_hz: np.ndarray, est_hz: np.ndarray, max_shift: int = MAX_LAG) -> int:
    """The shift in points that maximises raw pitch accuracy; positive: the estimate is late. Ties go to the smallest.

    `ref_hz` and `est_hz` [points] share one grid. Because accuracy within 50 cents is nearly flat on steady notes,
    shifts are ranked by the sum of max(0, 1 - |cents| / 50), which a moving pitch makes sharp.
    """
    shifts = range(-max_shift, max_shift + 1)
    return _best_shift(np.array([_closeness(*_shifted(ref_hz, est_hz, shift)) for shift in shifts]))


@dataclass(frozen=True)
class Tally:
    """What one or more files add to pooled scores.

    `voiced`, `unvoiced`: points of the annotation. `counts`: for each score but the lag, the points it counts (RPA:
    those with the right pitch). `closeness` [2 MAX_LAG + 1]: how near the pitch comes if read that much later.
    """

    voiced: int
    unvoiced: int
    counts: dict[str, float]
    closeness: np.ndarray

    def __add__(self, other: "Tally") -> "Tally":
        counts = {name: count + other.counts[name] for name, count in self.counts.items()}
        return Tally(
            self.voiced + other.voiced, self.unvoiced + other.unvoiced, counts, self.closeness + other.closeness
        )

    def scores(self) -> dict[str, float]:
        """`SCORES`: shares from 0 to 1, and the lag in frames of 10 ms (positive: late).

        NaN where the annotation has nothing to count over: no voice for RPA, RCA, VR, octave errors and lag, no
        unvoiced point for VFA.
        """
        over = _counted_over(self.voiced, self.unvoiced)
        scores = {name: self.counts[name] / points if points else math.nan for name, points in over.items()}
        return scores | {"lag": float(_best_shift(self.closeness)) if self.voiced else math.nan}


def tally(
    ref_time_s: np.ndarray, ref_hz: np.ndarray, est_time_s: np.ndarray, est_hz: np.ndarray, est_voiced: np.ndarray
) -> Tally:
    """One file's `Tally`: a reference and an estimate, each on its own times; the estimate has a pitch everywhere."""
    aligned = align(ref_time_s, ref_hz, est_time_s, est_hz, est_voiced)
    voiced = int(np.sum(aligned.ref_hz > 0))
    unvoiced = len(aligned.ref_hz) - voiced
    shares = melody_scores(aligned) | {"octave": octave_errors(aligned)}
    counts = {name: shares[name] * points for name, points in _counted_over(voiced, unvoiced).items()}
    shifts = LAG_STEP_S * np.arange(-MAX_LAG, MAX_LAG + 1)
    shifted = (f0_at_times(est_time_s, est_hz, ref_time_s + shift) for shift in shifts)
    return Tally(voiced, unvoiced, counts, np.array([_closeness(aligned.ref_hz, est) for est in shifted]))


def _counted_over(voiced: int, unvoiced: int) -> dict[str, int]:
    """For each score but the lag, the number of points that it is a share of."""
    over = dict.fromkeys(("RPA", "RCA", "OA", "VR", "VFA", "octave"), voiced)
    return over | {"OA": voiced + unvoiced, "VFA": unvoiced}


def _shifted(ref_hz: np.ndarray, est_hz: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """What remains of both if the estimate is read `shift` points later."""
    ref = ref_hz[max(0, -shift) : len(ref_hz) - max(0, shift)]
    return ref, est_hz[max(0, shift) : len(est_hz) - max(0, -shift)]


def _closeness(ref_hz: np.ndarray, est_hz: np.ndarray) -> float:
    """Sum over the points of max(0, 1 - |cents| / 50)."""
    both = (ref_hz > 0) & (est_hz > 0)
    cents = np.abs(1200.0 * np.log2(est_hz[both] / ref_hz[both]))
    return float(np.sum(np.maximum(0.0, 1.0 - cents / TOLERANCE_CENTS)))


def _best_shift(closeness: np.ndarray) -> int:
    """The shift with the highest of `closeness` [2 n + 1] for the shifts -n to n; ties go to the smallest."""
    middle = len(closeness) // 2
    return max(sorted(range(-middle, middle + 1), key=abs), key=lambda shift: closeness[middle + shift])
