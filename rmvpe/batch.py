"""Going over many sound files: one bad file stops nothing, and a bar tells how much of the sound is done."""

import os
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rmvpe import audio
from rmvpe.errors import UserError, failure_message, user_message
from rmvpe.estimator import Estimator, Progress
from rmvpe.results import STREAM, Computed, Find, Job, describe, names
from rmvpe.text import printable
from rmvpe.track import F0Track

BAR = "{desc} {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
# Bytes per second of sound by suffix, before a file of that suffix has been read: typical for music
BYTES_PER_S = {".wav": 176_400.0, ".flac": 90_000.0, ".aif": 176_400.0, ".aiff": 176_400.0}
COMPRESSED_BYTES_PER_S = 20_000.0  # of mp3, ogg, m4a and what else there is
Log = Callable[[str], None]
# Of a source, what to call with its seconds when they are known, and with the share that is done
Compute = Callable[[Path, Callable[[float], None], Progress], Computed]


@dataclass
class Outcome:
    """How a run went.

    failures: a sentence for each file that was not done. warnings: how many were printed. missing: each thing that the
    notes of a file were found without, once.
    """

    failures: list[str] = field(default_factory=list)
    warnings: int = 0
    missing: list[str] = field(default_factory=list)


class Workload:
    """Seconds of sound in files that have not been read yet, from their sizes; what is read corrects the rest."""

    def __init__(self, sources: Sequence[Path]) -> None:
        self._sizes = [_size(path) for path in sources]
        self._suffixes = [path.suffix.lower() for path in sources]
        self._waiting: dict[str, float] = defaultdict(float)  # bytes by suffix
        for suffix, size in zip(self._suffixes, self._sizes):
            self._waiting[suffix] += size
        self._seen: dict[str, tuple[float, float]] = {}  # suffix -> bytes, seconds
        self.done_s = 0.0
        self._current = 0.0

    def start(self, index: int) -> None:
        """File number `index` is being read."""
        self._current = self._seconds(self._suffixes[index], self._sizes[index])
        self._waiting[self._suffixes[index]] -= self._sizes[index]

    def learn(self, index: int, duration_s: float) -> None:
        """File number `index` lasts `duration_s`."""
        suffix = self._suffixes[index]
        size, seconds = self._seen.get(suffix, (0.0, 0.0))
        self._seen[suffix] = (size + self._sizes[index], seconds + duration_s)
        self._current = duration_s

    def finish(self) -> None:
        """The current file is done, or failed."""
        self.done_s += self._current
        self._current = 0.0

    def position(self, share: float) -> tuple[float, float]:
        """Seconds of sound that are done, with `share` of the current file, and all of them."""
        rest = sum(self._seconds(suffix, size) for suffix, size in self._waiting.items())
        return self.done_s + share * self._current, max(self.done_s + self._current + rest, 1e-9)

    def _seconds(self, suffix: str, size: float) -> float:
        known_size, seconds = self._seen.get(suffix, (0.0, 0.0))
        if known_size and seconds:
            return size * seconds / known_size
        return size / BYTES_PER_S.get(suffix, COMPRESSED_BYTES_PER_S)


def _size(path: Path) -> float:
    try:
        return float(max(1, os.stat(path).st_size))
    except OSError:
        return 1.0


def run_jobs(
    compute: Compute,
    jobs: Sequence[Job],
    *,
    quiet: bool = False,
    debug: bool = False,
    warn: Log = lambda text: None,
) -> Outcome:
    """Do the jobs, with a bar on stderr if that is a terminal; a user's mistake in a single job is raised.

    compute: what a source's results are made of, see `predicting`. Any other exception of a file ends that file alone.
    `debug` prints its traceback. `warn` gets the sentences about what recordings lack.
    """
    from tqdm import tqdm

    outcome, work = Outcome(), Workload([job.source for job in jobs])
    # Averaged over the whole run: files differ, and so do the parts of one
    with tqdm(total=1.0, disable=True if quiet else None, bar_format=BAR, dynamic_ncols=True, smoothing=0) as bar:
        for index, job in enumerate(jobs):
            bar.set_description_str(printable(job.source.name))
            work.start(index)
            progress = bar_progress(bar, work, f"{index}/{len(jobs)} files")
            progress(0.0)
            try:
                computed = run_job(job, compute, partial(work.learn, index), progress)
            except BrokenPipeError:
                raise
            except Exception as error:
                if len(jobs) == 1 and user_message(error) is not None:
                    raise
                if debug:
                    bar.write(traceback.format_exc(), file=sys.stderr)
                outcome.failures.append(failure_message(job.source, error))
            else:
                tell(bar, job, computed, quiet, warn)
                outcome.warnings += 0 if computed.recording is None else len(computed.recording.warnings)
                missing = () if computed.found_notes is None else computed.found_notes.missing
                outcome.missing += [sentence for sentence in missing if sentence not in outcome.missing]
            work.finish()
            bar_progress(bar, work, f"{index + 1}/{len(jobs)} files")(0.0)
    return outcome


def run_job(job: Job, compute: Compute, learn: Callable[[float], None], progress: Progress) -> Computed:
    """Compute once, write all results: one that cannot be written does not keep the others from it.

    Raises UserError with the reasons in the end.
    """
    computed, reasons = compute(job.source, learn, progress), []
    makers = [result.make for result in job.results] + ([] if job.row is None else [job.row.keep])
    for make in makers:
        try:
            make(computed)
        except UserError as error:
            reasons.append(str(error))
    if reasons:
        raise UserError("; ".join(reasons))
    return computed


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
        recording = read(source, reading)
        learn(recording.duration_s)
        track = estimator.from_recording(recording, hop_s=hop_s, progress=progress)
        return Computed(source, track, recording, find, estimator.config)

    return compute


def tell(bar: Any, job: Job, computed: Computed, quiet: bool, warn: Log) -> None:
    """Print what became of a file: on stdout, or on stderr if a result itself went to stdout."""
    if not quiet:
        line = f"{printable(job.source)} -> {names(job)}: {describe(computed)}"
        bar.write(line, file=sys.stderr if job.to_stdout else sys.stdout)
    recording = computed.recording
    for sentence in () if recording is None else (*recording.warnings, *(() if quiet else recording.notes)):
        with bar.external_write_mode(file=sys.stderr):
            warn(sentence)


def read(source: Path, reading: Mapping[str, Any]) -> audio.Recording:
    """The recording of a file, or of all that standard input holds. `reading`: arguments of `rmvpe.audio.read`."""
    return audio.read_stdin(**reading) if source == STREAM else audio.read(source, **reading)


def bar_progress(bar: Any, work: Workload, files: str) -> Progress:
    """Moves the bar to the share of all sound that is done."""

    def progress(share: float) -> None:
        done, total = work.position(share)
        bar.set_postfix_str(files, refresh=False)
        bar.n = min(1.0, done / total)
        bar.refresh()

    return progress
