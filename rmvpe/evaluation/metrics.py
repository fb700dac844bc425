"""Melody-extraction metrics, and the lag between two tracks.

Definitions: Salamon et al. 2014, doi 10.1109/MSP.2013.2271648. Computed by mir_eval: Raffel et al. 2014, "mir_eval: a
transparent implementation of common MIR metrics", ISMIR, https://mir-eval.readthedocs.io.

- RPA, raw pitch accuracy: share of the voiced reference points whose pitch is within 50 cents.
- RCA, raw chroma accuracy: the same, but octave errors count as right.
- VR, voicing recall: share of the voiced reference points that the estimate calls voiced.
- VFA, voicing false alarm: share of the unvoiced reference points that the estimate calls voiced.
- OA, overall accuracy: share of all points with the right voicing and, where voiced, the right pitch.

RPA and RCA use the pitch of every voiced reference point, whether the estimate calls it voiced or not. So an estimate
has a pitch for *every* frame, and its voicing in a separate array. Times are in seconds, frequencies in Hz. The
reference is the annotation itself, never decoded from a training label.

Scores of many files are pooled so that every point of their annotations has the same weight: a `Tally` stores, for each
score, how many points count, and over how many; tallies can be added.
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
LAG_STEP_S, MAX_LAG = 0.01, 5  # lags from -5 to 5 frames of 10 ms are tried, whatever the annotation's grid is


def require_mir_eval() -> None:
    """Raise UserError if mir_eval is not installed."""
    try:
        import mir_eval  # noqa: F401
    except ImportError as error:
        raise UserError("scores need mir_eval, which is not installed: run pip install mir_eval") from error


@dataclass(frozen=True)
class Aligned:
    """Reference and estimate at the same times, the reference's."""

    ref_hz: np.ndarray  # float [points], 0 = unvoiced
    est_hz: np.ndarray  # float [points], a pitch also where the estimate is unvoiced
    est_voiced: np.ndarray  # bool [points]


def align(
    ref_time_s: np.ndarray, ref_hz: np.ndarray, est_time_s: np.ndarray, est_hz: np.ndarray, est_voiced: np.ndarray
) -> Aligned:
    """The estimate at the reference's times: log-frequency interpolation, and the voicing of the nearest frame.

    `ref_time_s`, `ref_hz`: [points]. `est_time_s`, `est_hz`, `est_voiced`: [frames]. Times in seconds, ascending. After
    the last frame of the estimate it is unvoiced.
    """
    if not len(est_time_s):
        zeros = np.zeros(len(ref_hz))
        return Aligned(np.asarray(ref_hz, dtype=np.float64), zeros, zeros > 0)
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

    times = np.arange(len(aligned.ref_hz)) * 0.01  # any times do, because both are at the same times already
    with warnings.catch_warnings():
        # mir_eval warns about references or estimates without voiced frames; both are allowed here
        warnings.filterwarnings("ignore", module="mir_eval")
        scores = mir_eval.melody.evaluate(
            times, aligned.ref_hz, times, aligned.est_hz, est_voicing=aligned.est_voiced.astype(float)
        )
    return {name: float(scores[long_name]) for name, long_name in _MIR_EVAL_NAMES.items()}


def pool(parts: list[Aligned]) -> Aligned:
    """All files one after the other, so that every point has the same weight."""
    return Aligned(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("ref_hz", "est_hz", "est_voiced"))
    )


def octave_errors(aligned: Aligned) -> float:
    """Share of the voiced reference points whose pitch is wrong by one or more whole octaves, within 50 cents.

    0 for a reference without voice.
    """
    both = (aligned.ref_hz > 0) & (aligned.est_hz > 0)
    if not (aligned.ref_hz > 0).any():
        return 0.0
    cents = 1200.0 * np.log2(aligned.est_hz[both] / aligned.ref_hz[both])
    octaves = np.round(cents / 1200.0)
    return float(np.sum((octaves != 0) & (np.abs(cents - 1200.0 * octaves) <= TOLERANCE_CENTS))) / float(
        np.sum(aligned.ref_hz > 0)
    )


