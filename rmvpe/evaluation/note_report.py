"""The report of an evaluation of notes: title, Markdown tables, CSV and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rmvpe.evaluation.evaluate import MUSIC, snr_name
from rmvpe.evaluation.note_metrics import CRITERIA, MEASURES, SCORES
from rmvpe.evaluation.notes import NoteEvaluation
from rmvpe.evaluation.report import EvaluationSetup, Report, cell, count_files, markdown_table, with_music_of
from rmvpe.notes.settings import NoteConfig

COUNTS = ("files", "reference", "found")
LEGEND = (
    "COnPOff: onset within 50 ms, pitch within 50 cents, offset within 50 ms or 20 % of the note; COnP: without the "
    "offset; COn: the onset alone. P: precision; R: recall. In music alone every note found is false."
)


def note_report(evaluation: NoteEvaluation, setup: EvaluationSetup, seconds: float, notes: NoteConfig) -> Report:
    """The report of an evaluation of notes that took `seconds`; `notes`: how they were found."""
    record = {
        "data": setup.data,
        "split": setup.split,
        "music": setup.music,
        "weights": setup.weights,
        "backend": setup.backend,
        "device": setup.device,
        "decoding": asdict(setup.config),
        "note_settings": asdict(notes),
        "seconds": seconds,
        "means": evaluation.means,
        "pooled": evaluation.pooled,
        "counts": evaluation.counts,
        "files": evaluation.files,
        "failures": list(evaluation.failures),
        "warnings": list(evaluation.warnings),
    }
    title = (
        f"Notes of {Path(setup.weights).name} by {setup.backend} on {setup.device}: {count_files(evaluation.files)} of "
        f"{Path(setup.data).name} ({setup.split}){with_music_of(setup.music, ' with')}, {setup.settings}"
        f"{_other_settings(notes)}"
    )
    return Report(title, note_tables(evaluation), ("file", "ratio", *COUNTS[1:], *SCORES), evaluation.files, record)


def note_tables(evaluation: NoteEvaluation) -> str:
    """Mean scores and pooled ones by ratio as Markdown tables, and what they mean."""
    ratios = list(evaluation.pooled)
    rows = [
        [ratio, *(str(evaluation.counts[ratio][name]) for name in COUNTS), *score_cells(evaluation.means[ratio])]
        for ratio in ratios
    ]
    headings = ["voice to music", "files", "notes", "found", *score_headings()]
    parts = [f"Mean over files\n\n{markdown_table(headings, rows)}"]
    rows = [[ratio, *score_cells(evaluation.pooled[ratio])] for ratio in ratios]
    parts.append(f"All notes together\n\n{markdown_table(['voice to music', *score_headings()], rows)}")
    return "\n\n".join([*parts, "\n".join([LEGEND, *_without_notes(evaluation)])])


def score_headings(measures: Sequence[str] = MEASURES) -> list[str]:
    """A heading for each score, in %."""
    return [f"{criterion} {measure} %" for criterion in CRITERIA for measure in measures]


def score_cells(scores: Mapping[str, float], measures: Sequence[str] = MEASURES) -> list[str]:
    """The cells under `score_headings`."""
    return [cell(scores[f"{criterion} {measure}"], "%") for criterion in CRITERIA for measure in measures]


def _without_notes(evaluation: NoteEvaluation) -> list[str]:
    """A sentence for each ratio with a voice at which some files have no reference note."""
    return [
        f"{ratio}: {counts['without']} of {counts['files']} files have no note; each note found there is false, and "
        "they are left out of the mean"
        for ratio, counts in evaluation.counts.items()
        if counts["without"] and ratio != snr_name(MUSIC)
    ]


def _other_settings(notes: NoteConfig) -> str:
    plain = asdict(NoteConfig())
    return "".join(f", {name} {value:g}" for name, value in asdict(notes).items() if value != plain[name])
