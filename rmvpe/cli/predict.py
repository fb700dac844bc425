"""`rmvpe predict`: a track for each sound file, and if wanted its notes, MIDI, picture and sound, from one pass."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rmvpe.audio import AudioFile
from rmvpe.batch import Compute, predicting
from rmvpe.cli import plan
from rmvpe.cli.inputs import add_input_arguments, input_paths
from rmvpe.cli.note_wishes import NoteWishes, add_note_wishes, note_wishes
from rmvpe.cli.options import Load, NetworkWishes, add_network_arguments, add_theme_argument, network_wishes
from rmvpe.cli.plan import SOUND_ENDING, Manner
from rmvpe.errors import UserError
from rmvpe.estimator import load as load_estimator
from rmvpe.pictures.theme import DEFAULT_THEME
from rmvpe.results import STREAM, Job, Result, f0_result, note_result, sound_result
from rmvpe.track import WRITERS, check_format, format_of

SUMMARY = "Write the pitch (f0) of sound files."
PROGRAM = "rmvpe predict"
DEFAULT_FORMAT = "csv"
ENDINGS = {"pitchtier": ".PitchTier"}  # of names in a folder, where it is not the format's name
SOUNDS = ("f0", "notes")


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    output: a folder, or the file to write. file_format: None for the output's ending. picture: None for none, "" for
    one beside each result, else the file. notes, midi: write them beside each result. sound: None, or "f0" or "notes"
    for that as a tone, beside each result.
    """

    paths: Sequence[str]
    output: str
    manner: Manner
    network: NetworkWishes = field(default_factory=NetworkWishes)
    file_format: str | None = None
    picture: str | None = None
    theme: str = DEFAULT_THEME
    notes: bool = False
    midi: bool = False
    sound: str | None = None
    wishes: NoteWishes = field(default_factory=NoteWishes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe predict`."""
    add = parser.add_argument
    add_input_arguments(parser)
    plan.add_run_arguments(parser)
    add("--format", choices=tuple(WRITERS), help=f"of the results (default: OUT's ending, else {DEFAULT_FORMAT})")
    add_network_arguments(parser)
    add("--plot", nargs="?", const="", metavar="PNG", help="draw a picture too, beside each result or to PNG")
    add_theme_argument(parser)
    add("--notes", action="store_true", help="write the notes too, beside each result as NAME.notes.csv")
    add("--midi", action="store_true", help="write the notes as MIDI too, beside each result as NAME.mid")
    text = "write a sound too, beside each result as NAME.sonified.wav: the recording left, f0 (default) or notes right"
    add("--sonify", nargs="?", const=SOUNDS[0], choices=SOUNDS, help=text)
    add_note_wishes(parser)


def run(arguments: argparse.Namespace, load: Load = load_estimator) -> int:
    """Predict what the command line asks for; 1 if some files failed."""
    request = Request(
        paths=input_paths(arguments.inputs, arguments.files_from),
        output=arguments.output,
        manner=plan.manner_of(PROGRAM, arguments),
        network=network_wishes(arguments),
        file_format=arguments.format,
        picture=arguments.plot,
        theme=arguments.theme,
        notes=arguments.notes,
        midi=arguments.midi,
        sound=arguments.sonify,
        wishes=note_wishes(arguments),
    )
    with plan.timings(PROGRAM, arguments):
        return predict(request, load)


def predict(request: Request, load: Load = load_estimator) -> int:
    """Write what is asked for of each sound file; one bad file does not stop the others. Returns the exit code.

    Raises UserError for what makes the whole request impossible, before any work.
    """
    files, skipped = plan.find_sounds(request.paths)
    jobs = plan_jobs(files, request)
    plan.check_jobs(jobs, request.output, [request.network.weights], request.manner.force)
    todo = plan.unfinished(jobs, request.manner)
    problems = 0
    if todo:
        plan.check_folders(todo)
        if request.manner.jobs != 1:
            request.network.fetch()
        opening = Opening(request, load, todo[0].results[0].kind)
        problems = plan.do_jobs(opening, todo, request.manner, request.network)
    plan.report_skipped(request.manner, skipped)
    return 1 if problems or skipped else 0


@dataclass(frozen=True)
class Opening:
    """Loads the network of a request, here or in a worker; kind: the format of the tracks.

    Raises UserError if the network has another distance of frames than the format.
    """

    request: Request
    load: Load
    kind: str

    def __call__(self) -> tuple[Compute, str]:
        """How a track is computed, and on what."""
        network = self.request.network
        estimator = network.estimator(self.load)
        check_format(self.kind, network.hop_s or estimator.model.mel.hop_s)
        find = self.request.wishes.find
        compute = predicting(estimator, hop_s=network.hop_s, reading=network.reading, find=find)
        return compute, plan.runs_on(estimator)


def plan_jobs(files: Sequence[AudioFile], request: Request) -> list[Job]:
    """Where each result goes. Raises UserError if flags contradict each other."""
    outputs = plan_outputs(files, request)
    file_format = request.file_format or (DEFAULT_FORMAT if outputs[0] == STREAM else format_of(outputs[0]))
    with_notes = request.notes or request.midi or request.sound == "notes"
    columns = [[f0_result(output, file_format) for output in outputs]]
    columns += plan.pictures(outputs, request.picture, request.theme, with_notes)
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
    options = request.wishes.options
    columns = [
        [note_result(plan.beside(output, plan.note_ending(name)), name, options) for output in outputs]
        for name in formats
    ]
    if request.sound is not None:
        of_notes = request.sound == "notes"
        columns += [[sound_result(plan.beside(output, SOUND_ENDING), of_notes) for output in outputs]]
    return columns


def plan_outputs(files: Sequence[AudioFile], request: Request) -> list[Path]:
    """The file for each track: the one named, or one per input in the folder named."""
    wanted = request.file_format or DEFAULT_FORMAT
    ending = ENDINGS.get(wanted, f".{wanted}")
    outputs = plan.plan_outputs(files, request.paths, request.output, [f".{name}" for name in WRITERS], ending)
    if outputs == [Path(request.output)] and outputs != [STREAM]:
        suffix = outputs[0].suffix[1:].lower()
        if suffix in WRITERS and request.file_format not in (None, suffix):
            raise UserError(f"{outputs[0]} ends in .{suffix} but --format says {request.file_format}: drop one of them")
        format_of(outputs[0], request.file_format)
    return outputs
