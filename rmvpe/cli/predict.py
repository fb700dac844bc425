"""`rmvpe predict`: a track for each sound file, and if wanted its notes, MIDI, picture and sound, from one pass."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rmvpe.audio import AudioFile
from rmvpe.backends import BACKENDS
from rmvpe.batch import predicting
from rmvpe.cli import plan
from rmvpe.cli.inputs import add_input_arguments, input_paths
from rmvpe.cli.note_options import NoteWishes, add_note_arguments, note_wishes
from rmvpe.cli.options import WEIGHTS_HELP, Load, add_decode_arguments, decode_settings
from rmvpe.cli.plan import NOTE_ENDINGS, SOUND_ENDING, Manner
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS
from rmvpe.estimator import load as load_estimator
from rmvpe.results import STREAM, Job, Result, f0_result, note_result, sound_result
from rmvpe.track import WRITERS, check_format, check_hop, format_of

SUMMARY = "Write the pitch (f0) of sound files."
PROGRAM = "rmvpe predict"
DEFAULT_FORMAT = "csv"
SOUNDS = ("f0", "notes")


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    output: a folder, or the file to write. hop_s: None for the network's own. decoding: fields of `DecodeConfig`.
    picture: None for none, "" for one beside each result, else the file. notes, midi: write them beside each result.
    sound: None, or "f0" or "notes" for that as a tone, beside each result. file_format: None for the output's ending.
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
    notes: bool = False
    midi: bool = False
    sound: str | None = None
    wishes: NoteWishes = field(default_factory=NoteWishes)
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
    add("--notes", action="store_true", help="write the notes too, beside each result as NAME.notes.csv")
    add("--midi", action="store_true", help="write the notes as MIDI too, beside each result as NAME.mid")
    text = "write a sound too, beside each result as NAME.sonified.wav: the recording left, f0 (default) or notes right"
    add("--sonify", nargs="?", const=SOUNDS[0], choices=SOUNDS, help=text)
    text = "leave out files whose results are complete, to go on with a run that was stopped"
    add("--skip-existing", action="store_true", help=text)
    add("--force", action="store_true", help="replace files that this command did not write")
    add("--format", choices=tuple(WRITERS), help=f"of the results (default: OUT's ending, else {DEFAULT_FORMAT})")
    add_note_arguments(parser)


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
        notes=arguments.notes,
        midi=arguments.midi,
        sound=arguments.sonify,
        wishes=note_wishes(arguments),
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
    """Write what is asked for of each sound file; one bad file does not stop the others. Returns the exit code.

    Raises UserError for what makes the whole request impossible, before any work.
    """
    manner = Manner(PROGRAM, request.skip_existing, request.force, request.quiet, request.debug)
    files, skipped = plan.find_sounds(request.paths)
    if request.hop_s is not None:
        check_hop(request.hop_s)
    jobs = plan_jobs(files, request)
    plan.check_jobs(jobs, request.output, [request.weights], request.force)
    todo = plan.unfinished(jobs, manner)
    problems = predict_jobs(todo, request, load, manner) if todo else 0
    plan.report_skipped(manner, skipped)
    return 1 if problems or skipped else 0


def predict_jobs(jobs: Sequence[Job], request: Request, load: Load, manner: Manner) -> int:
    """Do the jobs; returns how many failures and warnings there were."""
    threads = {} if request.threads is None else {"threads": request.threads}
    network = load(request.weights, request.backend, request.device, **threads)
    estimator = network.with_config(**request.decoding)
    check_format(jobs[0].results[0].kind, request.hop_s or estimator.model.mel.hop_s)
    plan.check_folders(jobs)
    if not request.quiet:
        manner.say(plan.runs_on(estimator))
    reading = {"channel": request.channel, "track": request.track}
    compute = predicting(estimator, hop_s=request.hop_s, reading=reading, find=request.wishes.find)
    return plan.do_jobs(compute, jobs, manner)


def plan_jobs(files: Sequence[AudioFile], request: Request) -> list[Job]:
    """Where each result goes. Raises UserError if flags contradict each other."""
    outputs = plan_outputs(files, request)
    file_format = request.file_format or (DEFAULT_FORMAT if outputs[0] == STREAM else format_of(outputs[0]))
    columns = [[f0_result(output, file_format) for output in outputs], *plan.pictures(outputs, request.picture)]
    columns += plan_others(outputs, request)
    return [Job(file.path, results) for file, results in zip(files, zip(*columns))]


def plan_others(outputs: Sequence[Path], request: Request) -> list[list[Result]]:
    """Notes, MIDI and sound beside each track, a column of results for each."""
    wanted = {"--notes": request.notes, "--midi": request.midi, "--sonify": request.sound is not None}
    flags = [flag for flag, is_wanted in wanted.items() if is_wanted]
    if flags and outputs[0] == STREAM:
        raise UserError(f"{flags[0]} writes a file beside the result, which goes to stdout: give -o a file or a folder")
    formats = [name for name, is_wanted in (("csv", request.notes), ("mid", request.midi)) if is_wanted]
    heard = [""] if request.sound == "notes" else []
    request.wishes.check([*formats, *heard], "--notes, --midi or --sonify notes")
    makers: list[tuple[str, Callable[[Path], Result]]] = [
        (NOTE_ENDINGS[name], partial(note_result, file_format=name, options=request.wishes.options)) for name in formats
    ]
    if request.sound is not None:
        makers.append((SOUND_ENDING, partial(sound_result, of_notes=request.sound == "notes")))
    return [[make(plan.beside(output, ending)) for output in outputs] for ending, make in makers]


def plan_outputs(files: Sequence[AudioFile], request: Request) -> list[Path]:
    """The file for each track: the one named, or one per input in the folder named."""
    ending = request.file_format or DEFAULT_FORMAT
    outputs = plan.plan_outputs(files, request.paths, request.output, [f".{name}" for name in WRITERS], f".{ending}")
    if outputs == [Path(request.output)] and outputs != [STREAM]:
        suffix = outputs[0].suffix[1:].lower()
        if suffix in WRITERS and request.file_format not in (None, suffix):
            raise UserError(f"{outputs[0]} ends in .{suffix} but --format says {request.file_format}: drop one of them")
        format_of(outputs[0], request.file_format)
    return outputs
