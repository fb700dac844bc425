"""The command line of `scripts/compare_trackers.py`: what to compare on, tables, files and a picture."""

import argparse
import csv
import json
import math
import platform
import sys
from pathlib import Path
from typing import Any

from rmvpe.backends import BACKENDS
from rmvpe.cli.evaluate import ABSENT, DEFAULT_SNR, OUTPUTS, SHOWN, check_flags, without_nan, write
from rmvpe.data.mixing import find_music
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import MUSIC, evenly_spaced, parse_ratio, snr_name
from rmvpe.evaluation.trackers.adapters import OWN, PEERS, find_trackers
from rmvpe.evaluation.trackers.compare import Comparison, Result, compare, open_data
from rmvpe.files import atomic_path

DEFAULT_TRACKERS = ",".join((OWN, *(name for name in PEERS if name != "crepe-tiny")))
MEGABYTE = 1e6
ACCURACIES = {"RPA": "Pitch right (RPA, %)", "OA": "Pitch and voicing right (OA, %)"}  # a table each over the ratios
COSTS = ("CPU s per s", "s per s", "start s", "memory MB")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the script."""
    add = parser.add_argument
    text = "folder of sound with NAME.csv (time_s,f0_hz) beside it, Hybrid folder, or KIND:FOLDER as for rmvpe evaluate"
    add("--data", required=True, metavar="FOLDER", help=text)
    add("--split", default="test", help="of a data set that has splits (default: %(default)s)")
    text = f"{OWN}, {OWN}:WEIGHTS, {', '.join(PEERS)} (default: %(default)s)"
    add("--trackers", default=DEFAULT_TRACKERS, metavar="LIST", help=text)
    text = "voice to music in dB; clean: no music; music: no voice (default: %(default)s)"
    add("--snr", default=DEFAULT_SNR, metavar="LIST", help=text)
    add("--music", metavar="FOLDER", help="music to mix with, instead of the accompaniment that the data set has")
    add("--limit", type=int, metavar="N", help="at most N files, evenly spread")
    add("--threads", type=int, default=1, metavar="N", help="for each tracker's libraries (default: %(default)s)")
    add("--backend", choices=("auto", *BACKENDS), default="auto", help=f"of {OWN} (default: the one installed)")
    add("--high-register", action="store_true", help=f"of {OWN}: as for rmvpe predict")
    for name, text in OUTPUTS.items():
        add(f"--{name}", type=Path, metavar="OUT", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the tables, write what is asked for; 1 if some files could not be judged."""
    ratios = list(dict.fromkeys(map(parse_ratio, arguments.snr.split(","))))
    check_flags(arguments)
    if arguments.threads < 1:
        raise UserError(f"--threads {arguments.threads} cannot work: give 1 or more")
    if arguments.plot is not None and set(ratios) == {MUSIC}:
        raise UserError("--plot has nothing to show of music alone: add other ratios to --snr, such as clean")
    names = arguments.trackers.split(",")
    kinds = find_trackers(names, arguments.backend, high_register=arguments.high_register)
    music = None if arguments.music is None else find_music(arguments.music)
    source = open_data(arguments.data, arguments.split)
    indices = evenly_spaced(len(source), arguments.limit or len(source))
    comparison = compare(kinds, source, snr_db=ratios, indices=indices, music=music, threads=arguments.threads, say=say)
    report(comparison, arguments)
    return complain(comparison, [snr_name(ratio) for ratio in ratios])


def say(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"compare_trackers: {' '.join(text.split())}\n")


def report(comparison: Comparison, arguments: argparse.Namespace) -> None:
    """The tables on stdout, and the files that the command line asks for."""
    title = headline(comparison, arguments)
    text = f"{title}\n\n{markdown(comparison, arguments.threads)}\n"
    sys.stdout.write(text)
    if arguments.markdown:
        write(arguments.markdown, text)
    if arguments.json:
        write(arguments.json, json.dumps(as_json(comparison, arguments), indent=1) + "\n")
    if arguments.csv:
        write_csv(arguments.csv, comparison)
    if arguments.plot:
        from rmvpe.evaluation.trackers.plot import plot_trackers

        plot_trackers(comparison, arguments.plot, title)


