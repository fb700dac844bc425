"""The `rmvpe` command: parse and call. Exit codes: 0 done, 1 some files failed, 2 nothing done, for a reason told.

A subcommand is a row of `COMMANDS`: what adds its flags and what runs it. Defaults come from the API and are not
repeated here.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import rmvpe
from rmvpe import audio, plot
from rmvpe.backends import BACKENDS
from rmvpe.cli import evaluate
from rmvpe.cli.options import add_decode_arguments, decode_settings
from rmvpe.errors import EXIT_USER_ERROR, UserError, cli_errors
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator, Progress, load
from rmvpe.files import check_folder
from rmvpe.track import WRITERS, F0Track, check_format, check_hop, format_of

DEFAULT_FORMAT = "csv"
BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total} files [{elapsed}<{remaining}]"


@dataclass(frozen=True)
class Command:
    """One subcommand. `run` returns the exit code and raises UserError for what the user can mend."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class Job:
    """One file to predict: where it is read, where its track goes, and its picture if one is wanted."""

    source: Path
    output: Path
    picture: Path | None


class Parser(argparse.ArgumentParser):
    """Tells a wrong command line in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name); returns or exits with the exit code."""
    arguments = build_parser().parse_args(argv)
    with cli_errors(f"rmvpe {arguments.command}"):
        status = COMMANDS[arguments.command].run(arguments)
    return status


def build_parser() -> argparse.ArgumentParser:
    """The command line with all subcommands."""
    parser = Parser(prog="rmvpe", description=(rmvpe.__doc__ or "").splitlines()[0])
    parser.add_argument("--version", action="version", version=f"rmvpe {rmvpe.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.summary, description=command.summary))
    return parser


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe predict`."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="sound files, or folders to search for them")
    add("-o", "--output", required=True, metavar="OUT", help="a folder, or for a single file the file to write")
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="framework (default: the one installed)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, sdaa, mps, gpu, tpu (default: the fastest that is there)")
    add("--weights", default=DEFAULT_WEIGHTS, help="bundled name or checkpoint file (default: %(default)s)")
    add("--hop-ms", type=float, metavar="MS", help="milliseconds between frames (default: the network's own)")
    add_decode_arguments(parser)
    add("--plot", nargs="?", const="", metavar="PNG", help="draw a picture too, beside each result or to PNG")
    add("--format", choices=tuple(WRITERS), help=f"of the results (default: OUT's ending, else {DEFAULT_FORMAT})")


def predict(arguments: argparse.Namespace) -> int:
    """`rmvpe predict`: write a track for each sound file; one bad file does not stop the others."""
    files = audio.find_audio(arguments.inputs)
    jobs = plan_jobs(files, Path(arguments.output), arguments)
    hop_s = None if arguments.hop_ms is None else arguments.hop_ms / 1000.0
    if hop_s is not None:
        check_hop(hop_s)
    estimator = load(arguments.weights, arguments.backend, arguments.device).with_config(**decode_settings(arguments))
    file_format = arguments.format or format_of(jobs[0].output)
    check_format(file_format, hop_s or estimator.model.mel.hop_s)
    for folder in {path.parent for job in jobs for path in (job.output, job.picture) if path}:
        check_folder(folder)
    failures = run_jobs(estimator, jobs, hop_s, file_format)
    for source, error in failures:
        text = str(error) if str(source) in str(error) else f"{source}: {error}"
        sys.stderr.write(f"rmvpe predict: {text}\n")
    if failures:
        sys.stderr.write(f"rmvpe predict: {len(failures)} of {len(jobs)} files failed\n")
    return 1 if failures else 0


def plan_jobs(files: list[audio.AudioFile], output: Path, arguments: argparse.Namespace) -> list[Job]:
    """Where each result goes. Raises UserError if flags contradict each other or a result would replace an input."""
    single_file = len(files) == 1 and not Path(arguments.inputs[0]).is_dir()
    suffix = output.suffix[1:].lower()
    is_folder = output.is_dir() or arguments.output.endswith(("/", "\\"))
    if not is_folder and (suffix in WRITERS or (single_file and suffix)):
        if not single_file:
            raise UserError(
                f"{output} is a file's name but the input is not one file: give a folder and --format {suffix}"
            )
        if suffix in WRITERS and arguments.format not in (None, suffix):
            raise UserError(f"{output} ends in .{suffix} but --format says {arguments.format}: drop one of them")
        format_of(output, arguments.format)
        outputs = [output]
    else:
        ending = arguments.format or DEFAULT_FORMAT
        outputs = [output / file.name.parent / f"{file.name.name}.{ending}" for file in files]
    pictures = plan_pictures(outputs, arguments.plot)
    inputs = {file.path.resolve() for file in files}
    for path in (*outputs, *pictures):
        if path is not None and path.resolve() in inputs:
            raise UserError(f"{path} is an input and would be replaced: choose another output")
    return [Job(file.path, result, picture) for file, result, picture in zip(files, outputs, pictures)]


def plan_pictures(outputs: list[Path], wanted: str | None) -> list[Path | None]:
    """A picture for each result: none (None), beside it (""), or the one file named."""
    if wanted is None:
        return [None] * len(outputs)
    if wanted and len(outputs) > 1:
        raise UserError(f"--plot {wanted} is one picture for {len(outputs)} files: give --plot alone, after the inputs")
    pictures = [Path(wanted)] if wanted else [path.with_name(f"{path.stem}.png") for path in outputs]
    plot.check_picture(pictures[0])
    return list(pictures)


def run_jobs(
    estimator: Estimator, jobs: list[Job], hop_s: float | None, file_format: str
) -> list[tuple[Path, UserError]]:
    """Do the jobs, with a bar on stderr if that is a terminal; returns the failures, but raises a single job's."""
    from tqdm import tqdm

    failures: list[tuple[Path, UserError]] = []
    with tqdm(total=len(jobs), disable=None, bar_format=BAR, dynamic_ncols=True) as bar:
        for index, job in enumerate(jobs):
            bar.set_description_str(job.source.name)
            try:
                track = run_job(estimator, job, hop_s, file_format, bar_progress(bar, index))
                bar.write(f"{job.source} -> {job.output}: {describe(track)}", file=sys.stdout)
            except UserError as error:
                if len(jobs) == 1:
                    raise
                failures.append((job.source, error))
    return failures


def run_job(estimator: Estimator, job: Job, hop_s: float | None, file_format: str, progress: Progress) -> F0Track:
    """Read, predict, write, draw."""
    recording = audio.read(job.source)
    track = estimator.from_recording(recording, hop_s=hop_s, progress=progress)
    track.write(job.output, file_format)
    if job.picture is not None:
        plot.plot_track(recording.samples, track, job.picture, title=job.source.name)
    return track


def bar_progress(bar: Any, index: int) -> Progress:
    """Moves the bar of files by the share of file number `index` that is done."""

    def progress(share: float) -> None:
        bar.n = index + share
        bar.refresh()

    return progress


def describe(track: F0Track) -> str:
    """A track in a few words."""
    if not track.voiced.any():
        return f"{len(track)} frames, no voice found"
    median_hz = float(np.median(track.f0_hz[track.voiced]))
    return f"{len(track)} frames, {track.voiced.mean():.0%} voiced, median {median_hz:.1f} Hz"


COMMANDS = {
    "predict": Command("Write the pitch (f0) of sound files.", add_predict_arguments, predict),
    "evaluate": Command(evaluate.SUMMARY, evaluate.add_arguments, evaluate.run),
}
