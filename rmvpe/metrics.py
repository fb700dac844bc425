"""Melody-extraction metrics by mir_eval (Salamon et al. 2014), and the lag between two tracks.

RPA raw pitch accuracy, RCA the same with octave errors forgiven, VR voicing recall, VFA voicing false alarm,
OA overall accuracy; a pitch counts as right within 50 cents. RPA and RCA judge the pitch of every voiced reference
frame whatever the estimate's voicing decision, so an estimate brings a pitch for *every* frame and its voicing apart.
Times are seconds, frequencies Hz. The reference is the annotation itself, never a label decoded back.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from rmvpe.targets import f0_at_times

METRICS = ("RPA", "RCA", "OA", "VR", "VFA")
_MIR_EVAL_NAMES = {
    "RPA": "Raw Pitch Accuracy",
    "RCA": "Raw Chroma Accuracy",
    "OA": "Overall Accuracy",
    "VR": "Voicing Recall",
    "VFA": "Voicing False Alarm",
}
TOLERANCE_CENTS = 50.0


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


def lag(ref_hz: np.ndarray, est_hz: np.ndarray, max_shift: int = 5) -> int:
    """The shift in points that maximises raw pitch accuracy; positive: the estimate is late. Ties go to the smallest.

    `ref_hz` and `est_hz` [points] share one grid. Because accuracy within 50 cents is nearly flat on steady notes,
    shifts are ranked by the mean of max(0, 1 - |cents| / 50), which a moving pitch makes sharp.
    """
    shifts = sorted(range(-max_shift, max_shift + 1), key=abs)
    return max(shifts, key=lambda shift: _closeness(ref_hz, est_hz, shift))


def _closeness(ref_hz: np.ndarray, est_hz: np.ndarray, shift: int) -> float:
    ref = ref_hz[max(0, -shift) : len(ref_hz) - max(0, shift)]
    est = est_hz[max(0, shift) : len(est_hz) - max(0, -shift)]
    both = (ref > 0) & (est > 0)
    if not (ref > 0).any():
        return 0.0
    cents = np.abs(1200.0 * np.log2(est[both] / ref[both]))
    return float(np.sum(np.maximum(0.0, 1.0 - cents / TOLERANCE_CENTS)) / np.sum(ref > 0))
