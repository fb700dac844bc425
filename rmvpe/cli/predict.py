"""`rmvpe predict`: a track for each sound file, and a picture of it if wanted."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe import audio, plot
from rmvpe.audio import AudioFile
from rmvpe.backends import BACKENDS
from rmvpe.cli.inputs import add_input_arguments, input_paths
from rmvpe.cli.options import Load, add_decode_arguments, decode_settings
from rmvpe.errors import UserError, report
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator, Progress
from rmvpe.estimator import load as load_estimator
from rmvpe.files import check_folder
from rmvpe.text import printable
from rmvpe.track import WRITERS, F0Track, check_format, check_hop, format_of

SUMMARY = "Write the pitch (f0) of sound files."
PROGRAM = "rmvpe predict"
DEFAULT_FORMAT = "csv"
BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total} files [{elapsed}<{remaining}]"


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    output: a folder, or the file to write. hop_s: None for the network's own. decoding: fields of `DecodeConfig`.
    picture: None for none, "" for one beside each result, else the file. file_format: None for the output's ending.
    """

    paths: Sequence[str]
    output: str
    weights: str = DEFAULT_WEIGHTS
    backend: str = "auto"
    device: str = "auto"
    hop_s: float | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)
    picture: str | None = None
    file_format: str | None = None


@dataclass(frozen=True)
class Job:
    """One file to predict: where it is read, where its track goes, and its picture if one is wanted."""

    source: Path
    output: Path
    picture: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe predict`."""
    add = parser.add_argument
    add_input_arguments(parser)
    add("-o", "--output", required=True, metavar="OUT", help="a folder, or for a single file the file to write")
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="framework (default: the one installed)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, sdaa, mps, gpu, tpu (default: the fastest that is there)")
    add("--weights", default=DEFAULT_WEIGHTS, help="bundled name or checkpoint file (default: %(default)s)")
    add("--hop-ms", type=float, metavar="MS", help="milliseconds between frames (default: the network's own)")
    add_decode_arguments(parser)
    add("--plot", nargs="?", const="", metavar="PNG", help="draw a picture too, beside each result or to PNG")
    add("--format", choices=tuple(WRITERS), help=f"of the results (default: OUT's ending, else {DEFAULT_FORMAT})")


def run(arguments: argparse.Namespace, load: Load = load_estimator) -> int:
    """Predict what the command line asks for; 1 if some files failed."""
    request = Request(
        paths=input_paths(arguments.inputs, arguments.files_from),
        output=arguments.output,
        weights=arguments.weights,
        backend=arguments.backend,
        device=arguments.device,
        hop_s=None if arguments.hop_ms is None else arguments.hop_ms / 1000.0,
        decoding=decode_settings(arguments),
        picture=arguments.plot,
        file_format=arguments.format,
    )
    return predict(request, load)


def predict(request: Request, load: Load = load_estimator) -> int:
    """Write a track for each sound file; one bad file does not stop the others. Returns the exit code.

    Raises UserError for what makes the whole request impossible, before any work.
    """
    jobs = plan_jobs(audio.find_audio(request.paths), request)
    if request.hop_s is not None:
        check_hop(request.hop_s)
    estimator = load(request.weights, request.backend, request.device).with_config(**request.decoding)
    file_format = request.file_format or format_of(jobs[0].output)
    check_format(file_format, request.hop_s or estimator.model.mel.hop_s)
    for folder in {path.parent for job in jobs for path in (job.output, job.picture) if path}:
        check_folder(folder)
    failures = run_jobs(estimator, jobs, request.hop_s, file_format)
    for source, error in failures:
        report(PROGRAM, str(error) if str(source) in str(error) else f"{source}: {error}")
    if failures:
        report(PROGRAM, f"{len(failures)} of {len(jobs)} files failed")
    return 1 if failures else 0


def plan_jobs(files: Sequence[AudioFile], request: Request) -> list[Job]:
    """Where each result goes. Raises UserError if flags contradict each other or a result would replace an input."""
    outputs = plan_outputs(files, request)
    pictures = plan_pictures(outputs, request.picture)
    inputs = {file.path.resolve() for file in files}
    for path in (*outputs, *pictures):
        if path is not None and path.resolve() in inputs:
            raise UserError(f"{path} is an input and would be replaced: choose another output")
    return [Job(file.path, result, picture) for file, result, picture in zip(files, outputs, pictures)]


def plan_outputs(files: Sequence[AudioFile], request: Request) -> list[Path]:
    """The file for each track: the one named, or one per input in the folder named."""
    output = Path(request.output)
    single_file = len(files) == 1 and not Path(request.paths[0]).is_dir()
    suffix = output.suffix[1:].lower()
    is_folder = output.is_dir() or request.output.endswith(("/", "\\"))
    if is_folder or not (suffix in WRITERS or (single_file and suffix)):
        ending = request.file_format or DEFAULT_FORMAT
        return [output / file.name.parent / f"{file.name.name}.{ending}" for file in files]
    if not single_file:
        raise UserError(f"{output} is a file's name but the input is not one file: give a folder and --format {suffix}")
    if suffix in WRITERS and request.file_format not in (None, suffix):
        raise UserError(f"{output} ends in .{suffix} but --format says {request.file_format}: drop one of them")
    format_of(output, request.file_format)
    return [output]


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
            bar.set_description_str(printable(job.source.name))
            try:
                track = run_job(estimator, job, hop_s, file_format, bar_progress(bar, index))
                line = f"{printable(job.source)} -> {printable(job.output)}: {describe(track)}"
                bar.write(line, file=sys.stdout)
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
