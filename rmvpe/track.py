"""The result: f0 over time with voicing and confidence. Its files are in `rmvpe.track_files`, other hops are here."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmvpe import track_display
from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.interpolation import f0_at_times
from rmvpe.track_files import FIELDS, PV_HOP_S, READERS, WRITERS, check_format, check_hop, format_of, read

if TYPE_CHECKING:
    from rmvpe.notes.notes import Notes
    from rmvpe.notes.settings import NoteConfig
    from rmvpe.track_display import Axes

__all__ = ["FIELDS", "PV_HOP_S", "READERS", "WRITERS", "F0Track", "check_format", "check_hop", "format_of"]


@dataclass(frozen=True, eq=False)
class F0Track:
    """f0, voicing and confidence over time, all arrays [frames]. Raises ValueError for arrays of several lengths.

    `track[100:200]` and `track[::2]` are tracks too and keep their times; `==` compares all values.
    time_s: float64, seconds from the start of the audio, evenly spaced. f0_hz: float64 in Hz, 0 where unvoiced.
    voiced: bool. confidence: float32, 0 to 1: with weights that have a calibration (`rmvpe.calibration`), the
    probability that the pitch is right; with others, the network's largest salience.
    """

    time_s: np.ndarray
    f0_hz: np.ndarray
    voiced: np.ndarray
    confidence: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in zip(FIELDS, (np.float64, np.float64, np.bool_, np.float32)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        shapes = {getattr(self, name).shape for name in FIELDS}
        if len(shapes) != 1 or len(self.time_s.shape) != 1:
            raise ValueError(f"time, f0, voicing and confidence must be [frames], all of one length, not {shapes}")

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.time_s)

    def __getitem__(self, frames: slice) -> "F0Track":
        """The frames of a slice, at their own times. Raises UserError for a step backwards or anything but a slice."""
        if not isinstance(frames, slice):
            raise UserError(f"a track is sliced, such as track[10:20], not indexed with {frames!r}: index track.f0_hz")
        if frames.step is not None and frames.step < 1:
            raise UserError(f"a step of {frames.step} would turn time around: give a step of 1 or more")
        return F0Track(*(getattr(self, name)[frames] for name in FIELDS))

    __iter__ = None  # a track is no list of frames; without this, Python would try track[0]

    def __eq__(self, other: object) -> bool:
        """Whether both have the same values in all four arrays."""
        if not isinstance(other, F0Track):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in FIELDS)

    __hash__ = None  # type: ignore[assignment]  # arrays can change

    def __repr__(self) -> str:
        return track_display.text_of(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: a small table, and a picture of the f0."""
        return track_display.html_of(self)

    @property
    def hop_s(self) -> float | None:
        """Seconds between frames; None for fewer than two frames."""
        return float(self.time_s[-1] - self.time_s[0]) / (len(self) - 1) if len(self) > 1 else None

    def resampled(self, hop_s: float, n_frames: int | None = None, start_s: float | None = None) -> "F0Track":
        """The same track at the times `start_s` + k * `hop_s` seconds, k = 0, 1, ..., `n_frames` of them.

        start_s: by default the first time of this track, so that a slice stays where it is.

        Inside a voiced run f0 is interpolated linearly in log-frequency; next to an unvoiced frame the nearer frame
        counts; confidence is interpolated linearly. (The network itself always runs at the hop it was trained with: at
        another hop it would see slower or faster singing than in its training.) By default the new track ends at the
        last frame of this one; times more than half a frame after it are unvoiced. Raises UserError if the hop is no
        possible time between frames.
        """
        check_hop(hop_s)
        start = start_s if start_s is not None else float(self.time_s[0]) if len(self) else 0.0
        if n_frames is None:
            n_frames = max(0, int((self.time_s[-1] - start) / hop_s + 1e-6) + 1) if len(self) else 0
        time_s = start + np.arange(n_frames) * hop_s
        if not len(self):
            return F0Track(time_s, np.zeros(n_frames), np.zeros(n_frames), np.zeros(n_frames))
        voiced = f0_at_times(self.time_s, np.where(self.voiced, self.f0_hz, 0.0), time_s) > 0
        f0_hz = f0_at_times(self.time_s, self.f0_hz, time_s)
        return F0Track(time_s, f0_hz, voiced, np.interp(time_s, self.time_s, self.confidence))

    def interpolated(self) -> "F0Track":
        """The track with f0 interpolated over unvoiced gaps, linearly in log-frequency, for synthesis.

        Both ends get the nearest voiced f0; `voiced` stays as it is. f0 is all 0 if no frame is voiced.
        """
        if not self.voiced.any():
            return self
        log_f0 = np.interp(self.time_s, self.time_s[self.voiced], np.log2(self.f0_hz[self.voiced]))
        return replace(self, f0_hz=np.where(self.voiced, self.f0_hz, np.exp2(log_f0)))

    def to_dict(self) -> dict[str, list[Any]]:
        """The four arrays as lists, by name, for JSON and for tables."""
        return {name: getattr(self, name).tolist() for name in FIELDS}

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame` with the four arrays as columns. Raises UserError where pandas is not installed."""
        return track_display.dataframe_of({name: getattr(self, name) for name in FIELDS})

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the f0 of voiced frames into the axes `ax` of matplotlib, by default new ones; returns the axes.

        pyplot is used only to make new ones. Raises UserError where matplotlib is not installed.
        """
        return track_display.plot_into(self, ax)

    def notes(self, audio: Any = None, config: "NoteConfig | None" = None) -> "Notes":
        """The notes that were sung, found by an exact dynamic programme (`rmvpe.notes.find`).

        audio: the sound that the track is of, a `Recording` or its 16 kHz mono samples [n]; without it there are no
        velocities, and a note that is repeated without a pause may be missed: `Notes.missing` says so. config: the
        shortest note, gap and hold. A track without voice has no notes. Raises UserError for audio of another shape.
        """
        from rmvpe.notes.notes import notes_of

        return notes_of(self, audio, config)

    def sonify(self, sample_rate: int = 16_000) -> np.ndarray:
        """A sine that follows the f0, silent where unvoiced: float64 [samples] at `sample_rate` Hz, -1 to 1.

        The first sample is at the track's first time, the last one a hop after its last. The phase is continuous, and
        the sound fades in and out within 5 ms at the edges of voicing, so that nothing clicks.
        """
        from rmvpe.sonify import sound_of_track

        return sound_of_track(self, sample_rate)

    def write(self, path: str | os.PathLike[str], file_format: str | None = None) -> None:
        """Write `path` in `file_format`, by default that of its suffix; on an error the old file, if any, stays.

        Raises UserError for an unknown format, a folder that cannot be written, a pv or curve file with a hop other
        than 10 ms, a curve file that is longer than RVC reads, or, in npy, pv and curve, a track whose frame k is not
        at k hops.
        """
        write_as = WRITERS[format_of(path, file_format)]
        with atomic_path(path) as temporary:
            try:
                write_as({name: getattr(self, name) for name in FIELDS}, temporary)
            except OSError as error:
                raise UserError(f"cannot write {path}: {error.strerror}; make room or choose another folder") from error

    @classmethod
    def read(cls, path: str | os.PathLike[str], hop_s: float = PV_HOP_S) -> "F0Track":
        """Read what `write` wrote. npy and pv hold f0 only: `hop_s` gives their times, confidence is 1 where voiced.

        A curve has times and no confidence. A PitchTier, which Praat may have edited, has points at multiples of
        `hop_s`; the frames between them are unvoiced. Raises UserError if the file is missing, not of the format of its
        suffix, or holds what no track can hold.
        """
        return cls(*read(Path(path), hop_s))
