"""Going over many sound files: one bad file stops nothing, and a bar tells how much of the sound is done."""

import os
import shutil
import sys
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rmvpe import audio, plot
from rmvpe.errors import failure_message, user_message
from rmvpe.estimator import Estimator, Progress
from rmvpe.text import printable
from rmvpe.track import F0Track

STREAM = Path("-")  # standard input as a source, standard output as an output
BAR = "{desc} {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
# Bytes per second of sound by suffix, before a file of that suffix has been read: typical for music
BYTES_PER_S = {".wav": 176_400.0, ".flac": 90_000.0, ".aif": 176_400.0, ".aiff": 176_400.0}
COMPRESSED_BYTES_PER_S = 20_000.0  # of mp3, ogg, m4a and what else there is
Log = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One file to predict: where it is read, where its track goes, and its picture if one is wanted."""

    source: Path
    output: Path
    picture: Path | None


@dataclass
class Outcome:
    """How a run went. failures: a sentence for each file that was not done. warnings: how many were printed."""

    failures: list[str] = field(default_factory=list)
    warnings: int = 0


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
    estimator: Estimator,
    jobs: Sequence[Job],
    file_format: str,
    *,
    hop_s: float | None = None,
    quiet: bool = False,
    debug: bool = False,
    reading: Mapping[str, Any] = MappingProxyType({}),
    warn: Log = lambda text: None,
) -> Outcome:
    """Do the jobs, with a bar on stderr if that is a terminal; a user's mistake in a single job is raised.

    Any other exception of a file ends that file alone. `debug` prints its traceback. `warn` gets the sentences about
    what recordings lack.
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
                recording = read(job.source, reading)
                work.learn(index, recording.duration_s)
                track = run_job(estimator, job, recording, hop_s, file_format, progress)
            except BrokenPipeError:
                raise
            except Exception as error:
                if len(jobs) == 1 and user_message(error) is not None:
                    raise
                if debug:
                    bar.write(traceback.format_exc(), file=sys.stderr)
                outcome.failures.append(failure_message(job.source, error))
            else:
                tell(bar, job, recording, track, quiet, warn)
                outcome.warnings += len(recording.warnings)
            work.finish()
            bar_progress(bar, work, f"{index + 1}/{len(jobs)} files")(0.0)
    return outcome


def tell(bar: Any, job: Job, recording: audio.Recording, track: F0Track, quiet: bool, warn: Log) -> None:
    """Print what became of a file: on stdout, or on stderr if the track itself went to stdout."""
    if not quiet:
        line = f"{printable(job.source)} -> {printable(job.output)}: {describe(track)}"
        bar.write(line, file=sys.stderr if job.output == STREAM else sys.stdout)
    for sentence in (*recording.warnings, *(() if quiet else recording.notes)):
        with bar.external_write_mode(file=sys.stderr):
            warn(sentence)


def read(source: Path, reading: Mapping[str, Any]) -> audio.Recording:
    """The recording of a file, or of all that standard input holds. `reading`: arguments of `rmvpe.audio.read`."""
    return audio.read_stdin(**reading) if source == STREAM else audio.read(source, **reading)


def run_job(
    estimator: Estimator,
    job: Job,
    recording: audio.Recording,
    hop_s: float | None,
    file_format: str,
    progress: Progress,
) -> F0Track:
    """Predict, write, draw."""
    track = estimator.from_recording(recording, hop_s=hop_s, progress=progress)
    if job.output == STREAM:
        write_stdout(track, file_format)
    else:
        track.write(job.output, file_format)
    if job.picture is not None:
        title = "standard input" if job.source == STREAM else job.source.name
        plot.plot_track(recording.samples, track, job.picture, title=title)
    return track


def write_stdout(track: F0Track, file_format: str) -> None:
    """Write a track to standard output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"track.{file_format}"
        track.write(path, file_format)
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.flush()


def bar_progress(bar: Any, work: Workload, files: str) -> Progress:
    """Moves the bar to the share of all sound that is done."""

    def progress(share: float) -> None:
        done, total = work.position(share)
        bar.set_postfix_str(files, refresh=False)
        bar.n = min(1.0, done / total)
        bar.refresh()

    return progress


def describe(track: F0Track) -> str:
    """A track in a few words."""
    if not track.voiced.any():
        return f"{len(track)} frames, no voice found"
    median_hz = float(np.median(track.f0_hz[track.voiced]))
    return f"{len(track)} frames, {track.voiced.mean():.0%} voiced, median {median_hz:.1f} Hz"
