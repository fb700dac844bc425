"""The notes of a recording, in order: to look at, to round, to write."""

import cmath
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from rmvpe.errors import UserError
from rmvpe.notes import display, files
from rmvpe.notes.find import STEP_S, Frames, find_notes, on_grid, sections
from rmvpe.notes.loudness import BANDS_HZ, FLOOR_DB, harmonic_levels_db
from rmvpe.notes.note import Note, round_half_up
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.settings import NoteConfig
from rmvpe.notes.tables import json_table
from rmvpe.track_display import TrackArrays, dataframe_of

NO_LOUDNESS = "no sound was given: notes have no velocity, and repeats without a pause may be joined"
LOUDEST_VELOCITY = 112  # forte: an editor can still make a note louder
DIVISIONS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # of a whole note


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

    def rounded(self, tuned: bool = False) -> "Notes":
        """The notes at whole MIDI numbers. tuned: by the recording's own A4 (`tuning_cents`), not by 440 Hz.

        They leave the track behind, so that no pitch bend and no f0 curve contradicts them.
        """
        tuning = self.tuning_cents / 100.0 if tuned else 0.0
        moved = [replace(note, pitch_midi=float(round_half_up(note.pitch_midi - tuning))) for note in self]
        return replace(self, notes=tuple(moved), tuning_cents=0.0, track=None)

    def quantised(self, tempo_bpm: float, division: int = 16, start_s: float = 0.0) -> "Notes":
        """The notes on a grid of beats: onsets and offsets at multiples of a whole note / `division` after `start_s`.

        tempo_bpm: quarter notes per minute. A note keeps at least one step; where two notes would begin at one step,
        the longer one stays. As `rounded`, it leaves the track behind. Raises UserError for a tempo or a division that
        is none.
        """
        if isinstance(tempo_bpm, bool) or not 1.0 <= tempo_bpm <= 1000.0:
            raise UserError(f"a tempo of {tempo_bpm!r} is not possible: give quarter notes per minute, such as 120")
        if isinstance(division, bool) or division not in DIVISIONS:
            raise UserError(f"a grid of 1/{division} notes is not possible: choose {', '.join(map(str, DIVISIONS))}")
        step_s = 240.0 / tempo_bpm / division

        def place(time_s: float) -> int:
            return round_half_up((time_s - start_s) / step_s)

        placed: dict[int, Note] = {}
        for note in self:
            at = place(note.onset_s)
            if at not in placed or note.duration_s > placed[at].duration_s:
                placed[at] = note
        steps = sorted(step for step in placed if start_s + step * step_s >= 0.0)
        notes = []
        for number, step in enumerate(steps):
            end = max(place(placed[step].offset_s), step + 1)
            if number + 1 < len(steps):
                end = min(end, steps[number + 1])
            onset_s, offset_s = (round(start_s + at * step_s, 6) for at in (step, end))
            notes.append(replace(placed[step], onset_s=onset_s, offset_s=offset_s))
        return replace(self, notes=tuple(notes), track=None)

    def __iter__(self) -> Iterator[Note]:
        return iter(self.notes)

    def plot(self, ax: Any = None, theme: str = "dark") -> Any:
        """Draw a piano roll, with the f0 if it is known, into the axes `ax` of matplotlib; returns the axes.

        By default into new axes; pyplot is used only to make them. theme: "dark" or "light". Raises UserError for
        another theme, or where matplotlib is not installed.
        """
        from rmvpe.pictures.roll import piano_roll

        return piano_roll(self.notes, self.track, ax, theme)

    def sonify(self, sample_rate: int = 16_000) -> np.ndarray:
        """A sine at the pitch of each note, from time 0 to the last offset: float64 [samples] at `sample_rate` Hz.

        Between -1 and 1; each note fades in and out within 5 ms.
        """
        from rmvpe.sonify import sound_of_notes

        return sound_of_notes(self.notes, sample_rate)

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

        They have no track. csv and MIDI hold no tuning, which is found again; MIDI holds no confidence. Raises
        UserError if the file is missing, not of the format of its suffix, or holds what notes cannot hold.
        """
        contents = files.read(Path(path))
        tuning_cents = contents.tuning_cents
        if tuning_cents is None:
            tuning_cents = tuning_of(contents.notes)
        return cls(contents.notes, tuning_cents, contents.missing)


def notes_of(track: TrackArrays, audio: Any = None, config: NoteConfig | None = None) -> Notes:
    """The notes of a track; see `rmvpe.F0Track.notes`."""
    missing: tuple[str, ...] = () if audio is not None else (NO_LOUDNESS,)
    found: list[Note] = []
    levels: list[float] = []
    for part in frames_of(track, audio):
        notes = find_notes(part, config or NoteConfig())
        found += notes
        if part.level_db is not None:
            levels += [loudest(part, note) for note in notes]
    if levels:
        found = [replace(note, velocity=velocity(level - max(levels))) for note, level in zip(found, levels)]
    return Notes(tuple(found), tuning_of(found), missing, track)


def frames_of(track: TrackArrays, audio: Any = None) -> list[Frames]:
    """The parts of a track as `find_notes` takes them, with levels if there is sound."""
    arrays = [track.time_s, track.f0_hz, track.voiced, track.confidence]
    if audio is not None:
        arrays += list(levels_of(track, audio))
    return [on_grid(*(array[part] for array in arrays)) for part in sections(track.time_s)]


def levels_of(track: TrackArrays, audio: Any) -> tuple[np.ndarray, np.ndarray]:
    """Levels in dBFS at the harmonics of each frame, [frames], and by band, [frames, 4].

    In gaps they are those at the harmonics of the f0 drawn on over them. Raises UserError for audio of another shape.
    """
    samples = np.asarray(getattr(audio, "samples", audio))
    if samples.ndim != 1:
        raise UserError(
            f"audio must be a Recording or 16 kHz mono samples, not {list(samples.shape)}: use rmvpe.audio.read"
        )
    if not track.voiced.any():
        return np.full(len(track.time_s), FLOOR_DB), np.full((len(track.time_s), len(BANDS_HZ)), FLOOR_DB)
    octaves = np.interp(track.time_s, track.time_s[track.voiced], np.log2(track.f0_hz[track.voiced]))
    return harmonic_levels_db(samples, track.time_s, np.exp2(octaves))


def loudest(frames: Frames, note: Note) -> float:
    """The level in dBFS of a note: that of its middle, which its loudest tenth does not decide."""
    assert frames.level_db is not None
    first, stop = (round((time - frames.start_s) / STEP_S) for time in (note.onset_s, note.offset_s))
    return float(np.quantile(frames.level_db[first:stop], 0.75))


def velocity(level_db: float) -> int:
    """The MIDI velocity of a level in dB below that of the loudest note: 40 dB of loudness for a factor of 10.

    So the level that a synthesiser makes of it is the level that was sung (General MIDI 2: 40 log10(velocity / 127)).
    The loudest note has 112.
    """
    return int(np.clip(round(LOUDEST_VELOCITY * 10.0 ** (level_db / 40.0)), 1, 127))


def tuning_of(notes: Sequence[Note]) -> float:
    """How far the A4 that notes are tuned to is above 440 Hz, -50 to 50 cents, by their pitches and durations.

    The mean direction of the pitches' fractions on a circle of one semitone; 0 without notes.
    """
    turns = sum(note.duration_s * cmath.exp(2j * cmath.pi * note.pitch_midi) for note in notes)
    return round(100.0 * cmath.phase(turns) / (2.0 * cmath.pi), 3) if turns else 0.0
