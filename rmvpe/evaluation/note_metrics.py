"""Scores of notes: how many of the reference notes were found, and how many of the found ones are right.

By mir_eval.transcription (https://mir-eval.readthedocs.io/latest/api/transcription.html), with its and MIREX's
tolerances. The names are from Molina et al., "Evaluation framework for automatic singing transcription", ISMIR 2014. A
found note is right if

- COn, correct onset: it begins within 50 ms of the reference note;
- COnP, correct onset and pitch: and its pitch is within 50 cents;
- COnPOff, correct onset, pitch and offset: and it ends within 50 ms or 20 % of the reference note's length, whichever
  is more.

Each note is paired with at most one note; among all pairings mir_eval takes one with the most pairs. Precision is the
share of the found notes that are right, recall the share of the reference notes that were found right, F1 their
harmonic mean. Without a reference note all three are undefined (NaN); without a found one they are 0, as in mir_eval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmvpe.pitch import midi_to_hz

ONSET_TOLERANCE_S = 0.05
PITCH_TOLERANCE_CENTS = 50.0
OFFSET_RATIO, OFFSET_TOLERANCE_S = 0.2, 0.05
CRITERIA = {"COnPOff": "onset, pitch and offset", "COnP": "onset and pitch", "COn": "onset"}
MEASURES = ("F1", "P", "R")
SCORES = tuple(f"{criterion} {measure}" for criterion in CRITERIA for measure in MEASURES)
SHORTEST_S = 1e-4  # mir_eval refuses notes of length 0, which annotations have; times are compared to 0.1 ms


@dataclass(frozen=True)
class NoteTally:
    """Counts of notes of one or more files; they can be added.

    `reference`, `found`: notes. `right`: for each of `CRITERIA`, pairs of a reference note and a found one.
    """

    reference: int
    found: int
    right: dict[str, int]

    def __add__(self, other: "NoteTally") -> "NoteTally":
        right = {criterion: count + other.right[criterion] for criterion, count in self.right.items()}
        return NoteTally(self.reference + other.reference, self.found + other.found, right)

    def scores(self) -> dict[str, float]:
        """All `SCORES`, 0 to 1, all notes weighing the same; NaN without a reference note."""
        return {
            f"{criterion} {measure}": value
            for criterion, right in self.right.items()
            for measure, value in zip(MEASURES, self._measures(right))
        }

    def _measures(self, right: int) -> tuple[float, float, float]:
        if not self.reference:
            return math.nan, math.nan, math.nan
        precision = right / self.found if self.found else 0.0
        return 2 * right / (self.reference + self.found), precision, right / self.reference


def note_tally(reference: np.ndarray, found: np.ndarray) -> NoteTally:
    """The `NoteTally` of one file. Both [notes, 3]: onset and offset in seconds, MIDI number."""
    right = dict.fromkeys(CRITERIA, 0)
    if len(reference) and len(found):
        from mir_eval import transcription

        (ref_s, ref_hz), (est_s, est_hz) = _intervals(reference), _intervals(found)
        tolerances = {"onset_tolerance": ONSET_TOLERANCE_S, "pitch_tolerance": PITCH_TOLERANCE_CENTS}
        offset = {"offset_ratio": OFFSET_RATIO, "offset_min_tolerance": OFFSET_TOLERANCE_S}
        right = {
            "COnPOff": len(transcription.match_notes(ref_s, ref_hz, est_s, est_hz, **tolerances, **offset)),
            "COnP": len(transcription.match_notes(ref_s, ref_hz, est_s, est_hz, **tolerances, offset_ratio=None)),
            "COn": len(transcription.match_note_onsets(ref_s, est_s, onset_tolerance=ONSET_TOLERANCE_S)),
        }
    return NoteTally(len(reference), len(found), right)


def mean_scores(tallies: Sequence[NoteTally]) -> dict[str, float]:
    """The mean of each of `SCORES` over the files that have reference notes; NaN where none has."""
    rows = [tally.scores() for tally in tallies if tally.reference]
    return {name: float(np.mean([row[name] for row in rows])) if rows else math.nan for name in SCORES}


def _intervals(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What mir_eval takes: [notes, 2] in seconds, and [notes] in Hz."""
    onset_s, offset_s, midi = notes.T
    return np.stack([onset_s, np.maximum(offset_s, onset_s + SHORTEST_S)], axis=1), midi_to_hz(midi)
