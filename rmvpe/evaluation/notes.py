"""Accuracy of found notes on a data set with known notes, at chosen voice-to-music ratios.

The mixes are those of `rmvpe.evaluation.evaluate`. Whatever finds the notes gets the mix and nothing else. The
reference are the annotated notes; in music alone (`MUSIC`) it is no note, so each one that is found is false.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.config import ModelConfig
from rmvpe.data.readers.base import Item, NoteSource
from rmvpe.estimator import Estimator
from rmvpe.evaluation.evaluate import MUSIC, Scored, mixed, score_items
from rmvpe.evaluation.note_metrics import NoteTally, mean_scores, note_tally
from rmvpe.notes.settings import NoteConfig

FindNotes = Callable[[np.ndarray], np.ndarray]  # from 16 kHz mono audio [samples] to notes [notes, 3]


@dataclass(frozen=True)
class NoteEvaluation:
    """Scores of notes (`rmvpe.evaluation.note_metrics.SCORES`) by ratio ("clean", "0 dB", "music").

    `means`: over the files that have reference notes. `pooled`: all notes of all files weighing the same. `counts`:
    {"files", "without" (files that have no reference note), "reference", "found" (notes)}. A ratio for which no file
    has music is absent. `files`: one row per file and ratio, {"file", "ratio", "reference", "found", scores}.
    `failures`: why files could not be evaluated, `warnings`: what recordings lack of what their headers claim.
    """

    means: dict[str, dict[str, float]]
    pooled: dict[str, dict[str, float]]
    counts: dict[str, dict[str, int]]
    files: list[dict[str, Any]]
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def finder(estimator: Estimator, config: NoteConfig | None = None, with_sound: bool = True) -> FindNotes:
    """How this library finds notes: those of the estimator's track, with the levels of the same audio or without."""

    def find(audio: np.ndarray) -> np.ndarray:
        notes = estimator.from_audio(audio, SAMPLE_RATE_HZ).notes(audio if with_sound else None, config)
        return np.array([(note.onset_s, note.offset_s, note.pitch_midi) for note in notes]).reshape(-1, 3)

    return find


def evaluate_notes(
    find: FindNotes,
    source: NoteSource,
    *,
    snr_db: Sequence[float],
    indices: Sequence[int] | None = None,
    music: Sequence[Path] | None = None,
    progress: bool = False,
    keep_going: bool = False,
    debug: bool = False,
) -> NoteEvaluation:
    """Score what `find` finds in the items `indices` of `source` (all by default) at each ratio.

    The other arguments and what is raised are those of `rmvpe.evaluation.evaluate.evaluate`.
    """
    model = ModelConfig()  # only its 10 ms hop counts here, for where the voice sings

    def score(index: int, item: Item, snr: float) -> NoteTally | None:
        audio = mixed(item, snr, model)
        if audio is None:
            return None
        reference = np.zeros((0, 3)) if snr == MUSIC else source.notes(index)
        return note_tally(reference, find(audio))

    return summary(
        score_items(
            score,
            source,
            snr_db=snr_db,
            indices=indices,
            music=music,
            progress=progress,
            keep_going=keep_going,
            debug=debug,
        )
    )


def summary(scored: Scored[NoteTally]) -> NoteEvaluation:
    """The scores of tallies by file and ratio."""
    by_ratio = scored.by_ratio()
    totals = {ratio: functools.reduce(operator.add, tallies) for ratio, tallies in by_ratio.items()}
    counts = {
        ratio: {
            "files": len(tallies),
            "without": sum(not tally.reference for tally in tallies),
            "reference": totals[ratio].reference,
            "found": totals[ratio].found,
        }
        for ratio, tallies in by_ratio.items()
    }
    files = [
        {"file": file, "ratio": ratio, "reference": tally.reference, "found": tally.found, **tally.scores()}
        for file, ratio, tally in scored.rows
    ]
    return NoteEvaluation(
        {ratio: mean_scores(tallies) for ratio, tallies in by_ratio.items()},
        {ratio: total.scores() for ratio, total in totals.items()},
        counts,
        files,
        scored.failures,
        scored.warnings,
    )