def complain(comparison: Comparison, wanted: list[str]) -> int:
    """Tell what could not be compared; returns the exit code."""
    present = {ratio for result in comparison.results.values() for ratio in result.pooled}
    absent = [name for name in wanted if name not in present]
    if absent:
        say(f"{', '.join(absent)} left out, as no file has music beside the voice: give --music FOLDER")
    for text in (*comparison.notes, *comparison.failures):
        say(text)
    return 1 if comparison.failures else 0


def headline(comparison: Comparison, arguments: argparse.Namespace) -> str:
    """One line: how much of what."""
    files = {row["file"] for result in comparison.results.values() for row in result.files}
    folders = [Path(part.partition(":")[2] or part) for part in arguments.data.split(",")]
    data = ", ".join("/".join(folder.parts[-2:]) for folder in folders)
    music = f", music from {Path(arguments.music).name}" if arguments.music else ""
    return f"{len(files)} file{'s' if len(files) != 1 else ''} ({comparison.audio_s:.0f} s) of {data}{music}"


def markdown(comparison: Comparison, threads: int) -> str:
    """Accuracy over the ratios, cost, settings, all scores; then what was left out and what is worth knowing."""
    results = list(comparison.results.values())
    parts = [_accuracy(results, score, heading) for score, heading in ACCURACIES.items()]
    cost = [[result.label, *_cost(result)] for result in results]
    plural = "s" if threads > 1 else ""
    parts.append(f"Cost ({threads} thread{plural}, {platform.machine()} CPU)\n\n" + _table(["tracker", *COSTS], cost))
    parts.append("Settings\n\n" + "\n".join(f"- {result.label}: {result.settings}" for result in results))
    heads = [f"{name} {unit}" if unit == "%" else name for name, unit in SHOWN.items()]
    rows = [
        [result.label, ratio, *(_cell(scores[name], unit) for name, unit in SHOWN.items())]
        for result in results
        for ratio, scores in result.pooled.items()
    ]
    parts.append("All scores\n\n" + _table(["tracker", "voice to music", *heads], rows))
    extra = [f"- {name} left out: {why}" for name, why in comparison.left_out.items()]
    extra += [f"- {note}" for note in comparison.notes]
    return "\n\n".join(parts + (["\n".join(extra)] if extra else []))


def _accuracy(results: list[Result], score: str, heading: str) -> str:
    ratios = list(results[0].pooled)
    rows = [[result.label, *(_cell(result.pooled[ratio][score], "%", 1) for ratio in ratios)] for result in results]
    return f"{heading}\n\n" + _table(["tracker", *ratios], rows)


def _cost(result: Result) -> list[str]:
    memory = ABSENT if result.peak_memory is None else f"{result.peak_memory / MEGABYTE:.0f}"
    return [f"{result.cpu_seconds:.4f}", f"{result.seconds:.4f}", f"{result.start_s:.1f}", memory]


def _cell(score: float, unit: str, digits: int = 2) -> str:
    if math.isnan(score):
        return ABSENT
    return f"{100 * score:.{digits}f}" if unit == "%" else f"{score:.0f}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(comparison: Comparison, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    asked = {name: getattr(arguments, name) for name in ("data", "split", "music", "limit", "threads")}
    about = {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}
    trackers = {name: vars(result) for name, result in comparison.results.items()}
    rest = {"left_out": comparison.left_out, "failures": list(comparison.failures), "notes": list(comparison.notes)}
    return without_nan(asked | about | {"audio_s": comparison.audio_s, "trackers": trackers} | rest)


def write_csv(path: Path, comparison: Comparison) -> None:
    """One line per tracker, file and ratio; shares from 0 to 1, empty where there is nothing to count over."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["tracker", "file", "ratio", *SHOWN])
        for name, result in comparison.results.items():
            for row in without_nan(result.files):
                rows.writerow([name, row["file"], row["ratio"], *(row[score] for score in SHOWN)])
