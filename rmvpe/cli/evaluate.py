"""`rmvpe evaluate`: scores of weights on a data set over voice-to-music ratios, as a table, files and a picture."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmvpe.backends import BACKENDS
from rmvpe.cli.note_options import add_note_arguments, given_note_flags, note_config
from rmvpe.cli.options import (
    WEIGHTS_HELP,
    Load,
    add_decode_arguments,
    add_theme_argument,
    decode_settings,
    describe_settings,
)
from rmvpe.cli.suite import add_suite_arguments, check_no_suite_flag, run_suite
from rmvpe.errors import UserError
from rmvpe.errors import report as report_line
from rmvpe.estimator import DEFAULT_WEIGHTS
from rmvpe.estimator import load as load_estimator
from rmvpe.files import check_folder
from rmvpe.ownership import check_outputs
from rmvpe.text import printable_lines

if TYPE_CHECKING:
    from rmvpe.data.readers.base import NoteSource, Source
    from rmvpe.estimator import Estimator
    from rmvpe.evaluation.notes import NoteEvaluation
    from rmvpe.evaluation.report import EvaluationSetup, Report, ReportFiles

SUMMARY = "Score weights on recordings with known f0 or notes, alone and inside music."
DEFAULT_SNR = "clean,20,10,5,0,-5"
OUTPUTS = {
    "json": "write all scores, pooled and per file, to OUT",
    "csv": "write the scores per file to OUT",
    "markdown": "write the table to OUT",
    "plot": "draw the scores to OUT (.png, .pdf or .svg)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe evaluate`."""
    parser.epilog = (
        "RPA, RCA: pitch right within 50 cents, or but for the octave, in % of the frames where the annotation has a "
        "voice; VR: share of these found voiced; VFA: share of the others found voiced; OA: voicing and pitch both "
        "right, of all; octave: off by whole octaves; lag: frames of 10 ms by which the result is late. With --notes: "
        "F1, precision (P) and recall (R) in %; a note is right if its onset is within 50 ms, its pitch within 50 "
        "cents and its offset within 50 ms or 20 % of its length (COnPOff), the offset left out (COnP), or the pitch "
        "too (COn)."
    )
    text = "Hybrid folder, folder:PATH with NAME.csv (time_s,f0_hz) or NAME.notes.csv beside NAME.wav, or KIND:FOLDER"
    add_data_arguments(parser, text, required=False)
    add_suite_arguments(parser)
    add = parser.add_argument
    text = f"{WEIGHTS_HELP.replace('%(default)s', DEFAULT_WEIGHTS)}; with --suite several, compared with the first"
    add("--weights", nargs="+", default=[DEFAULT_WEIGHTS], metavar="WEIGHTS", help=text)
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="framework (default: by the device)")
    add("--device", default="auto", help="as for predict (default: the fastest that is there)")
    add("--notes", action="store_true", help="score the notes that are found, against annotated notes")
    add_decode_arguments(parser)
    add_note_arguments(parser)
    add_output_arguments(parser)


