"""`rmvpe evaluate --suite`: scores of weights on the stress set, as tables, files and pictures."""

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmvpe.cli.note_options import given_note_flags
from rmvpe.cli.options import Load, decode_settings, describe_settings
from rmvpe.errors import UserError
from rmvpe.errors import report as report_line
from rmvpe.estimator import load as load_estimator
from rmvpe.files import check_folder
from rmvpe.ownership import Output, check_outputs
from rmvpe.text import printable_lines

if TYPE_CHECKING:
    from rmvpe.evaluation.report import Report, ReportFiles
    from rmvpe.evaluation.suite.clips import Material
    from rmvpe.evaluation.suite.conditions import Suite
    from rmvpe.evaluation.suite.report import SuiteSetup
    from rmvpe.evaluation.suite.run import SuiteEvaluation

SUITE_FLAGS = {"quick": "--quick", "seed": "--seed", "conditions": "--conditions"}


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the stress set."""
    add = parser.add_argument
    text = (
        "score on a stress set made by script: registers, tones, rooms, telephone, codecs, noise, choir and more. "
        "--data and --music: your own voices and music in it; --snr: the ratios of the music; --limit: clips of each"
    )
    add("--suite", action="store_true", help=text)
    add("--quick", action="store_true", default=None, help="with --suite: a quarter of the clips, wider intervals")
    add("--seed", type=int, metavar="N", help="with --suite: another seed gives other voices (default: 0)")
    text = "with --suite: these kinds only, as the first column calls them, such as room,tuned"
    add("--conditions", metavar="LIST", help=text)


def check_no_suite_flag(arguments: argparse.Namespace) -> None:
    """Raise UserError for a flag that is about the stress set."""
    for name, flag in SUITE_FLAGS.items():
        if getattr(arguments, name) is not None:
            raise UserError(f"{flag} is a setting of the stress set: add --suite, or leave it out")
    if len(arguments.weights) > 1:
        raise UserError("several --weights are compared with --suite: add it, or give one")


def run_suite(
    arguments: argparse.Namespace, ratios: Sequence[float], files: "ReportFiles", load: Load = load_estimator
) -> int:
    """Score all weights, print the tables, write the files; returns 1 if some recordings could not be used, else 0.

    `ratios`: of voice to music in dB. `files`: what `report_files` gives.
    """
    from rmvpe.evaluation.suite.report import Scored, SuiteSetup, short_names, suite_report
    from rmvpe.evaluation.suite.run import evaluate_suite

    check_suite_flags(arguments)
    material, suite = suite_material(arguments, ratios)
    names = short_names(list(dict.fromkeys(arguments.weights)))
    pictures = {} if files.plot is None else picture_paths(files.plot, names)
    check_suite_files(files, pictures, material, list(names), arguments.force)
    estimators = {
        word: load(word, arguments.backend, arguments.device).with_config(**decode_settings(arguments))
        for word in names
    }
    began = time.perf_counter()
    evaluation = evaluate_suite(
        estimators,
        suite,
        material,
        progress=sys.stderr.isatty() and not arguments.quiet,
        debug=arguments.debug,
    )
    seconds = round(time.perf_counter() - began, 1)
    scored = [
        Scored(word, names[word], one.backend.name, one.backend.device, one.config, describe_settings(one.config))
        for word, one in estimators.items()
    ]
    setup = SuiteSetup(scored, arguments.data, arguments.split, arguments.music, material.seed, material.count)
    report = suite_report(evaluation, setup, seconds)
    try:
        write(report, files, evaluation, pictures, setup, arguments.theme)
    finally:  # the table too where a file cannot be written, and the files where nobody reads the table
        sys.stdout.write(f"{printable_lines(report.text)}({seconds:g} s)\n")
    for problem in evaluation.failures:
        report_line("rmvpe evaluate", problem)
    return 1 if evaluation.failures else 0


def check_suite_flags(arguments: argparse.Namespace) -> None:
    """Raise UserError for flags that do not go together."""
    if arguments.notes:
        raise UserError("--suite scores f0: leave --notes out")
    if given := given_note_flags(arguments):
        raise UserError(f"{given[0]} is a setting of notes, which --suite does not score: leave it out")
    if arguments.seed is not None and arguments.seed < 0:
        raise UserError(f"--seed {arguments.seed} must be 0 or more")


def suite_material(arguments: argparse.Namespace, ratios: Sequence[float]) -> "tuple[Material, Suite]":
    """What clips are made of, and the levels that are asked for."""
    from rmvpe.data.mixing import find_music
    from rmvpe.data.readers.registry import open_source
    from rmvpe.evaluation.suite.clips import Material
    from rmvpe.evaluation.suite.conditions import chosen, suite
    from rmvpe.evaluation.suite.run import DEFAULT_CLIPS, QUICK_CLIPS

    count = arguments.limit or (QUICK_CLIPS if arguments.quick else DEFAULT_CLIPS)
    data = None if arguments.data is None else open_source(arguments.data, arguments.split)
    music = None if arguments.music is None else find_music(arguments.music)
    material = Material(arguments.seed or 0, count, data, music)
    found = suite(ratios, material.has_music())
    return material, found if arguments.conditions is None else chosen(found, arguments.conditions)


def picture_paths(plot: Path, names: Mapping[str, str]) -> dict[str, Path]:
    """A picture for each of the weights: OUT for one; for several OUT-NAME, beside OUT with their differences."""
    if len(names) == 1:
        return dict.fromkeys(names, plot)
    safe = {word: re.sub(r"[^\w.-]+", "-", name).strip("-") for word, name in names.items()}
    return {word: plot.with_name(f"{plot.stem}-{name}{plot.suffix}") for word, name in safe.items()}


def check_suite_files(
    files: "ReportFiles", pictures: Mapping[str, Path], material: "Material", weights: Sequence[str], force: bool
) -> None:
    """Raise UserError if a file cannot be written, or would replace an input or a file of the user's."""
    from rmvpe.data.readers.registry import files_of

    own = [] if material.data is None else files_of(material.data)
    outputs = [*files.outputs(), *(Output(path, "picture") for path in pictures.values() if path != files.plot)]
    check_outputs(outputs, [*own, *(material.music or ()), *weights], force)
    for output in outputs:
        check_folder(output.path.parent)


def write(
    report: "Report",
    files: "ReportFiles",
    evaluation: "SuiteEvaluation",
    pictures: Mapping[str, Path],
    setup: "SuiteSetup",
    theme: str,
) -> None:
    """Write the files and draw the pictures."""
    from rmvpe.evaluation.suite.plot import plot_differences, plot_levels

    report.write(files)
    names = {one.weights: one.name for one in setup.weights}
    for word, path in pictures.items():
        plot_levels(evaluation.results[word], path, f"{names[word]}. {report.title}", theme)
    if files.plot is not None and len(pictures) > 1:
        differences = {names[word]: found for word, found in evaluation.differences().items()}
        title = f"{', '.join(differences)} against {setup.weights[0].name}. {report.title}"
        plot_differences(differences, files.plot, title, theme)
