"""`rmvpe predict`: a track for each sound file, and a picture of it if wanted."""

import argparse
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmvpe import audio, plot
from rmvpe.audio import AudioFile
from rmvpe.backends import BACKENDS
from rmvpe.batch import STREAM, Job, run_jobs
from rmvpe.cli.inputs import add_input_arguments, input_paths
from rmvpe.cli.options import WEIGHTS_HELP, Load, add_decode_arguments, decode_settings
from rmvpe.errors import UserError, report
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator
from rmvpe.estimator import load as load_estimator
from rmvpe.files import check_folder
from rmvpe.ownership import Output, check_outputs, is_complete
from rmvpe.track import WRITERS, check_format, check_hop, format_of

SUMMARY = "Write the pitch (f0) of sound files."
PROGRAM = "rmvpe predict"
DEFAULT_FORMAT = "csv"
STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
MOST_NAMED = 10  # files passed over that are named one by one


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    output: a folder, or the file to write. hop_s: None for the network's own. decoding: fields of `DecodeConfig`.
    picture: None for none, "" for one beside each result, else the file. file_format: None for the output's ending.
    skip_existing: leave files alone whose results are complete. force: replace files that we did not write.
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
    skip_existing: bool = False
    force: bool = False
    quiet: bool = False
    debug: bool = False
    channel: str | int = "auto"
    track: int | None = None
    threads: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe predict`."""
    add = parser.add_argument
    add_input_arguments(parser)
    add(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a folder, or for a single file the file to write; -: stdout",
    )
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="framework (default: by the device)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, sdaa, mps, gpu, tpu, dml, coreml (default: the fastest)")
    add("--threads", type=int, metavar="N", help="of the CPU, with ONNX Runtime (default: one for each CPU)")
    add("--weights", default=DEFAULT_WEIGHTS, help=WEIGHTS_HELP)
    add("--hop-ms", type=float, metavar="MS", help="milliseconds between frames (default: the network's own)")
    add_decode_arguments(parser)
    add("--plot", nargs="?", const="", metavar="PNG", help="draw a picture too, beside each result or to PNG")
    text = "leave out files whose results are complete, to go on with a run that was stopped"
    add("--skip-existing", action="store_true", help=text)
    add("--force", action="store_true", help="replace files that this command did not write")
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
        skip_existing=arguments.skip_existing,
        force=arguments.force,
        quiet=arguments.quiet,
        debug=arguments.debug,
        channel=arguments.channel,
        track=arguments.track,
        threads=arguments.threads,
    )
    return predict(request, load)


def predict(request: Request, load: Load = load_estimator) -> int:
    """Write a track for each sound file; one bad file does not stop the others. Returns the exit code.

    Raises UserError for what makes the whole request impossible, before any work.
    """
    files, skipped = find_inputs(request)
    if request.hop_s is not None:
        check_hop(request.hop_s)
    jobs = plan_jobs(files, request)
    file_format = request.file_format or (DEFAULT_FORMAT if jobs[0].output == STREAM else format_of(jobs[0].output))
    check_jobs(jobs, request, file_format)
    todo = [job for job in jobs if not (request.skip_existing and is_done(job, file_format))]
    if len(todo) < len(jobs) and not request.quiet:
        report(PROGRAM, f"{len(jobs) - len(todo)} of {len(jobs)} files skipped: their results are complete")
    problems = 0
    if todo:
        problems = predict_jobs(todo, request, load, file_format)
    report_skipped(skipped)
    return 1 if problems or skipped else 0


def predict_jobs(jobs: Sequence[Job], request: Request, load: Load, file_format: str) -> int:
    """Do the jobs and print what went wrong; returns how many failures and warnings there were."""
    threads = {} if request.threads is None else {"threads": request.threads}
    network = load(request.weights, request.backend, request.device, **threads)
    estimator = network.with_config(**request.decoding)
    check_format(file_format, request.hop_s or estimator.model.mel.hop_s)
    for folder in {path.parent for job in jobs for path in (job.output, job.picture) if path and path != STREAM}:
        check_folder(folder)
    if not request.quiet:
        report(PROGRAM, runs_on(estimator))
    outcome = run_jobs(
        estimator,
        jobs,
        file_format,
        hop_s=request.hop_s,
        quiet=request.quiet,
        debug=request.debug,
        reading={"channel": request.channel, "track": request.track},
        warn=lambda sentence: report(PROGRAM, sentence),
    )
    for sentence in outcome.failures:
        report(PROGRAM, sentence)
    if outcome.failures:
        report(PROGRAM, f"{len(outcome.failures)} of {len(jobs)} files failed")
    return len(outcome.failures) + outcome.warnings


def runs_on(estimator: Estimator) -> str:
    """Backend, device and, on the CPU, the number of threads."""
    backend = estimator.backend
    return f"{backend.name} on {backend.device}" + (f", {backend.threads} threads" if backend.threads else "")


def find_inputs(request: Request) -> tuple[list[AudioFile], list[tuple[Path, str]]]:
    """The files to read, and what was passed over in folders, with the reason. "-" is standard input, alone."""
    if "-" in request.paths:
        if len(request.paths) > 1:
            raise UserError("- is standard input, one recording: give it without other files")
        return [AudioFile(STREAM, Path("stdin"))], []
    skipped: list[tuple[Path, str]] = []
    return audio.find_audio(request.paths, skipped=skipped), skipped


def report_skipped(skipped: Sequence[tuple[Path, str]]) -> None:
    """Print what was passed over, a line each, and the number of the rest."""
    for path, reason in skipped[:MOST_NAMED]:
        report(PROGRAM, f"passed over: {reason if str(path) in reason else f'{path}: {reason}'}")
    if len(skipped) > MOST_NAMED:
        report(PROGRAM, f"passed over: {len(skipped) - MOST_NAMED} more files")


def plan_jobs(files: Sequence[AudioFile], request: Request) -> list[Job]:
    """Where each result goes. Raises UserError if flags contradict each other."""
    outputs = plan_outputs(files, request)
    if outputs[0] == STREAM and request.picture == "":
        raise UserError("--plot needs a file's name where the result goes to stdout: give --plot NAME.png")
    pictures = plan_pictures(outputs, request.picture)
    return [Job(file.path, result, picture) for file, result, picture in zip(files, outputs, pictures)]


def check_jobs(jobs: Sequence[Job], request: Request, file_format: str) -> None:
    """Raise UserError if a result would replace an input, another result, or a file of the user's."""
    folders = {os.path.realpath(parent) for parent in {job.source.parent for job in jobs}}
    into_folder = jobs[0].output != Path(request.output)
    careful = {
        parent: into_folder and os.path.realpath(parent) in folders for parent in {job.output.parent for job in jobs}
    }
    outputs = [Output(job.output, file_format, careful[job.output.parent]) for job in jobs if job.output != STREAM]
    outputs += [Output(job.picture, "picture") for job in jobs if job.picture is not None]
    check_outputs(outputs, [*(job.source for job in jobs), request.weights], request.force)


def is_done(job: Job, file_format: str) -> bool:
    """Whether the results of a job are there and complete."""
    return is_complete(job.output, file_format) and (job.picture is None or is_complete(job.picture, "picture"))


def plan_outputs(files: Sequence[AudioFile], request: Request) -> list[Path]:
    """The file for each track: the one named, or one per input in the folder named."""
    single_file = len(files) == 1 and not is_folder(request.paths[0])
    if request.output in STDOUT_NAMES:
        if not single_file:
            raise UserError(f"-o {request.output} is one stream but the input is not one file: give a folder")
        return [STREAM]
    output = Path(request.output)
    suffix = output.suffix[1:].lower()
    if (
        is_folder(request.output)
        or request.output.endswith(("/", "\\"))
        or not (suffix in WRITERS or (single_file and suffix))
    ):
        ending = request.file_format or DEFAULT_FORMAT
        return [output / file.name.parent / f"{file.name.name}.{ending}" for file in files]
    if not single_file:
        raise UserError(f"{output} is a file's name but the input is not one file: give a folder and --format {suffix}")
    if suffix in WRITERS and request.file_format not in (None, suffix):
        raise UserError(f"{output} ends in .{suffix} but --format says {request.file_format}: drop one of them")
    format_of(output, request.file_format)
    return [output]


def is_folder(path: str) -> bool:
    """Whether a path is a folder. Raises UserError for a name that no file can have."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: {reason}; give another name") from error


def plan_pictures(outputs: list[Path], wanted: str | None) -> list[Path | None]:
    """A picture for each result: none (None), beside it (""), or the one file named."""
    if wanted is None:
        return [None] * len(outputs)
    if wanted and len(outputs) > 1:
        raise UserError(f"--plot {wanted} is one picture for {len(outputs)} files: give --plot alone, after the inputs")
    pictures = [Path(wanted)] if wanted else [path.with_name(f"{path.stem}.png") for path in outputs]
    plot.check_picture(pictures[0])
    return list(pictures)
