"""What is written for one recording, all of it from one computation: f0, notes, a picture, a sound."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmvpe import sonify
from rmvpe.audio import SAMPLE_RATE_HZ, Recording
from rmvpe.config import DecodeConfig
from rmvpe.errors import UserError
from rmvpe.text import printable
from rmvpe.track import F0Track

if TYPE_CHECKING:
    from rmvpe.notes.notes import Notes
    from rmvpe.notes.options import NoteFileOptions

NOTE_KINDS = {"csv": "notes csv", "json": "notes json"}  # where the kind of `rmvpe.ownership` is not the format's name
STREAM = Path("-")  # standard input as a source, standard output as an output


@dataclass
class Computed:
    """What is known of one source: its track, its sound if there is one, and its notes.

    find: how notes are found, when they are first asked for; then they are kept, so that all results show the same.
    decoding: the settings that decided voicing, if they are known.
    """

    source: Path
    track: F0Track
    recording: Recording | None = None
    find: "Find" = F0Track.notes
    decoding: DecodeConfig | None = None

    @cached_property
    def notes(self) -> "Notes":
        """The notes that were sung."""
        return self.find(self.track, self.recording)

    @property
    def found_notes(self) -> "Notes | None":
        """The notes, if a result has asked for them."""
        return self.__dict__.get("notes")

    @property
    def title(self) -> str:
        """The name of the source, for headings."""
        return "standard input" if self.source == STREAM else self.source.name

    @property
    def samples(self) -> np.ndarray:
        """The sound, mono at 16 kHz; silence as long as the track where only the f0 is known."""
        if self.recording is not None:
            return self.recording.samples
        end_s = float(self.track.time_s[-1]) + sonify.hop_of(self.track) if len(self.track) else 0.0
        return np.zeros(max(0, round(end_s * SAMPLE_RATE_HZ)), np.float32)


Find = Callable[[F0Track, Recording | None], "Notes"]  # the notes of a track, with its sound if that is known
Write = Callable[[Computed, Path], None]


@dataclass(frozen=True)
class Result:
    """One file to write. kind: of `rmvpe.ownership`, by which it is known again. path: may be `STREAM`."""

    path: Path
    kind: str
    write: Write

    def make(self, computed: Computed) -> None:
        """Write the file, or to standard output. Raises UserError that names it."""
        if self.path != STREAM:
            self._write(computed, self.path, str(self.path))
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result"
            self._write(computed, path, "standard output")
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()

    def _write(self, computed: Computed, path: Path, name: str) -> None:
        try:
            self.write(computed, path)
        except UserError as error:
            message = str(error).replace(str(path), name)
            raise UserError(message if name in message else f"cannot write {name}: {message}") from error


@dataclass(frozen=True)
class TableRow:
    """The row of a source in a table of all sources, which is written when the run ends.

    table: the file. filled: whether the row has notes from before. check: raises UserError for notes that the table
    cannot hold. keep: remembers the notes for it.
    """

    table: Path
    filled: bool
    check: Callable[["Notes"], None]
    keep: Callable[["Notes"], None]


@dataclass(frozen=True)
class Job:
    """One source and all that is written for it. The first result is the one that the command was asked for.

    row: of the source in a table, or None. There is a result or a row.
    """

    source: Path
    results: tuple[Result, ...]
    row: TableRow | None = None

    @property
    def to_stdout(self) -> bool:
        """Whether standard output is taken by a result."""
        return any(result.path == STREAM for result in self.results)


def f0_result(path: Path, file_format: str) -> Result:
    """The track, in a format of `rmvpe.track`."""
    return Result(path, file_format, partial(_write_track, file_format=file_format))


def picture_result(path: Path, theme: str, with_notes: bool = False) -> Result:
    """The picture of the track over its spectrogram, with the notes if wanted. theme: of `rmvpe.pictures.theme`."""

    return Result(path, "picture", partial(_draw, theme=theme, with_notes=with_notes))


def sound_result(path: Path, of_notes: bool = False) -> Result:
    """The recording left, and right a tone: the f0, or the notes."""

    return Result(path, "sound", partial(_write_sound, of_notes=of_notes))


def note_result(path: Path, file_format: str, options: "NoteFileOptions") -> Result:
    """The notes, in a format of `rmvpe.notes.files`; their title is by default the name of the source."""

    return Result(
        path, NOTE_KINDS.get(file_format, file_format), partial(_write_notes, file_format=file_format, options=options)
    )


# What results write, as functions that can be sent to another process


def _write_track(computed: Computed, to: Path, file_format: str) -> None:
    computed.track.write(to, file_format)


def _draw(computed: Computed, to: Path, theme: str, with_notes: bool) -> None:
    from rmvpe.plot import plot_track

    notes, decoding = computed.notes if with_notes else None, computed.decoding
    limits: dict[str, Any] = (
        {} if decoding is None else {"threshold": decoding.threshold, "hysteresis": decoding.hysteresis}
    )
    samples = None if computed.recording is None else computed.recording.samples
    plot_track(samples, computed.track, to, title=computed.title, notes=notes, theme=theme, **limits)


def _write_sound(computed: Computed, to: Path, of_notes: bool) -> None:
    tone = sonify.tone_of_notes(computed.notes) if of_notes else sonify.tone_of_track(computed.track)
    sonify.write_beside(computed.samples, tone, to)


def _write_notes(computed: Computed, to: Path, file_format: str, options: "NoteFileOptions") -> None:
    title = options.title or Path(computed.title).stem
    given = {name: getattr(options, name) for name in ("tempo_bpm", "bends", "bend_range")}
    computed.notes.write(to, file_format, title=title, **given)


def names(job: Job) -> str:
    """The results of a job: the first with its folder, and the others too unless they lie beside it.

    If there are none, the table that has a row for it.
    """
    if job.row is not None and not job.results:
        return printable(job.row.table)
    first = job.results[0].path
    others = (result.path for result in job.results[1:])
    return ", ".join(map(printable, [first, *(path.name if path.parent == first.parent else path for path in others)]))


def describe(computed: Computed) -> str:
    """What was found, in a few words."""
    track, notes = computed.track, computed.found_notes
    words = [f"{len(track)} frames"]
    if track.voiced.any():
        sung = np.sort(track.f0_hz[track.voiced])
        median_hz = float(sung[(len(sung) - 1) // 2] + sung[len(sung) // 2]) / 2  # np.median would import numpy.ma
        words += [f"{track.voiced.mean():.0%} voiced", f"median {median_hz:.1f} Hz"]
    else:
        words += ["no voice found"]
    if notes is not None:
        words += [f"{len(notes)} note{'' if len(notes) == 1 else 's'}" if len(notes) else "no notes"]
    return ", ".join(words)
