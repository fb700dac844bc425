"""What `rmvpe predict` and `rmvpe notes` do alike: find inputs, name their results, check them, run, report."""

import argparse
import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmvpe import audio
from rmvpe.audio import AudioFile
from rmvpe.batch import OpenCompute, run_jobs, run_jobs_in_workers
from rmvpe.cli.options import NetworkWishes
from rmvpe.errors import UserError, report
from rmvpe.estimator import Estimator
from rmvpe.files import check_folder
from rmvpe.ownership import Output, check_outputs, is_complete
from rmvpe.results import STREAM, Job, Result, picture_result
from rmvpe.timing import Timings, collecting
from rmvpe.workers import AUTO, checked_jobs

STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
# What follows the name of the input, by the format of `rmvpe.notes.files`, where it is not the format's name: song.csv
# is the f0 of song.wav, and song.txt may be its words
NOTE_ENDINGS = {
    "csv": ".notes.csv",
    "json": ".notes.json",
    "textgrid": ".TextGrid",
    "labels": ".labels.txt",
}
SOUND_ENDING = ".sonified.wav"
MOST_NAMED = 10  # files passed over that are named one by one
Skipped = list[tuple[Path, str]]


@dataclass(frozen=True)
class Manner:
    """How a command goes over its files.

    program: its name in messages. skip_existing: leave files alone whose results are complete. force: replace files
    that we did not write. jobs: how many files at once, or "auto".
    """

    program: str
    skip_existing: bool = False
    force: bool = False
    quiet: bool = False
    debug: bool = False
    jobs: int | str = 1

    def say(self, sentence: str) -> None:
        """Print a sentence on stderr."""
        report(self.program, sentence)


def add_run_arguments(parser: argparse.ArgumentParser, output_required: bool = True) -> None:
    """-o, --skip-existing, --force, --jobs and --timings."""
    add = parser.add_argument
    text = "a folder, or for a single file the file to write; -: stdout"
    add("-o", "--output", required=output_required, metavar="OUT", help=text)
    text = "leave out files whose results are complete, to go on with a run that was stopped"
    add("--skip-existing", action="store_true", help=text)
    add("--force", action="store_true", help="replace files that this command did not write")
    text = "files at once, each in a process of its own; auto: one for each CPU (default: %(default)s)"
    add("--jobs", type=jobs_of, default=1, metavar="N", help=text)
    add("--timings", action="store_true", help="print in the end, on stderr, where the time went")


def jobs_of(text: str) -> int | str:
    """The number that --jobs names, or "auto"."""
    try:
        checked_jobs(jobs := text if text == AUTO else int(text))
    except ValueError as error:  # UserError too
        reason = str(error) if isinstance(error, UserError) else f"{text!r} is no number: give one from 1, or {AUTO}"
        raise argparse.ArgumentTypeError(reason) from error
    return jobs


def manner_of(program: str, arguments: argparse.Namespace) -> Manner:
    """The manner that the command line asks for."""
    given = {name: getattr(arguments, name) for name in ("skip_existing", "force", "quiet", "debug", "jobs")}
    return Manner(program, **given)


@contextmanager
def timings(program: str, arguments: argparse.Namespace) -> Iterator[None]:
    """With --timings, prints what the time inside went into. Raises UserError for --jobs with it."""
    if not arguments.timings:
        yield
        return
    if arguments.jobs != 1:
        raise UserError("--timings measures one process, and --jobs starts several: drop one of them")
    with collecting(Timings(arguments.started_s)) as measured:
        yield
    whole, *spans = measured.table()
    report(program, whole)
    print("\n".join(spans), file=sys.stderr)


def find_sounds(paths: Sequence[str]) -> tuple[list[AudioFile], Skipped]:
    """The files to read, and what was passed over in folders, with the reason. "-" is standard input, alone."""
    if "-" in paths:
        if len(paths) > 1:
            raise UserError("- is standard input, one recording: give it without other files")
        return [AudioFile(STREAM, Path("stdin"))], []
    skipped: Skipped = []
    return audio.find_audio(paths, skipped=skipped), skipped


def report_skipped(manner: Manner, skipped: Sequence[tuple[Path, str]]) -> None:
    """Print what was passed over, a line each, and the number of the rest."""
    for path, reason in skipped[:MOST_NAMED]:
        manner.say(f"passed over: {reason if str(path) in reason else f'{path}: {reason}'}")
    if len(skipped) > MOST_NAMED:
        manner.say(f"passed over: {len(skipped) - MOST_NAMED} more files")


def plan_outputs(
    files: Sequence[AudioFile], paths: Sequence[str], output: str, suffixes: Collection[str], ending: str
) -> list[Path]:
    """The file for each first result: the one named, or one per input in the folder named.

    paths: the inputs as they were given. suffixes: with a dot, what makes of `output` a file's name. ending: of the
    names in a folder.
    """
    single_file = len(files) == 1 and not is_folder(paths[0])
    if output in STDOUT_NAMES:
        if not single_file:
            raise UserError(f"-o {output} is one stream but the input is not one file: give a folder")
        return [STREAM]
    suffix = Path(output).suffix.lower()
    known = suffix in suffixes
    if is_folder(output) or output.endswith(("/", "\\")) or not (known or (single_file and suffix)):
        return [Path(output) / file.name.parent / f"{file.name.name}{ending}" for file in files]
    if not single_file:
        raise UserError(
            f"{Path(output)} is a file's name but the input is not one file: give a folder and --format {suffix[1:]}"
        )
    return [Path(output)]


