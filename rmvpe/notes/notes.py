"""The notes of a recording, in order: to look at, to round, to write."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from rmvpe.errors import UserError
from rmvpe.notes import display, files
from rmvpe.notes.find import find_notes, on_grid
from rmvpe.notes.loudness import FLOOR_DB, harmonic_levels_db
from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.settings import NoteConfig
from rmvpe.notes.tables import json_table
from rmvpe.track_display import TrackArrays, dataframe_of

NO_LOUDNESS = "no sound was given: notes have no velocity, and repeats without a pause may be joined"


@dataclass(frozen=True)
class Notes(Sequence[Note]):
    """The notes of one voice, by onset; they do not overlap.

    notes: the notes. tuning_cents: how far the recording's A4 is above 440 Hz, -50 to 50 cents; 0 without notes.
    missing: a sentence for each thing that was not known and that makes the notes less exact. track: the f0 they were
    found in (an `rmvpe.F0Track`), for pitch bends and f0 curves; None for notes that were read from a file.
    """

    notes: tuple[Note, ...] = ()
    tuning_cents: float = 0.0
    missing: tuple[str, ...] = ()
    track: TrackArrays | None = None

    def __len__(self) -> int:
        """The number of notes."""
        return len(self.notes)

    @overload
    def __getitem__(self, index: int) -> Note: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Note, ...]: ...

    def __getitem__(self, index: int | slice) -> Note | tuple[Note, ...]:
        """A note, or the notes of a slice."""
        return self.notes[index]

    def __iter__(self) -> Iterator[Note]:
        return iter(self.notes)

    def __repr__(self) -> str:
        return display.text_of(self.notes)

    def _repr_html_(self) -> str:
        """What a notebook shows: a line of facts, and the first notes as a table."""
        return display.html_of(self.notes)

    def to_dict(self) -> dict[str, Any]:
        """`tuning_cents`, `missing` and the notes, each as a dict of its values, for JSON."""
        return json_table(self)

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, one row per note, with the columns of csv files; NaN where a value is not known.

        Raises UserError where pandas is not installed.
        """
        return dataframe_of(display.columns_of(self.notes))

    def write(
        self,
        path: str | os.PathLike[str],
        file_format: str | None = None,
        *,
        tempo_bpm: float = NoteFileOptions.tempo_bpm,
        bends: bool = NoteFileOptions.bends,
        bend_range: int | None = NoteFileOptions.bend_range,
        title: str | None = None,
    ) -> None:
        """Write `path` in `file_format`, by default that of its suffix; on an error the old file, if any, stays.

        The other arguments are those of `rmvpe.notes.options.NoteFileOptions`, for the formats that have such a thing;
        title is by default the name of the file without its suffix. Raises UserError for an unknown format, a folder
        that cannot be written, notes that overlap, and pitches that the format cannot hold.
        """
        name = Path(path).stem if title is None else title
        options = NoteFileOptions(tempo_bpm=tempo_bpm, bends=bends, bend_range=bend_range, title=name)
        files.write(self, self.track, path, file_format, options)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Notes":
        """Read what `write` wrote as csv, json or MIDI, or a MIDI file of one voice from another program.

        They have no track. csv and MIDI hold no tuning, MIDI no confidence. Raises UserError if the file is missing,
        not of the format of its suffix, or holds what notes cannot hold.
        """
        contents = files.read(Path(path))
        return cls(contents.notes, contents.tuning_cents, contents.missing)


def notes_of(track: TrackArrays, audio: Any = None, config: NoteConfig | None = None) -> Notes:
    """The notes of a track; see `rmvpe.F0Track.notes`."""
    missing: tuple[str, ...] = () if audio is not None else (NO_LOUDNESS,)
    levels = None if audio is None else levels_of(track, audio)
    frames = on_grid(track.time_s, track.f0_hz, track.voiced, track.confidence, levels)
    return Notes(find_notes(frames, config or NoteConfig()), 0.0, missing, track)


def levels_of(track: TrackArrays, audio: Any) -> np.ndarray:
    """Level in dBFS at the harmonics of each frame, [frames]; in gaps at those of the f0 drawn on over them."""
    samples = np.asarray(getattr(audio, "samples", audio))
    if samples.ndim != 1:
        raise UserError(
            f"audio must be a Recording or 16 kHz mono samples, not {list(samples.shape)}: use rmvpe.audio.read"
        )
    if not track.voiced.any():
        return np.full(len(track.time_s), FLOOR_DB)
    octaves = np.interp(track.time_s, track.time_s[track.voiced], np.log2(track.f0_hz[track.voiced]))
    return harmonic_levels_db(samples, track.time_s, np.exp2(octaves))
