"""Going over many sound files: one bad file stops nothing, and a bar tells how much of the sound is done.

In this process file after file, or in several at once (`rmvpe.workers`): all that is written and printed is the same.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmvpe import audio
from rmvpe.batch_report import Done, Log, Outcome, Reporter
from rmvpe.errors import UserError, user_message
from rmvpe.estimator import Estimator, Progress
from rmvpe.leftovers import remove_leftovers
from rmvpe.results import STREAM, Computed, Find, Job, describe
from rmvpe.timing import LOADING, READING, WRITING, count_sound, span
from rmvpe.track import F0Track
from rmvpe.worker_process import Report, Work
from rmvpe.workers import Event, Workers

if TYPE_CHECKING:
    from rmvpe.notes.notes import Notes

# Of a source, what to call with its seconds when they are known, and with the share that is done
Compute = Callable[[Path, Callable[[float], None], Progress], Computed]
OpenCompute = Callable[[], tuple[Compute, str | None]]  # makes it, and says on what it computes
REPORT_S = 0.1  # between two words of a worker about how far it is


def run_jobs(
    opening: OpenCompute,
    jobs: Sequence[Job],
    *,
    quiet: bool = False,
    debug: bool = False,
    warn: Log = lambda text: None,
) -> Outcome:
    """Do the jobs, with a bar on stderr if that is a terminal; a user's mistake in a single job is raised.

    opening: gives what a source's results are made of, see `predicting`; the bar is there while it loads. Any other
    exception of a file ends that file alone. `debug` prints its traceback. `warn` gets the sentences about what
    recordings lack, and first on what is computed.
    """
    with Reporter(jobs, quiet, debug, warn) as reporter:
        with span(LOADING):
            compute, headline = opening()
        if headline is not None and not quiet:
            reporter.say(headline)
        for index, job in enumerate(jobs):
            reporter.start(index)
            try:
                done = run_job(job, compute, partial(reporter.learn, index), partial(reporter.move, index))
                reporter.keep(index, done)
            except BrokenPipeError:
                raise
            except Exception as error:
                if len(jobs) == 1 and user_message(error) is not None:
                    raise
                reporter.fail(index, error)
            else:
                reporter.finish(index, done)
        return reporter.outcome


def run_jobs_in_workers(
    opening: OpenCompute,
    jobs: Sequence[Job],
    count: int,
    *,
    threads: int | None = None,
    quiet: bool = False,
    debug: bool = False,
    warn: Log = lambda text: None,
) -> Outcome:
    """As `run_jobs`, in `count` worker processes, each of which gets its `compute` from `opening`.

    threads: of each worker; None for its share of the CPUs. Raises UserError if no worker can be started, and what
    `opening` raises.
    """
    unfinished: set[int] = set()
    workers = Workers(partial(_open, opening), count, threads, name=lambda _, job: str(job.source))
    with Reporter(jobs, quiet, debug, warn) as reporter:
        try:
            with closing(workers.run(map(_without_table, jobs))) as events:
                for event in events:
                    if event.kind == "started":
                        unfinished.add(event.index)
                    elif event.kind in ("done", "failed"):
                        unfinished.discard(event.index)
                    _tell(event, reporter, count)
                    if event.kind in ("lost", "failed") and event.index >= 0:
                        _clean(jobs[event.index])
        finally:
            for index in unfinished:
                _clean(jobs[index])
        return reporter.outcome


def _tell(event: Event, reporter: Reporter, count: int) -> None:
    """Show what happened in one of `count` workers."""
    if event.kind == "ready":
        if event.value is not None:
            reporter.head(f"{event.value} in each of {count} processes")
    elif event.kind == "started":
        reporter.start(event.index)
    elif event.kind == "reported":
        word, value = event.value
        (reporter.learn if word == "learn" else reporter.move)(event.index, value)
    elif event.kind == "lost":
        reporter.say(event.value)
    elif event.kind == "failed":
        reporter.fail(event.index, event.value)
    else:
        try:
            reporter.keep(event.index, event.value)
        except UserError as error:
            reporter.fail(event.index, error)
        else:
            reporter.finish(event.index, event.value)


def _open(opening: OpenCompute) -> tuple[Work, str | None]:
    """The work of a worker, and its headline."""
    compute, headline = opening()
    return partial(_work, compute), headline


def _work(compute: Compute, job: Job, report: Report) -> Done:
    """A job in a worker, which reports how far it is, but not after every step."""
    told_s = 0.0

    def progress(share: float) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= REPORT_S:
            told_s = now_s
            report(("move", share))

    return run_job(job, compute, lambda duration_s: report(("learn", duration_s)), progress)


def _without_table(job: Job) -> Job:
    """The job as a worker gets it: its notes are kept here."""
    return job if job.row is None else replace(job, row=replace(job.row, keep=_forget))


def _forget(notes: "Notes") -> None:
    return None


def _clean(job: Job) -> None:
    """Remove what a worker that is gone has left beside the results of a job."""
    for folder in {result.path.parent for result in job.results}:
        with suppress(OSError):  # it is not there yet
            remove_leftovers(folder)


def run_job(job: Job, compute: Compute, learn: Callable[[float], None], progress: Progress) -> Done:
    """Compute once, write all results: one that cannot be written does not keep the others from it."""
    computed, reasons, row = compute(job.source, learn, progress), [], None
    for result in job.results:
        try:
            with span(WRITING):
                result.make(computed)
        except UserError as error:
            reasons.append(str(error))
    if job.row is not None:
        try:
            job.row.check(computed.notes)
            row = computed.notes
        except UserError as error:
            reasons.append(str(error))
    recording, found = computed.recording, computed.found_notes
    return Done(
        describe(computed),
        warnings=() if recording is None else recording.warnings,
        notes=() if recording is None else recording.notes,
        missing=() if found is None else found.missing,
        row=row,
        reasons=tuple(reasons),
    )


def predicting(
    estimator: Estimator,
    *,
    hop_s: float | None = None,
    reading: Mapping[str, Any] = MappingProxyType({}),
    find: Find = F0Track.notes,
) -> Compute:
    """The `compute` of sound files: one reading, one pass of the network.

    reading: arguments of `rmvpe.audio.read`. find: how notes are found.
    """

    def compute(source: Path, learn: Callable[[float], None], progress: Progress) -> Computed:
        with span(READING):
            recording = read(source, reading)
        count_sound(recording.duration_s)
        learn(recording.duration_s)
        track = estimator.from_recording(recording, hop_s=hop_s, progress=progress)
        return Computed(source, track, recording, find, estimator.config)

    return compute


def read(source: Path, reading: Mapping[str, Any]) -> audio.Recording:
    """The recording of a file, or of all that standard input holds. `reading`: arguments of `rmvpe.audio.read`."""
    return audio.read_stdin(**reading) if source == STREAM else audio.read(source, **reading)