def lag(ref_hz: np.ndarray, est_hz: np.ndarray, max_shift: int = MAX_LAG) -> int:
    """How many points the estimate is late (negative: early): the shift with the best pitch, at most `max_shift`.

    `ref_hz`, `est_hz`: [points], in Hz, on the same evenly spaced times. Shifts are compared by the sum of
    max(0, 1 - |cents| / 50), because raw pitch accuracy hardly changes with the shift on steady notes. The smallest of
    equally good shifts is returned.
    """
    shifts = range(-max_shift, max_shift + 1)
    return _best_shift(np.array([_closeness(*_shifted(ref_hz, est_hz, shift)) for shift in shifts]))


@dataclass(frozen=True)
class Tally:
    """The counts of one or more files from which pooled scores are computed; tallies can be added.

    `voiced`, `unvoiced`: points of the annotation. `counts`: for each score but the lag, how many points count (RPA:
    those with the right pitch). `closeness` [2 MAX_LAG + 1]: for each lag, how close the pitch is (`_closeness`).
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
        """All `SCORES`: shares from 0 to 1, and the lag in frames of 10 ms (positive: the estimate is late).

        RPA, RCA, VR, octave errors and lag are NaN without a voiced point, VFA is NaN without an unvoiced one.
        """
        totals = _totals(self.voiced, self.unvoiced)
        scores = {name: self.counts[name] / total if total else math.nan for name, total in totals.items()}
        return scores | {"lag": float(_best_shift(self.closeness)) if self.voiced else math.nan}


def tally(
    ref_time_s: np.ndarray, ref_hz: np.ndarray, est_time_s: np.ndarray, est_hz: np.ndarray, est_voiced: np.ndarray
) -> Tally:
    """The `Tally` of one file: a reference [points] and an estimate [frames], each on its own times in seconds.

    `ref_hz`: 0 = unvoiced. `est_hz`: a pitch for every frame, voiced or not.
    """
    aligned = align(ref_time_s, ref_hz, est_time_s, est_hz, est_voiced)
    voiced = int(np.sum(aligned.ref_hz > 0))
    unvoiced = len(aligned.ref_hz) - voiced
    shares = melody_scores(aligned) | {"octave": octave_errors(aligned)}
    counts = {name: shares[name] * points for name, points in _totals(voiced, unvoiced).items()}
    shifts = LAG_STEP_S * np.arange(-MAX_LAG, MAX_LAG + 1)
    shifted = (f0_at_times(est_time_s, est_hz, ref_time_s + shift) for shift in shifts)
    return Tally(voiced, unvoiced, counts, np.array([_closeness(aligned.ref_hz, est) for est in shifted]))


def _totals(voiced: int, unvoiced: int) -> dict[str, int]:
    """For each score but the lag, the number of points of which it is a share."""
    totals = dict.fromkeys(("RPA", "RCA", "OA", "VR", "VFA", "octave"), voiced)
    return totals | {"OA": voiced + unvoiced, "VFA": unvoiced}


def _shifted(ref_hz: np.ndarray, est_hz: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """The common part of both if the estimate is read `shift` points later."""
    ref = ref_hz[max(0, -shift) : len(ref_hz) - max(0, shift)]
    return ref, est_hz[max(0, shift) : len(est_hz) - max(0, -shift)]


def _closeness(ref_hz: np.ndarray, est_hz: np.ndarray) -> float:
    """The sum over all points of max(0, 1 - |cents| / 50)."""
    both = (ref_hz > 0) & (est_hz > 0)
    cents = np.abs(1200.0 * np.log2(est_hz[both] / ref_hz[both]))
    return float(np.sum(np.maximum(0.0, 1.0 - cents / TOLERANCE_CENTS)))


def _best_shift(closeness: np.ndarray) -> int:
    """The shift with the highest `closeness` [2 n + 1], of shifts -n to n; the smallest of equally good ones."""
    middle = len(closeness) // 2
    return max(sorted(range(-middle, middle + 1), key=abs), key=lambda shift: closeness[middle + shift])
