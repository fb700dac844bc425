"""Reports: the same scores as table, CSV and JSON; what is not defined is never a number; problems are named."""

import csv
import json
import math
from pathlib import Path

import rmvpe
from rmvpe.config import DecodeConfig
from rmvpe.evaluation.evaluate import Evaluation
from rmvpe.evaluation.report import (
    ComparisonSetup,
    EvaluationSetup,
    Report,
    ReportFiles,
    comparison_problems,
    comparison_report,
    evaluation_problems,
    evaluation_report,
)
from rmvpe.evaluation.trackers.compare import TrackerComparison, TrackerResult
from rmvpe.ownership import MARK, is_ours

SUNG = {"RPA": 0.5, "RCA": 0.75, "OA": 0.625, "VR": 1.0, "VFA": 0.25, "octave": 0.125, "lag": 2.0}
MUSIC = {name: math.nan for name in SUNG} | {"OA": 0.9, "VFA": 0.1}
POOLED = {"clean": SUNG, "music": MUSIC}
ROWS = [{"file": "a", "ratio": ratio, **scores} for ratio, scores in POOLED.items()]


def evaluated(failures: tuple[str, ...] = ()) -> Evaluation:
    return Evaluation(0.3, POOLED, ROWS, failures)


def report_of(evaluation: Evaluation, music: str | None = None) -> Report:
    config = DecodeConfig(silence_gate_db=-math.inf)
    setup = EvaluationSetup("data/Hybrid", "test", music, "w/small.pt", "torch", "cpu", config, "threshold 0.3")
    return evaluation_report(evaluation, setup, seconds=1.5)


def compared(skipped: dict[str, str]) -> TrackerComparison:
    result = TrackerResult("one", "One", False, "its settings", POOLED, ROWS, 0.1, 0.2, 3.0, None)
    return TrackerComparison({"one": result}, skipped, ("b.csv is empty",), ("a note",), 12.0)


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_undefined_scores_are_null_empty_or_a_dash(tmp_path: Path):
    report = report_of(evaluated())
    report.write(ReportFiles(tmp_path / "r.json", tmp_path / "r.csv", tmp_path / "r.md"))
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["pooled"]["music"]["RPA"] is None
    assert record["decoding"]["silence_gate_db"] is None
    assert record["files"][0] == ROWS[0]
    clean, music = read_csv(tmp_path / "r.csv")
    assert clean == {name: str(value) for name, value in ROWS[0].items()}
    assert (music["RPA"], music["VFA"]) == ("", "0.1")
    assert (tmp_path / "r.md").read_text() == f"{report.text}\n{MARK}\n"
    assert next(iter(record.items())) == ("made_by", f"rmvpe {rmvpe.__version__}")
    assert "| clean | 1 | 50.00 | 75.00 | 62.50 | 100.00 | 25.00 | 12.50 | 2 |" in report.text
    assert "| music | 1 | - | - | 90.00 | - | 10.00 | - | - |" in report.text


def test_each_file_is_known_again_as_ours(tmp_path: Path):
    setup = ComparisonSetup("d", "test", None, None, 2)
    for number, report in enumerate((report_of(evaluated()), comparison_report(compared({}), setup))):
        files = ReportFiles(*(tmp_path / f"{number}.{suffix}" for suffix in ("json", "csv", "md")))
        report.write(files)
        assert [is_ours(output.path, output.kind) for output in files.outputs()] == [True] * 3


def test_only_the_files_asked_for_are_written(tmp_path: Path):
    report_of(evaluated()).write(ReportFiles(csv=tmp_path / "r.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_titles_name_weights_data_and_music():
    title = report_of(evaluated(), music="other/songs").title
    assert title == "small.pt by torch on cpu: 1 file of Hybrid (test) with music from songs, threshold 0.3"
    setup = ComparisonSetup("folder:my/voices", "test", "other/songs", None, 2)
    assert comparison_report(compared({}), setup).title == "1 file (12 s) of my/voices, music from songs"


def test_a_comparison_has_a_row_per_tracker_and_lists_what_is_skipped(tmp_path: Path):
    report = comparison_report(compared({"two": "not installed"}), ComparisonSetup("d", "test", None, None, 2))
    for row in ("| One | 50.0 | - |", "| One | 0.2000 | 0.1000 | 3.0 | - |", "- One: its settings"):
        assert row in report.text
    assert report.text.endswith("- two skipped: not installed\n- a note\n")
    report.write(ReportFiles(csv=tmp_path / "r.csv"))
    assert [(row["tracker"], row["ratio"]) for row in read_csv(tmp_path / "r.csv")] == [
        ("one", "clean"),
        ("one", "music"),
    ]


def test_problems_name_absent_ratios_and_failures():
    first, failure, last = evaluation_problems(evaluated(("b.csv is empty",)), ["clean", "0 dB", "5 dB"], 2)
    assert first.startswith("0 dB, 5 dB skipped")
    assert failure == "b.csv is empty"
    assert last.startswith("1 of 2 files")
    assert evaluation_problems(evaluated(), ["clean", "music"], 2) == []
    assert comparison_problems(compared({}), ["clean"]) == ["a note", "b.csv is empty"]
