"""The report of a stress set: a table of each weights, and one of how others differ from the first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmvpe.config import DecodeConfig
from rmvpe.evaluation.report import ABSENT, Report, markdown_table
from rmvpe.evaluation.suite.conditions import Level
from rmvpe.evaluation.suite.run import LevelScores, SuiteEvaluation
from rmvpe.evaluation.suite.scores import CENTS, LOWER_IS_BETTER, SCORES, SHARES, Interval

BEYOND_NOISE = "*"
COLUMNS = ("weights", "condition", "level", "clip", *SCORES)
LEGEND = (
    "In brackets: 95 % interval by bootstrap over the clips. RPA mid: RPA without the frames within 30 ms of either "
    "end of a sung stretch. VO: share of the sung frames that are called voiced and are off by whole octaves. cents: "
    "median size of the pitch error of sung frames."
)
DIFFERENCE_LEGEND = (
    f"Differences on the same clips, points of % and cents. {BEYOND_NOISE}: the paired 95 % interval leaves out 0. Of "
    "twenty numbers without any difference, about one gets the mark by chance."
)


@dataclass(frozen=True)
class Scored:
    """One of the weights: the command line's word, a name for tables, and how it predicts. `settings`: in words."""

    weights: str
    name: str
    backend: str
    device: str
    config: DecodeConfig
    settings: str


@dataclass(frozen=True)
class SuiteSetup:
    """What was scored, in the command line's words; `data` None: synthetic voices. `clips`: of each level."""

    weights: Sequence[Scored]
    data: str | None
    split: str
    music: str | None
    seed: int
    clips: int


def short_names(weights: Sequence[str]) -> dict[str, str]:
    """For each of some different weights its file's name, or all of its path where two would have the same."""
    names = [Path(word).name for word in weights]
    return {word: name if names.count(name) == 1 else word for word, name in zip(weights, names)}


def suite_report(evaluation: SuiteEvaluation, setup: SuiteSetup, seconds: float) -> Report:
    """The report of a suite that took `seconds`; `evaluation.results` by the weights' words."""
    parts = []
    for one in setup.weights:
        parts += [f"{_headline(one)}\n\n{level_table(evaluation.results[one.weights])}"]
    parts.append(LEGEND)
    names = {one.weights: one.name for one in setup.weights}
    differences = evaluation.differences()
    for word, found in differences.items():
        headline = f"{names[word]} against {setup.weights[0].name}: {_count(found)}"
        parts.append(f"{headline}\n\n{difference_table(found)}")
    if differences:
        parts.append(DIFFERENCE_LEGEND)
    if evaluation.left_out:
        parts.append("\n".join(f"- {text}" for text in evaluation.left_out))
    record = {
        "suite": {key: value for key, value in asdict(setup).items() if key != "weights"},
        "seconds": seconds,
        "weights": [
            {**asdict(one), "levels": [_level_record(found) for found in evaluation.results[one.weights]]}
            for one in setup.weights
        ],
        "differences": {
            names[word]: [{**_names(level), "scores": _intervals(scores)} for level, scores in found]
            for word, found in differences.items()
        },
        "left_out": list(evaluation.left_out),
        "failures": list(evaluation.failures),
    }
    return Report(suite_title(setup), "\n\n".join(parts), COLUMNS, _rows(evaluation, names), record)


def suite_title(setup: SuiteSetup) -> str:
    """What was scored, in a line."""
    voices = "synthetic voices" if setup.data is None else f"voices of {Path(setup.data).name} ({setup.split})"
    music = "" if setup.music is None else f", music from {Path(setup.music).name}"
    count = f"{setup.clips} clip{'' if setup.clips == 1 else 's'} of each"
    return f"Stress set, {voices}{music}, {count}, seed {setup.seed}"


def level_table(found: Sequence[LevelScores]) -> str:
    """The scores of one of the weights, a line per level, as Markdown."""
    headings = ["condition", "clips", *(name if name == CENTS else f"{name} %" for name in SCORES)]
    rows = [[one.level.name, str(len(one.clips)), *(_cell(one.scores[name], name) for name in SCORES)] for one in found]
    return markdown_table(headings, rows)


def difference_table(found: Sequence[tuple[Level, Mapping[str, Interval]]]) -> str:
    """How some weights differ from the first, a line per level, as Markdown."""
    rows = [[level.name, *(_difference(scores[name], name) for name in SCORES)] for level, scores in found]
    return markdown_table(["condition", *SCORES], rows)


def is_better(name: str, difference: Interval) -> bool:
    """Whether a difference of the score `name` is an improvement."""
    return (difference.value < 0.0) == (name in LOWER_IS_BETTER)


def _count(found: Sequence[tuple[Level, Mapping[str, Interval]]]) -> str:
    """How many numbers are beyond noise, in words."""
    known = [(name, scores[name]) for _, scores in found for name in SCORES if math.isfinite(scores[name].low)]
    beyond = [is_better(name, one) for name, one in known if one.is_beyond_noise]
    return f"{beyond.count(True)} numbers better and {beyond.count(False)} worse beyond noise, of {len(known)}"


def _headline(one: Scored) -> str:
    return f"{one.name} by {one.backend} on {one.device}, {one.settings}"


def _cell(one: Interval, name: str) -> str:
    if math.isnan(one.value):
        return ABSENT
    value, low, high = (_number(number, name) for number in (one.value, one.low, one.high))
    return value if math.isnan(one.low) or low == high == value else f"{value} ({low}-{high})"


def _difference(one: Interval, name: str) -> str:
    if math.isnan(one.value):
        return ABSENT
    value, low, high = (_number(number, name, "+") for number in (one.value, one.low, one.high))
    mark = BEYOND_NOISE if one.is_beyond_noise else ""
    return f"{value}{mark}" if math.isnan(one.low) or low == high == value else f"{value}{mark} ({low} to {high})"


def _number(value: float, name: str, sign: str = "") -> str:
    text = f"{value * (100.0 if name in SHARES else 1.0):{sign}.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def _names(level: Level) -> dict[str, str]:
    return {"condition": level.condition, "level": level.level}


def _intervals(scores: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: asdict(one) for name, one in scores.items()}


def _level_record(found: LevelScores) -> dict[str, Any]:
    return {**_names(found.level), "clips": len(found.clips), "scores": _intervals(found.scores)}


def _rows(evaluation: SuiteEvaluation, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row per weights, level and clip, for the CSV file; shares from 0 to 1."""
    return [
        {"weights": names[word], **_names(found.level), "clip": clip.name, **clip.scores()}
        for word, levels in evaluation.results.items()
        for found in levels
        for clip in found.clips
    ]
