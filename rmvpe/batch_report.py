"""How a run over many recordings is shown: what became of each, what went wrong, and a bar of the sound done."""

import os
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rmvpe.errors import UserError, failure_message
from rmvpe.results import Job, names
from rmvpe.text import printable

if TYPE_CHECKING:
    from rmvpe.notes.notes import Notes

BAR = "{desc} {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
# Bytes per second of sound by suffix, before a file of that suffix has been read: typical for music
BYTES_PER_S = {".wav": 176_400.0, ".flac": 90_000.0, ".aif": 176_400.0, ".aiff": 176_400.0}
COMPRESSED_BYTES_PER_S = 20_000.0  # of mp3, ogg, m4a and what else there is
Log = Callable[[str], None]


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
    """Seconds of sound in files that have not been read yet, from their sizes; what is read corrects the rest.

    Several files may be current at once.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        self._sizes = [_size(path) for path in sources]
        self._suffixes = [path.suffix.lower() for path in sources]
        self._waiting: dict[str, float] = defaultdict(float)  # bytes by suffix
        for suffix, size in zip(self._suffixes, self._sizes):
            self._waiting[suffix] += size
        self._seen: dict[str, tuple[float, float]] = {}  # suffix -> bytes, seconds
        self.done_s = 0.0
        self.finished = 0  # files
        self._current: dict[int, tuple[float, float]] = {}  # file -> seconds, share that is done

    def start(self, index: int) -> None:
        """File number `index` is being read, for the first time or again."""
        if index not in self._current:
            self._waiting[self._suffixes[index]] -= self._sizes[index]
        self._current[index] = self._seconds(self._suffixes[index], self._sizes[index]), 0.0

    def learn(self, index: int, duration_s: float) -> None:
        """File number `index` lasts `duration_s`."""
        suffix = self._suffixes[index]
        size, seconds = self._seen.get(suffix, (0.0, 0.0))
        self._seen[suffix] = (size + self._sizes[index], seconds + duration_s)
        self._current[index] = duration_s, self._current[index][1]

    def move(self, index: int, share: float) -> None:
        """Of file number `index`, `share` is done."""
        self._current[index] = self._current[index][0], share

    def finish(self, index: int) -> None:
        """File number `index` is done, or failed."""
        self.done_s += self._current.pop(index)[0]
        self.finished += 1

    def position(self) -> tuple[float, float]:
        """Seconds of sound that are done, and all of them."""
        rest = sum(self._seconds(suffix, size) for suffix, size in self._waiting.items())
        current = self._current.values()
        done = self.done_s + sum(share * seconds for seconds, share in current)
        return done, max(self.done_s + sum(seconds for seconds, _ in current) + rest, 1e-9)

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


@dataclass(frozen=True)
class Done:
    """What is told of a source whose results are written, small enough to come from another process.

    line: what was found. warnings, notes: of its recording. missing: what its notes were found without. row: the notes
    for its row in a table. reasons: why a result is not written, a sentence each.
    """

    line: str
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    row: "Notes | None" = None
    reasons: tuple[str, ...] = ()


class Reporter:
    """Prints how a run goes, above a bar on stderr if that is a terminal, and counts."""

    def __init__(self, jobs: Sequence[Job], quiet: bool, debug: bool, warn: Log) -> None:
        from tqdm import tqdm

        self.outcome = Outcome()
        self._jobs, self._quiet, self._debug, self._warn = jobs, quiet, debug, warn
        self._work = Workload([job.source for job in jobs])
        # Averaged over the whole run: files differ, and so do the parts of one
        hidden = True if quiet else None
        # It is there at once: the first thing that takes time is loading
        self._bar = tqdm(
            desc="loading", total=1.0, disable=hidden, leave=False, bar_format=BAR, dynamic_ncols=True, smoothing=0
        )
        self._show()

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def start(self, index: int) -> None:
        """Job number `index` begins, for the first time or again."""
        self._bar.leave = True  # until here there is nothing to see in it
        self._bar.set_description_str(printable(self._jobs[index].source.name))
        self._work.start(index)
        self._show()

    def learn(self, index: int, duration_s: float) -> None:
        """The source of the job lasts `duration_s`."""
        self._work.learn(index, duration_s)

    def move(self, index: int, share: float) -> None:
        """Of the job, `share` is done."""
        self._work.move(index, share)
        self._show()

    def keep(self, index: int, done: Done) -> None:
        """Keep the notes for the table. Raises UserError if a result could not be written."""
        row = self._jobs[index].row
        if row is not None and done.row is not None:
            row.keep(done.row)
        if done.reasons:
            raise UserError("; ".join(done.reasons))

    def finish(self, index: int, done: Done) -> None:
        """The job is done."""
        job = self._jobs[index]
        if not self._quiet:
            line = f"{printable(job.source)} -> {names(job)}: {done.line}"
            self._bar.write(line, file=sys.stderr if job.to_stdout else sys.stdout)
        for sentence in (*done.warnings, *(() if self._quiet else done.notes)):
            self.say(sentence)
        self.outcome.warnings += len(done.warnings)
        self.outcome.missing += [sentence for sentence in done.missing if sentence not in self.outcome.missing]
        self._end(index)

    def fail(self, index: int, error: Exception) -> None:
        """The job failed, which is told when the run ends."""
        if self._debug:
            self._bar.write("".join(traceback.format_exception(error)), file=sys.stderr)
        self.outcome.failures.append(failure_message(self._jobs[index].source, error))
        self._end(index)

    def head(self, sentence: str) -> None:
        """Say what computes, unless the run is quiet."""
        if not self._quiet:
            self.say(sentence)

    def say(self, sentence: str) -> None:
        """Pass a sentence on to `warn`."""
        with self._bar.external_write_mode(file=sys.stderr):
            self._warn(sentence)

    def _end(self, index: int) -> None:
        self._work.finish(index)
        self._show()

    def _show(self) -> None:
        """Move the bar to the share of all sound that is done."""
        done, total = self._work.position()
        self._bar.set_postfix_str(f"{self._work.finished}/{len(self._jobs)} files", refresh=False)
        self._bar.n = min(1.0, done / total)
        self._bar.refresh()
