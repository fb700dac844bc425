"""`rmvpe evaluate`: scores of weights on a data set over voice-to-music ratios, as a table, files and a picture."""

import argparse
import csv
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmvpe.backends import BACKENDS
from rmvpe.cli.options import add_decode_arguments, decode_settings, describe_settings
from rmvpe.config import DecodeConfig
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator, load
from rmvpe.files import atomic_path, check_folder
from rmvpe.training.jsonl import without_nan

if TYPE_CHECKING:
    from rmvpe.evaluation.evaluate import Evaluation

SUMMARY = "Score weights on recordings with known f0, alone and inside music."
DEFAULT_SNR = "clean,20,10,5,0,-5"
SHOWN = {"RPA": "%", "RCA": "%", "OA": "%", "VR": "%", "VFA": "%", "octave": "%", "lag": "frames"}
ABSENT = "-"  # in tables, where there is nothing to count over
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
        "right, of all; octave: off by whole octaves; lag: frames of 10 ms by which the answer is late."
    )
    add = parser.add_argument
    text = "Hybrid folder, folder:PATH with NAME.csv (time_s,f0_hz) beside each recording, or KIND:FOLDER"
    add("--data", required=True, metavar="SPEC", help=text)
    add("--split", default="test", help="train, valid, test, or all but for a Hybrid folder (default: %(default)s)")
    add("--weights", default=DEFAULT_WEIGHTS, help="bundled name or checkpoint file (default: %(default)s)")
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="framework (default: the one installed)")
    add("--device", default="auto", help="as for predict (default: the fastest that is there)")
    text = "voice to music in dB; clean: no music; music: no voice, so only VFA counts (default: %(default)s)"
    add("--snr", default=DEFAULT_SNR, metavar="LIST", help=text)
    text = "mix with pieces of these sound files instead of the accompaniment that the data set has"
    add("--music", metavar="FOLDER", help=text)
    add_decode_arguments(parser)
    add("--limit", type=int, metavar="N", help="at most N files, evenly spread over the split")
    for name, text in OUTPUTS.items():
        add(f"--{name}", type=Path, metavar="OUT", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table, write what is asked for; 1 if some files could not be judged."""
    from rmvpe.data.mixing import find_music
    from rmvpe.data.readers.registry import open_source
    from rmvpe.evaluation.evaluate import evaluate, evenly_spaced, parse_ratio, snr_name

    ratios = list(dict.fromkeys(map(parse_ratio, arguments.snr.split(","))))
    check_flags(arguments)
    music = None if arguments.music is None else find_music(arguments.music)
    source = open_source(arguments.data, arguments.split)
    indices = evenly_spaced(len(source), arguments.limit or len(source))
    estimator = load(arguments.weights, arguments.backend, arguments.device).with_config(**decode_settings(arguments))
    began = time.perf_counter()
    evaluation = evaluate(
        estimator,
        source,
        snr_db=ratios,
        indices=indices,
        music=music,
        progress=sys.stderr.isatty(),
        keep_going=True,
    )
    about = describe(arguments, estimator) | {"seconds": round(time.perf_counter() - began, 1)}
    report(evaluation, about, arguments)
    return complain(evaluation, [snr_name(ratio) for ratio in ratios], len(indices))


def check_flags(arguments: argparse.Namespace) -> None:
    """Raise UserError for what would only come to light after the work."""
    from rmvpe.evaluation.metrics import require_mir_eval

    require_mir_eval()
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"--limit {arguments.limit} leaves no file: give 1 or more")
    if arguments.plot is not None:
        from rmvpe.plot import check_picture

        check_picture(arguments.plot)
    for name in OUTPUTS:
        path = getattr(arguments, name)
        if path is not None and path.is_dir():
            raise UserError(f"--{name} {path} is a folder: give a file's name")
        if path is not None:
            check_folder(path.parent)


def describe(arguments: argparse.Namespace, estimator: Estimator) -> dict[str, Any]:
    """What was measured; "decoding" are the settings of `DecodeConfig`."""
    return {
        "data": arguments.data,
        "split": arguments.split,
        "music": arguments.music,
        "weights": arguments.weights,
        "backend": estimator.backend.name,
        "device": estimator.backend.device,
        "threshold": estimator.config.threshold,
        "decoding": asdict(estimator.config),
    }


def report(evaluation: "Evaluation", about: dict[str, Any], arguments: argparse.Namespace) -> None:
    """The table on stdout, and the files that the command line asks for."""
    table = f"{headline(evaluation, about)}\n\n{markdown(evaluation)}\n"
    sys.stdout.write(f"{table}({about['seconds']:g} s)\n")
    if arguments.markdown:
        write(arguments.markdown, table)
    if arguments.json:
        rows = {"pooled": evaluation.pooled, "files": evaluation.files, "failures": list(evaluation.failures)}
        write(arguments.json, json.dumps(without_nan(about | rows), indent=1) + "\n")
    if arguments.csv:
        write_csv(arguments.csv, evaluation)
    if arguments.plot:
        from rmvpe.evaluation.plot import plot_scores

        plot_scores(evaluation, arguments.plot, title=headline(evaluation, about))


def headline(evaluation: "Evaluation", about: dict[str, Any]) -> str:
    """One line: which weights, on how much of what."""
    files = len({row["file"] for row in evaluation.files})
    weights, data = Path(about["weights"]).name, Path(about["data"]).name
    music = f" with music from {Path(about['music']).name}" if about["music"] else ""
    return (
        f"{weights} by {about['backend']} on {about['device']}: {files} file{'s' if files != 1 else ''} of {data} "
        f"({about['split']}){music}, {describe_settings(DecodeConfig(**about['decoding']))}"
    )


def markdown(evaluation: "Evaluation") -> str:
    """The pooled scores as a Markdown table: shares in %, the lag in frames of 10 ms."""
    heads = [f"{name} {unit}" if unit == "%" else name for name, unit in SHOWN.items()]
    lines = ["| voice to music | files | " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) + 1) + "|"]
    for ratio, row in evaluation.pooled.items():
        files = sum(file["ratio"] == ratio for file in evaluation.files)
        cells = [_cell(row[name], unit) for name, unit in SHOWN.items()]
        lines.append(f"| {ratio} | {files} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(score: float, unit: str) -> str:
    if math.isnan(score):
        return ABSENT
    return f"{100 * score:.2f}" if unit == "%" else f"{score:.0f}"


def write(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, evaluation: "Evaluation") -> None:
    """One line per file and ratio; shares from 0 to 1, empty where there is nothing to count over."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "ratio", *SHOWN])
        for row in without_nan(evaluation.files):
            rows.writerow([row["file"], row["ratio"], *(row[name] for name in SHOWN)])


def complain(evaluation: "Evaluation", wanted: list[str], files: int) -> int:
    """Tell on stderr what could not be measured; returns the exit code."""
    absent = [name for name in wanted if name not in evaluation.pooled]
    if absent:
        text = f"{', '.join(absent)} left out, as no file has music beside the voice: give --music FOLDER"
        sys.stderr.write(f"rmvpe evaluate: {text}\n")
    for text in evaluation.failures:
        sys.stderr.write(f"rmvpe evaluate: {' '.join(text.split())}\n")
    if evaluation.failures:
        sys.stderr.write(f"rmvpe evaluate: {len(evaluation.failures)} of {files} files could not be judged\n")
    return 1 if evaluation.failures else 0