def add_data_arguments(parser: argparse.ArgumentParser, data_text: str, required: bool = True) -> None:
    """The flags that choose recordings and the music they are mixed with, for `evaluate` and `compare` alike."""
    add = parser.add_argument
    add("--data", required=required, metavar="SPEC", help=data_text)
    add("--split", default="test", help="train, valid, test, or all but for a Hybrid folder (default: %(default)s)")
    text = "voice to music in dB; clean: no music; music: no voice, so only VFA counts (default: %(default)s)"
    add("--snr", default=DEFAULT_SNR, metavar="LIST", help=text)
    text = "mix with pieces of these sound files instead of the accompaniment that the data set has"
    add("--music", metavar="FOLDER", help=text)
    add("--limit", type=int, metavar="N", help="at most N files, evenly spaced over the split")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each file that a report can be written to."""
    for name, text in OUTPUTS.items():
        parser.add_argument(f"--{name}", type=Path, metavar="OUT", help=text)
    add_theme_argument(parser)
    parser.add_argument("--force", action="store_true", help="replace files that this command did not write")


def run(arguments: argparse.Namespace, load: Load = load_estimator) -> int:
    """Evaluate, print the table, write the files; returns 1 if some files could not be evaluated as a whole, else 0."""
    from rmvpe.data.mixing import find_music
    from rmvpe.evaluation.evaluate import evenly_spaced, snr_name
    from rmvpe.evaluation.report import EvaluationSetup, evaluation_problems

    ratios, files = parse_ratios(arguments.snr), report_files(arguments)
    check_scoring(arguments.limit)
    if arguments.suite:
        return run_suite(arguments, ratios, files, load)
    check_no_suite_flag(arguments)
    if arguments.data is None:
        raise UserError("no recordings are given: add --data SPEC, or --suite for sounds made by script")
    [weights] = arguments.weights
    task = note_task(arguments) if arguments.notes else f0_task(arguments)
    music = None if arguments.music is None else find_music(arguments.music)
    source = task.open(arguments.data, arguments.split)
    check_files(files, source, music, [weights], arguments.force)
    indices = evenly_spaced(len(source), arguments.limit or len(source))
    estimator = load(weights, arguments.backend, arguments.device).with_config(**decode_settings(arguments))
    began = time.perf_counter()
    evaluation = task.evaluate(
        estimator,
        source,
        snr_db=ratios,
        indices=indices,
        music=music,
        progress=sys.stderr.isatty() and not arguments.quiet,
        keep_going=True,
        debug=arguments.debug,
    )
    seconds = round(time.perf_counter() - began, 1)
    setup = EvaluationSetup(
        data=arguments.data,
        split=arguments.split,
        music=arguments.music,
        weights=weights,
        backend=estimator.backend.name,
        device=estimator.backend.device,
        config=estimator.config,
        settings=describe_settings(estimator.config),
    )
    report = task.report(evaluation, setup, seconds)
    try:
        report.write(files)
        if files.plot is not None:
            task.plot(evaluation, files.plot, report.title, arguments.theme)
    finally:  # the table too where a file cannot be written, and the files where nobody reads the table
        sys.stdout.write(f"{printable_lines(report.text)}({seconds:g} s)\n")
    ratio_names = [] if arguments.quiet else list(map(snr_name, ratios))
    for problem in evaluation_problems(evaluation, ratio_names, len(indices)):
        report_line("rmvpe evaluate", problem)
    return 1 if evaluation.failures or evaluation.warnings else 0  # the log has named the warnings


@dataclass(frozen=True)
class Task:
    """What is scored, f0 or notes: how to open the data, evaluate an estimator, report the evaluation and draw it.

    `open`: of data and split. `evaluate`: of an estimator, what `open` gave, and the settings of
    `rmvpe.evaluation.evaluate.evaluate`. `report`: of what `evaluate` gave, the setup and the seconds it took.
    `plot`: of what `evaluate` gave, a file, a title and a theme.
    """

    open: Callable[[str, str], Any]
    evaluate: Callable[..., Any]
    report: Callable[[Any, "EvaluationSetup", float], "Report"]
    plot: Callable[[Any, Path, str, str], None]


def f0_task(arguments: argparse.Namespace) -> Task:
    """Scores of f0. Raises UserError for a flag that is about notes."""
    from rmvpe.data.readers.registry import open_source
    from rmvpe.evaluation.evaluate import evaluate
    from rmvpe.evaluation.plot import plot_scores
    from rmvpe.evaluation.report import evaluation_report

    if given := given_note_flags(arguments):
        raise UserError(f"{given[0]} is a setting of notes: add --notes, or leave it out")
    return Task(open_source, evaluate, evaluation_report, plot_scores)


def note_task(arguments: argparse.Namespace) -> Task:
    """Scores of notes. Raises ConfigError for a setting of notes that is out of range."""
    from rmvpe.data.readers.registry import open_note_source
    from rmvpe.evaluation.note_plot import plot_note_scores
    from rmvpe.evaluation.note_report import note_report
    from rmvpe.evaluation.notes import evaluate_notes, finder

    config = note_config(arguments)

    def evaluate(estimator: "Estimator", source: "NoteSource", **how: Any) -> "NoteEvaluation":
        return evaluate_notes(finder(estimator, config), source, **how)

    return Task(open_note_source, evaluate, partial(note_report, notes=config), plot_note_scores)


def parse_ratios(text: str) -> list[float]:
    """The different voice-to-music ratios in dB of a list such as "clean,20,0". Raises UserError for other words."""
    from rmvpe.evaluation.evaluate import parse_ratio

    return list(dict.fromkeys(map(parse_ratio, text.split(","))))


def report_files(arguments: argparse.Namespace) -> "ReportFiles":
    """The files of the flags in `OUTPUTS`. Raises UserError for a picture that cannot be drawn."""
    from rmvpe.evaluation.report import ReportFiles

    paths = {name: path for name in OUTPUTS if (path := getattr(arguments, name)) is not None}
    if "plot" in paths:
        from rmvpe.plot import check_picture

        check_picture(paths["plot"])
    return ReportFiles(**paths)


def check_files(
    files: "ReportFiles", source: "Source", music: Sequence[Path] | None, weights: Sequence[str], force: bool
) -> None:
    """Raise UserError if a file of the report cannot be written, or would replace an input or a file of the user's."""
    from rmvpe.data.readers.registry import files_of

    outputs = files.outputs()
    check_outputs(outputs, [*files_of(source), *(music or ()), *weights], force)
    for output in outputs:
        check_folder(output.path.parent)


def check_scoring(limit: int | None) -> None:
    """Raise UserError if mir_eval is not installed, or for a number of files that is not positive."""
    from rmvpe.evaluation.metrics import require_mir_eval

    require_mir_eval()
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} leaves no file: give 1 or more")