def pictures(
    outputs: Sequence[Path], wanted: str | None, theme: str, with_notes: bool, ending: str | None = None
) -> list[list[Result]]:
    """A picture for each first result, as one column of results: none (None), beside it (""), or the one file named.

    ending: of the first results, if it is more than their suffix.
    """
    if wanted is None:
        return []
    if wanted == "" and outputs[0] == STREAM:
        raise UserError("--plot needs a file's name where the result goes to stdout: give --plot NAME.png")
    if wanted and len(outputs) > 1:
        raise UserError(f"--plot {wanted} is one picture for {len(outputs)} files: give --plot alone, after the inputs")
    paths = [Path(wanted)] if wanted else [beside(output, ".png", ending) for output in outputs]
    from rmvpe import plot

    plot.check_picture(paths[0])
    return [[picture_result(path, theme, with_notes) for path in paths]]


def note_ending(file_format: str) -> str:
    """What follows the name of the input in the name of a file of notes."""
    return NOTE_ENDINGS.get(file_format, f".{file_format}")


def beside(output: Path, ending: str, instead_of: str | None = None) -> Path:
    """The file of the same name with another ending, in place of `instead_of` or by default of the suffix."""
    name = output.name.removesuffix(instead_of or "")
    return output.with_name(f"{output.stem if name == output.name else name}{ending}")


def is_folder(path: str) -> bool:
    """Whether a path is a folder. Raises UserError for a name that no file can have."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: {reason}; give another name") from error


def check_jobs(jobs: Sequence[Job], output: str | None, inputs: Iterable[str | os.PathLike[str]], force: bool) -> None:
    """Raise UserError if a result would replace an input, another result, or a file of the user's.

    output: as it was given; None where only tables are written.
    """
    folders = {os.path.realpath(parent) for parent in {job.source.parent for job in jobs}}
    into_folder = output is not None and jobs[0].results[0].path != Path(output)
    written = [result for job in jobs for result in job.results if result.path != STREAM]
    careful = {
        parent: into_folder and os.path.realpath(parent) in folders for parent in {made.path.parent for made in written}
    }
    outputs = [Output(made.path, made.kind, careful[made.path.parent]) for made in written]
    outputs += [Output(table, "transcriptions") for table in tables_of(jobs)]
    check_outputs(outputs, [*(job.source for job in jobs), *inputs], force)


def tables_of(jobs: Sequence[Job]) -> list[Path]:
    """The tables that have rows for the jobs."""
    return list(dict.fromkeys(job.row.table for job in jobs if job.row is not None))


def is_done(job: Job) -> bool:
    """Whether all results of a job are there and complete, and its row has notes."""
    complete = all(is_complete(result.path, result.kind) for result in job.results)
    return complete and (job.row is None or job.row.filled)


def unfinished(jobs: Sequence[Job], manner: Manner) -> list[Job]:
    """The jobs that are left to do; says how many are not."""
    todo = [job for job in jobs if not (manner.skip_existing and is_done(job))]
    if len(todo) < len(jobs) and not manner.quiet:
        manner.say(f"{len(jobs) - len(todo)} of {len(jobs)} files skipped: their results are complete")
    return todo


def check_folders(jobs: Sequence[Job]) -> None:
    """Raise UserError unless all results can be written."""
    paths = [result.path for job in jobs for result in job.results if result.path != STREAM]
    for folder in {path.parent for path in (*paths, *tables_of(jobs))}:
        check_folder(folder)


def do_jobs(opening: OpenCompute, jobs: Sequence[Job], manner: Manner, network: NetworkWishes) -> int:
    """Do the jobs and print what went wrong; returns how many failures and warnings there were."""
    count = min(len(jobs), 1 if manner.jobs == 1 else checked_jobs(manner.jobs, network.on_cpu()))
    options: dict[str, Any] = {"quiet": manner.quiet, "debug": manner.debug, "warn": manner.say}
    if count > 1:
        outcome = run_jobs_in_workers(opening, jobs, count, threads=network.threads, **options)
    else:
        outcome = run_jobs(opening, jobs, **options)
    if not manner.quiet:
        for sentence in outcome.missing:
            manner.say(sentence)
    for sentence in outcome.failures:
        manner.say(sentence)
    if outcome.failures:
        manner.say(f"{len(outcome.failures)} of {len(jobs)} files failed")
    return len(outcome.failures) + outcome.warnings


def runs_on(estimator: Estimator) -> str:
    """Backend, device and, on the CPU, the number of threads."""
    backend = estimator.backend
    return f"{backend.name} on {backend.device}" + (f", {backend.threads} threads" if backend.threads else "")
