"""The report of an evaluation or of a comparison of trackers: title, Markdown tables, CSV, JSON, and problems."""

import csv
import math
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rmvpe
from rmvpe.config import DecodeConfig
from rmvpe.evaluation.evaluate import Evaluation
from rmvpe.evaluation.notes import NoteEvaluation
from rmvpe.evaluation.trackers.compare import TrackerComparison, TrackerResult
from rmvpe.files import atomic_path, without_nan, write_json, write_text
from rmvpe.ownership import MADE_BY, MARK, Output

SCORE_UNITS = {"RPA": "%", "RCA": "%", "OA": "%", "VR": "%", "VFA": "%", "octave": "%", "lag": "frames"}
ABSENT = "-"  # in tables, for a score that is not defined
ACCURACIES = {"RPA": "Pitch right (RPA, %)", "OA": "Pitch and voicing right (OA, %)"}  # compared in a table each
COSTS = ("CPU s per s", "s per s", "start s", "memory MB")
MEGABYTE = 1e6


@dataclass(frozen=True)
class ReportFiles:
    """The files to write; None: not this one. `plot` is a picture, drawn by `evaluation.plot` or `trackers.plot`."""

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None
    plot: Path | None = None

    def outputs(self) -> list[Output]:
        """These files, for `rmvpe.ownership.check_outputs`."""
        kinds = {"json": self.json, "report csv": self.csv, "markdown": self.markdown, "picture": self.plot}
        return [Output(path, kind) for kind, path in kinds.items() if path is not None]


@dataclass(frozen=True)
class Report:
    """A report in all its forms.

    `title`: one line. `tables`: Markdown. `rows`: one per file and ratio, of which the CSV file has the `columns`;
    scores from 0 to 1. `record`: everything, for the JSON file.
    """

    title: str
    tables: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    record: dict[str, Any]

    @property
    def text(self) -> str:
        """Title and tables, as Markdown."""
        return f"{self.title}\n\n{self.tables}\n"

    def write(self, files: ReportFiles) -> None:
        """Write the Markdown, JSON and CSV files. Scores that are not defined are null in JSON and empty in CSV.

        Each carries a mark by which `rmvpe.ownership` knows it again.
        """
        if files.markdown is not None:
            write_text(files.markdown, f"{self.text}\n{MARK}\n")
        if files.json is not None:
            write_json(files.json, {MADE_BY: f"rmvpe {rmvpe.__version__}", **self.record})
        if files.csv is not None:
            write_csv(files.csv, self.columns, self.rows)


@dataclass(frozen=True)
class EvaluationSetup:
    """What was evaluated: the command line's words for the data, and the network. `settings`: `config` in words."""

    data: str
    split: str
    music: str | None
    weights: str
    backend: str
    device: str
    config: DecodeConfig
    settings: str


@dataclass(frozen=True)
class ComparisonSetup:
    """On what trackers were compared, in the command line's words. `limit`: files at most. `threads`: per tracker."""

    data: str
    split: str
    music: str | None
    limit: int | None
    threads: int


def evaluation_report(evaluation: Evaluation, setup: EvaluationSetup, seconds: float) -> Report:
    """The report of an evaluation that took `seconds`."""
    record = {
        "data": setup.data,
        "split": setup.split,
        "music": setup.music,
        "weights": setup.weights,
        "backend": setup.backend,
        "device": setup.device,
        "threshold": setup.config.threshold,
        "decoding": asdict(setup.config),
        "seconds": seconds,
        "pooled": evaluation.pooled,
        "files": evaluation.files,
        "failures": list(evaluation.failures),
        "warnings": list(evaluation.warnings),
    }
    n_files = {ratio: sum(row["ratio"] == ratio for row in evaluation.files) for ratio in evaluation.pooled}
    rows = [[ratio, str(n_files[ratio]), *_cells(scores)] for ratio, scores in evaluation.pooled.items()]
    tables = markdown_table(["voice to music", "files", *_headings()], rows)
    title = (
        f"{Path(setup.weights).name} by {setup.backend} on {setup.device}: {count_files(evaluation.files)} of "
        f"{Path(setup.data).name} ({setup.split}){with_music_of(setup.music, ' with')}, {setup.settings}"
    )
    return Report(title, tables, ("file", "ratio", *SCORE_UNITS), evaluation.files, record)


