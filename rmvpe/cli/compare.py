"""`rmvpe compare`: pitch trackers on the same recordings: accuracy, speed and memory as tables, files and a picture."""

import argparse
import sys

from rmvpe.backends import BACKENDS
from rmvpe.cli.evaluate import (
    add_data_arguments,
    add_output_arguments,
    check_files,
    check_scoring,
    parse_ratios,
    report_files,
)
from rmvpe.errors import UserError
from rmvpe.errors import report as report_line
from rmvpe.evaluation.trackers.adapters import OWN, PEERS
from rmvpe.processes import checked_threads
from rmvpe.text import printable_lines

SUMMARY = "Compare pitch trackers on recordings with known f0: accuracy inside music, speed, memory."
DEFAULT_TRACKERS = ",".join((OWN, *(name for name in PEERS if name != "crepe-tiny")))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe compare`."""
    parser.epilog = (
        "Each tracker runs with the settings that its own project documents (the output lists them), in its own "
        "process. Trackers that are not installed are skipped and listed; scores as in rmvpe evaluate. Exit code: 0, 1 "
        "if some files could not be compared, 2 if nothing could be."
    )
    text = "folder of sound with NAME.csv (time_s,f0_hz) beside it, Hybrid folder, or KIND:FOLDER as for rmvpe evaluate"
    add_data_arguments(parser, text)
    add = parser.add_argument
    text = f"{OWN}, {OWN}:WEIGHTS, {', '.join(PEERS)} (default: %(default)s)"
    add("--trackers", default=DEFAULT_TRACKERS, metavar="LIST", help=text)
    add("--threads", type=int, default=1, metavar="N", help="for each tracker's libraries (default: %(default)s)")
    add("--backend", choices=("auto", *BACKENDS), default="auto", help=f"of {OWN} (default: the best installed)")
    add("--high-register", action="store_true", help=f"of {OWN}: as for rmvpe predict")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the tables, write the files; returns 1 if some files could not be compared as a whole, else 0."""
    from rmvpe.data.mixing import find_music
    from rmvpe.evaluation.evaluate import MUSIC, evenly_spaced, snr_name
    from rmvpe.evaluation.report import ComparisonSetup, comparison_problems, comparison_report
    from rmvpe.evaluation.trackers.adapters import find_trackers
    from rmvpe.evaluation.trackers.compare import compare, open_data

    ratios, files = parse_ratios(arguments.snr), report_files(arguments)
    check_scoring(arguments.limit)
    checked_threads(arguments.threads, "--threads")
    if files.plot is not None and set(ratios) == {MUSIC}:
        raise UserError("--plot has nothing to show of music alone: add other ratios to --snr, such as clean")
    specs = find_trackers(arguments.trackers.split(","), arguments.backend, high_register=arguments.high_register)
    music = None if arguments.music is None else find_music(arguments.music)
    source = open_data(arguments.data, arguments.split)
    weights = [name.partition(":")[2] for name in arguments.trackers.split(",")]
    check_files(files, source, music, weights, arguments.force)
    indices = evenly_spaced(len(source), arguments.limit or len(source))
    comparison = compare(
        specs,
        source,
        snr_db=ratios,
        indices=indices,
        music=music,
        threads=arguments.threads,
        log=(lambda text: None) if arguments.quiet else log,
        debug=arguments.debug,
    )
    setup = ComparisonSetup(arguments.data, arguments.split, arguments.music, arguments.limit, arguments.threads)
    report = comparison_report(comparison, setup)
    try:
        report.write(files)
        if files.plot is not None:
            from rmvpe.evaluation.trackers.plot import plot_trackers

            plot_trackers(comparison, files.plot, report.title, arguments.theme)
    finally:  # the tables too where a file cannot be written, and the files where nobody reads the tables
        sys.stdout.write(printable_lines(report.text))
    problems = comparison_problems(comparison, list(map(snr_name, ratios)))
    for problem in comparison.failures if arguments.quiet else problems:
        log(problem)
    return 1 if comparison.failures or comparison.warnings else 0  # the log has named the warnings


def log(text: str) -> None:
    """One line on stderr."""
    report_line("rmvpe compare", text)
