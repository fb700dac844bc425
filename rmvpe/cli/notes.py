"""`rmvpe notes`: the notes of sound files, or of files that hold an f0, as MIDI, tables and labels."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rmvpe.audio import AudioFile
from rmvpe.batch import Compute, predicting, read
from rmvpe.cli import plan
from rmvpe.cli.inputs import STDIN, add_input_arguments, input_paths
from rmvpe.cli.note_wishes import NoteWishes, add_note_wishes, note_wishes
from rmvpe.cli.options import SETTINGS, Load, NetworkWishes, add_network_arguments, add_theme_argument, network_wishes
from rmvpe.cli.plan import NOTE_ENDINGS, Manner, Skipped, note_ending
from rmvpe.cli.transcriptions import Transcriptions, open_transcriptions
from rmvpe.errors import UserError
from rmvpe.estimator import Progress
from rmvpe.estimator import load as load_estimator
from rmvpe.notes.files import SUFFIXES, WRITERS, format_of
from rmvpe.ownership import is_ours
from rmvpe.pictures.theme import DEFAULT_THEME
from rmvpe.results import STREAM, Computed, Job, Result, note_result
from rmvpe.sonify import hop_of
from rmvpe.sound.files import find_files, is_recording, search
from rmvpe.track import PV_HOP_S, READERS, F0Track
from rmvpe.track_files import MAX_HOP_S

SUMMARY = f"Write the notes of sound files, or of files that hold an f0 ({', '.join(READERS)})."
PROGRAM = "rmvpe notes"
DEFAULT_FORMAT = "mid"
F0_SUFFIXES = tuple(f".{name}" for name in READERS)
INPUT_HELP = "sound files, f0 files, folders to search for them, or names with wildcards (* ? [])"


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    output: a folder, or the file to write; None: only `transcriptions`, the table that gets the notes. file_format: of
    the notes; None for the output's ending. sound: the sound file of the one f0 file, for velocities and repeated
    notes; None without. picture: None for none, "" for one beside each result, else the file.
    """

    paths: Sequence[str]
    output: str | None
    manner: Manner
    network: NetworkWishes = field(default_factory=NetworkWishes)
    file_format: str | None = None
    sound: str | None = None
    transcriptions: Path | None = None
    picture: str | None = None
    theme: str = DEFAULT_THEME
    wishes: NoteWishes = field(default_factory=NoteWishes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe notes`."""
    add = parser.add_argument
    add_input_arguments(parser, INPUT_HELP)
    plan.add_run_arguments(parser, output_required=False)
    add("--format", choices=tuple(WRITERS), help=f"of the notes (default: OUT's ending, else {DEFAULT_FORMAT})")
    text = "the sound of the one f0 file that is given: notes get velocities, and repeated notes are found"
    add("--sound", metavar="SOUND", help=text)
    text = (
        "DiffSinger's transcriptions.csv: when the run ends, rows named as the inputs get note_seq and note_dur; "
        "the one file that may be read and written; -o may be left out"
    )
    add("--transcriptions", metavar="CSV", help=text)
    add("--plot", nargs="?", const="", metavar="PNG", help="draw a picture too, beside each result or to PNG")
    add_theme_argument(parser)
    add_note_wishes(parser)
    add_network_arguments(parser)


def run(arguments: argparse.Namespace, load: Load = load_estimator) -> int:
    """Write the notes that the command line asks for; 1 if some files failed."""
    request = Request(
        paths=input_paths(arguments.inputs, arguments.files_from),
        output=arguments.output,
        manner=plan.manner_of(PROGRAM, arguments),
        network=network_wishes(arguments),
        file_format=arguments.format,
        sound=arguments.sound,
        transcriptions=None if arguments.transcriptions is None else Path(arguments.transcriptions),
        picture=arguments.plot,
        theme=arguments.theme,
        wishes=note_wishes(arguments),
    )
    with plan.timings(PROGRAM, arguments):
        return write_notes(request, load)


def write_notes(request: Request, load: Load = load_estimator) -> int:
    """Write the notes of each input; one bad file does not stop the others. Returns the exit code.

    Raises UserError for what makes the whole request impossible, before any work.
    """
    files, skipped = find_inputs(request.paths, request.transcriptions)
    check_flags(files, request)
    table = None if request.transcriptions is None else open_transcriptions(request.transcriptions, files)
    jobs = plan_jobs(files, request, table)
    others = [request.network.weights, *([request.sound] if request.sound else [])]
    plan.check_jobs(jobs, request.output, others, request.manner.force)
    todo = plan.unfinished(jobs, request.manner)
    problems = 0
    if todo:
        plan.check_folders(todo)
        with nullcontext() if table is None else table.writing(request.manner):
            opening = Opening(request, load, with_sound=not all(has_f0(job.source) for job in todo))
            if opening.with_sound and request.manner.jobs != 1:
                request.network.fetch()
            problems = plan.do_jobs(opening, todo, request.manner, request.network)
    if table is not None:
        table.report_absent(request.manner)
    plan.report_skipped(request.manner, skipped)
    return 1 if problems or skipped else 0


def find_inputs(paths: Sequence[str], table: Path | None = None) -> tuple[list[AudioFile], Skipped]:
    """The files to read. A folder with sound files gives these; one without gives its f0 files, but not the `table`."""
    if STDIN in paths:
        return plan.find_sounds(paths)
    skipped: Skipped = []
    return find_files(paths, partial(files_in, table=table), skipped), skipped


def files_in(folder: Path, skipped: Skipped, table: Path | None = None) -> list[Path]:
    """The sound files of a folder, or if it has none its f0 files. Raises UserError if it has neither."""
    found = sorted(search(folder, is_recording, skipped)) or sorted(search(folder, is_f0_file, skipped))
    if table is not None and table.exists():
        found = [path for path in found if not path.samefile(table)]
    if not found:
        raise UserError(f"{folder} holds no sound file and no f0 file ({', '.join(READERS)}): give another folder")
    return found


def is_f0_file(path: Path, skipped: Skipped) -> bool:
    """Whether a file in a folder is to be read as f0: by its suffix, but for notes that we wrote there."""
    is_result = path.name.lower().endswith(tuple(NOTE_ENDINGS.values())) or is_ours(path, "notes csv")
    return has_f0(path) and path.is_file() and not is_result


def has_f0(path: Path) -> bool:
    """Whether a file is one of f0, by its suffix."""
    return path.suffix.lower() in F0_SUFFIXES


def check_flags(files: Sequence[AudioFile], request: Request) -> None:
    """Raise UserError for flags that do not fit the inputs."""
    n_f0 = sum(has_f0(file.path) for file in files)
    if request.sound is not None and (n_f0 != 1 or len(files) != 1):
        raise UserError(f"--sound {request.sound} belongs to one f0 file: give one file with it ({', '.join(READERS)})")
    if n_f0 == len(files) and request.network.decoding:
        name = next(name for name in SETTINGS if name in request.network.decoding)
        flag = name.removesuffix("_hz").replace("_", "-")  # --f0-min is f0_min_hz in Python
        raise UserError(f"--{flag} decides the f0 of sound files, and only f0 files are given: drop it")


def plan_jobs(files: Sequence[AudioFile], request: Request, table: Transcriptions | None) -> list[Job]:
    """Where the notes of each file go. Raises UserError if flags contradict each other."""
    rows = [None if table is None else table.row_of(file.path) for file in files]
    if request.output is None:
        check_table_alone(request)
        return [Job(file.path, (), row) for file, row in zip(files, rows) if row is not None]
    results = plan_results(files, request, request.output)
    return [Job(file.path, made, row) for file, made, row in zip(files, results, rows)]


def check_table_alone(request: Request) -> None:
    """Raise UserError for what is of no use without -o."""
    if request.transcriptions is None:
        raise UserError("no place for the notes is given: give -o OUT, or --transcriptions CSV")
    for flag, given in (("--format", request.file_format), ("--plot", request.picture)):
        if given is not None:
            raise UserError(f"{flag} is about files of notes, and only {request.transcriptions} is written: add -o OUT")
    request.wishes.check(["transcriptions"], "-o OUT")


def plan_results(files: Sequence[AudioFile], request: Request, output: str) -> list[tuple[Result, ...]]:
    """The files that are written for each file."""
    ending = note_ending(request.file_format or DEFAULT_FORMAT)
    outputs = plan.plan_outputs(files, request.paths, output, [f".{name}" for name in SUFFIXES], ending)
    file_format = request.file_format or DEFAULT_FORMAT
    if outputs == [Path(output)] and outputs != [STREAM]:
        file_format = format_of(outputs[0], request.file_format)
        suffix = outputs[0].suffix[1:].lower()
        said = SUFFIXES.get(suffix, file_format)
        if said != file_format and suffix != Path(note_ending(file_format)).suffix[1:].lower():
            raise UserError(f"{outputs[0]} ends in .{suffix} but --format says {file_format}: drop one of them")
    request.wishes.check([file_format], "notes")
    columns = [[note_result(output, file_format, request.wishes.options) for output in outputs]]
    columns += plan.pictures(outputs, request.picture, request.theme, with_notes=True, ending=note_ending(file_format))
    return list(zip(*columns))


@dataclass(frozen=True)
class Opening:
    """Loads the network of a request, here or in a worker, if there are sound files among the sources."""

    request: Request
    load: Load
    with_sound: bool

    def __call__(self) -> tuple[Compute, str | None]:
        """How the notes of a source are computed, by the network or from its f0, and on what."""
        network, find = self.request.network, self.request.wishes.find
        if not self.with_sound:
            return self.from_f0, None
        estimator = network.estimator(self.load)
        sound = predicting(estimator, hop_s=network.hop_s, reading=network.reading, find=find)

        def compute(source: Path, learn: Callable[[float], None], progress: Progress) -> Computed:
            return (self.from_f0 if has_f0(source) else sound)(source, learn, progress)

        return compute, plan.runs_on(estimator)

    def from_f0(self, source: Path, learn: Callable[[float], None], progress: Progress) -> Computed:
        """The notes of a file that holds an f0."""
        network = self.request.network
        track = read_f0(source, network.hop_s or PV_HOP_S)
        learn(float(track.time_s[-1]) if len(track) else 0.0)
        recording = None if self.request.sound is None else read(Path(self.request.sound), network.reading)
        return Computed(source, track, recording, self.request.wishes.find)


def read_f0(path: Path, hop_s: float) -> F0Track:
    """The track of an f0 file. Raises UserError as `F0Track.read`, or for times that are not in seconds."""
    track = F0Track.read(path, hop_s)
    step_s = hop_of(track)
    if step_s > MAX_HOP_S:
        raise UserError(f"{path} has a frame every {step_s:g} s: give its times in seconds, not in milliseconds")
    return track
