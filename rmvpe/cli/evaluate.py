"""`rmvpe evaluate`: scores of weights on a data set over voice-to-music ratios, as a table, files and a picture."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmvpe.backends import BACKENDS
from rmvpe.cli.options import (
    WEIGHTS_HELP,
    Load,
    add_decode_arguments,
    add_theme_argument,
    decode_settings,
    describe_settings,
)
from rmvpe.errors import UserError
from rmvpe.errors import report as report_line
from rmvpe.estimator import DEFAULT_WEIGHTS
from rmvpe.estimator import load as load_estimator
from rmvpe.files import check_folder
from rmvpe.ownership import check_outputs
from rmvpe.text import printable_lines

if TYPE_CHECKING:
    from rmvpe.data.readers.base import Source
    from rmvpe.evaluation.report import ReportFiles

SUMMARY = "Score weights on recordings with known f0, alone and inside music."
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
        "right, of all; octave: off by whole octaves; lag: frames of 10 ms by which the result is late."
    )
    text = "Hybrid folder, folder:PATH with NAME.csv (time_s,f0_hz) beside each recording, or KIND:FOLDER"
    add_data_arguments(parser, text)
    add = parser.add_argument
    add("--weights", default=DEFAULT_WEIGHTS, help=WEIGHTS_HELP)
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="framework (default: by the device)")
    add("--device", default="auto", help="as for predict (default: the fastest that is there)")
    add_decode_arguments(parser)
    add_output_arguments(parser)


def add_data_arguments(parser: argparse.ArgumentParser, data_text: str) -> None:
    """The flags that choose recordings and the music they are mixed with, for `evaluate` and `compare` alike."""
    add = parser.add_argument
    add("--data", required=True, metavar="SPEC", help=data_text)
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
    from rmvpe.data.readers.registry import open_source
    from rmvpe.evaluation.evaluate import evaluate, evenly_spaced, snr_name
    from rmvpe.evaluation.report import EvaluationSetup, evaluation_problems, evaluation_report

    ratios, files = parse_ratios(arguments.snr), report_files(arguments)
    check_scoring(arguments.limit)
    music = None if arguments.music is None else find_music(arguments.music)
    source = open_source(arguments.data, arguments.split)
    check_files(files, source, music, [arguments.weights], arguments.force)
    indices = evenly_spaced(len(source), arguments.limit or len(source))
    estimator = load(arguments.weights, arguments.backend, arguments.device).with_config(**decode_settings(arguments))
    began = time.perf_counter()
    evaluation = evaluate(
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
        weights=arguments.weights,
        backend=estimator.backend.name,
        device=estimator.backend.device,
        config=estimator.config,
        settings=describe_settings(estimator.config),
    )
    report = evaluation_report(evaluation, setup, seconds)
    try:
        report.write(files)
        if files.plot is not None:
            from rmvpe.evaluation.plot import plot_scores

            plot_scores(evaluation, files.plot, report.title, arguments.theme)
    finally:  # the table too where a file cannot be written, and the files where nobody reads the table
        sys.stdout.write(f"{printable_lines(report.text)}({seconds:g} s)\n")
    ratio_names = [] if arguments.quiet else list(map(snr_name, ratios))
    for problem in evaluation_problems(evaluation, ratio_names, len(indices)):
        report_line("rmvpe evaluate", problem)
    return 1 if evaluation.failures or evaluation.warnings else 0  # the log has named the warnings


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
