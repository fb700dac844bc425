"""The notes of a recording, in order: to look at, to round, to write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from rmvpe.errors import UserError
from rmvpe.notes.find import find_notes, on_grid
from rmvpe.notes.loudness import FLOOR_DB, harmonic_levels_db
from rmvpe.notes.note import Note
from rmvpe.notes.settings import NoteConfig
from rmvpe.track_display import TrackArrays

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

    def plot(self, ax: Any = None, theme: str = "dark") -> Any:
        """Draw a piano roll, with the f0 if it is known, into the axes `ax` of matplotlib; returns the axes.

        By default into new axes; pyplot is used only to make them. theme: "dark" or "light". Raises UserError for
        another theme, or where matplotlib is not installed.
        """
        from rmvpe.pictures.roll import piano_roll

        return piano_roll(self.notes, self.track, ax, theme)


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