def comparison_report(comparison: TrackerComparison, setup: ComparisonSetup) -> Report:
    """The report of a comparison.

    Its tables are accuracy over the ratios, cost, settings and all scores; skipped trackers and notes follow.
    """
    rows = [{"tracker": name, **row} for name, result in comparison.results.items() for row in result.files]
    folders = [Path(part.partition(":")[2] or part) for part in setup.data.split(",")]
    data = ", ".join("/".join(folder.parts[-2:]) for folder in folders)
    title = f"{count_files(rows)} ({comparison.audio_s:.0f} s) of {data}{with_music_of(setup.music, ',')}"
    record = {
        **asdict(setup),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "audio_s": comparison.audio_s,
        "trackers": {name: vars(result) for name, result in comparison.results.items()},
        "left_out": comparison.skipped,
        "failures": list(comparison.failures),
        "warnings": list(comparison.warnings),
        "notes": list(comparison.notes),
    }
    tables = _comparison_tables(comparison, setup.threads)
    return Report(title, tables, ("tracker", "file", "ratio", *SCORE_UNITS), rows, record)


def evaluation_problems(evaluation: Evaluation | NoteEvaluation, ratios: Sequence[str], n_files: int) -> list[str]:
    """What could not be evaluated of `ratios` and of `n_files` files, a sentence each."""
    problems = [*absent_ratios(ratios, evaluation.pooled), *evaluation.failures]
    if evaluation.failures:
        problems.append(f"{len(evaluation.failures)} of {n_files} files could not be evaluated")
    return problems


def comparison_problems(comparison: TrackerComparison, ratios: Sequence[str]) -> list[str]:
    """What could not be compared of `ratios` and files, and what to know about the annotations, a sentence each."""
    present = {ratio for result in comparison.results.values() for ratio in result.pooled}
    return [*absent_ratios(ratios, present), *comparison.notes, *comparison.failures]


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the `columns` of `rows` as CSV with a header, completely or not at all; NaN is an empty cell."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(without_nan(dict(row)) for row in rows)


def _comparison_tables(comparison: TrackerComparison, threads: int) -> str:
    results = list(comparison.results.values())
    ratios = list(results[0].pooled)
    parts = []
    for score, heading in ACCURACIES.items():
        cells = [[cell(result.pooled[ratio][score], "%", digits=1) for ratio in ratios] for result in results]
        rows = [[result.label, *row] for result, row in zip(results, cells)]
        parts.append(f"{heading}\n\n{markdown_table(['tracker', *ratios], rows)}")
    cost = f"Cost ({threads} thread{'s' if threads > 1 else ''}, {platform.machine()} CPU)"
    rows = [[result.label, *_cost_cells(result)] for result in results]
    parts.append(f"{cost}\n\n{markdown_table(['tracker', *COSTS], rows)}")
    parts.append("Settings\n\n" + "\n".join(f"- {result.label}: {result.settings}" for result in results))
    rows = [[result.label, ratio, *_cells(result.pooled[ratio])] for result in results for ratio in result.pooled]
    parts.append(f"All scores\n\n{markdown_table(['tracker', 'voice to music', *_headings()], rows)}")
    extra = [f"{name} skipped: {why}" for name, why in comparison.skipped.items()] + list(comparison.notes)
    if extra:
        parts.append("\n".join(f"- {text}" for text in extra))
    return "\n\n".join(parts)


def _headings() -> list[str]:
    return [f"{name} {unit}" if unit == "%" else name for name, unit in SCORE_UNITS.items()]


def _cells(scores: Mapping[str, float]) -> list[str]:
    return [cell(scores[name], unit) for name, unit in SCORE_UNITS.items()]


def cell(score: float, unit: str, digits: int = 2) -> str:
    """A score as a table shows it: a share in %, another unit as a whole number, `ABSENT` for NaN."""
    if math.isnan(score):
        return ABSENT
    return f"{100 * score:.{digits}f}" if unit == "%" else f"{score:.0f}"


def _cost_cells(result: TrackerResult) -> list[str]:
    memory = ABSENT if result.peak_memory is None else f"{result.peak_memory / MEGABYTE:.0f}"
    return [f"{result.cpu_seconds:.4f}", f"{result.seconds:.4f}", f"{result.start_s:.1f}", memory]


def count_files(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many different files the rows are of, in words."""
    count = len({row["file"] for row in rows})
    return "1 file" if count == 1 else f"{count} files"


def with_music_of(music: str | None, before: str) -> str:
    """The words for a title that say where the music is from; nothing for None."""
    return "" if music is None else f"{before} music from {Path(music).name}"


def absent_ratios(ratios: Sequence[str], present: Collection[str]) -> list[str]:
    """A sentence if some of `ratios` are not `present`."""
    absent = [ratio for ratio in ratios if ratio not in present]
    return [f"{', '.join(absent)} skipped: no file has music beside the voice; give --music FOLDER"] if absent else []
