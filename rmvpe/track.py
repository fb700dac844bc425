"""The result: f0 over time with voicing and confidence; files in csv, npz, npy and pv; other hops.

Formats (`WRITERS`):

- csv: the header `time_s,f0_hz,voiced,confidence`, one line per frame; voiced is 0 or 1.
- npz: the four arrays under the same names, at full precision.
- npy: `f0_hz` alone as float32, 0 = unvoiced, as in RVC (lj1995/VoiceConversionWebUI).
- pv: MIDI semitones, 0 = unvoiced, one line per 10 ms. Line k, counted from 1, is the time k x 10 ms (the convention of
  the Hybrid labels), so the frame at time 0 has no line.
"""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.interpolation import f0_at_times
from rmvpe.pitch import hz_to_midi, midi_to_hz

FIELDS = ("time_s", "f0_hz", "voiced", "confidence")
PV_HOP_S = 0.01
# What numpy and the parsers below raise for a file that is of another kind, empty or truncated
READ_ERRORS = (ValueError, KeyError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile)
MIN_HOP_S = 1.0 / 16_000  # one sample: a shorter hop is in the wrong unit


@dataclass(frozen=True, eq=False)
class F0Track:
    """f0, voicing and confidence over time, all arrays [frames]. Raises ValueError for arrays of several lengths.

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

    @property
    def hop_s(self) -> float | None:
        """Seconds between frames; None for fewer than two frames."""
        return float(self.time_s[-1] - self.time_s[0]) / (len(self) - 1) if len(self) > 1 else None

    def resampled(self, hop_s: float, n_frames: int | None = None) -> "F0Track":
        """The same track at the times k * `hop_s` seconds, k = 0, 1, ..., `n_frames` of them.

        Inside a voiced run f0 is interpolated linearly in log-frequency; next to an unvoiced frame the nearer frame
        counts; confidence is interpolated linearly. (The network itself always runs at the hop it was trained with: at
        another hop it would see slower or faster singing than in its training.) By default the new track ends at the
        last frame of this one; times more than half a frame after it are unvoiced. Raises UserError if the hop is no
        possible time between frames.
        """
        check_hop(hop_s)
        if n_frames is None:
            n_frames = int(self.time_s[-1] / hop_s + 1e-6) + 1 if len(self) else 0
        time_s = np.arange(n_frames) * hop_s
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

    def write(self, path: str | os.PathLike[str], file_format: str | None = None) -> None:
        """Write `path` in `file_format`, by default that of its suffix; on an error the old file, if any, stays.

        Raises UserError for an unknown format, a folder that cannot be written, or a pv file with a hop other than
        10 ms.
        """
        write_as = WRITERS[format_of(path, file_format)]
        with atomic_path(path) as temporary:
            try:
                write_as(self, temporary)
            except OSError as error:
                raise UserError(f"cannot write {path}: {error.strerror}; make room or choose another folder") from error

    @classmethod
    def read(cls, path: str | os.PathLike[str], hop_s: float = PV_HOP_S) -> "F0Track":
        """Read what `write` wrote. npy and pv hold f0 only: `hop_s` gives their times, confidence is 1 where voiced.

        Raises UserError if the file is missing or not of the format of its suffix.
        """
        path = Path(path)
        read_as = READERS[format_of(path)]
        if not path.is_file():
            raise UserError(f"{path} does not exist: check the path")
        try:
            return read_as(path, hop_s)
        except READ_ERRORS as error:
            raise UserError(f"{path} is no {path.suffix[1:]} file of an f0 track: {error}") from error


def check_hop(hop_s: float) -> None:
    """Raise UserError unless `hop_s` is a possible time between frames, in seconds."""
    if not MIN_HOP_S <= hop_s < float("inf"):
        raise UserError(f"a hop of {hop_s * 1000:g} ms is not possible: give at least {MIN_HOP_S * 1000:g} ms")


def format_of(path: str | os.PathLike[str], file_format: str | None = None) -> str:
    """The name of the format: `file_format`, or by default the suffix of `path`. Raises UserError if it is unknown."""
    name = Path(path).suffix[1:].lower() if file_format is None else file_format
    if name not in WRITERS:
        what = f"{path} has no known suffix" if file_format is None else f"unknown format {file_format!r}"
        raise UserError(f"{what}: choose one of {', '.join(WRITERS)}")
    return name


def check_format(file_format: str, hop_s: float) -> None:
    """Raise UserError unless a track with a hop of `hop_s` seconds can be written as `file_format`."""
    if file_format == "pv" and abs(hop_s - PV_HOP_S) > 1e-9:
        raise UserError(f"a pv file has one line per 10 ms, not per {hop_s * 1000:g} ms: choose csv or a 10 ms hop")


def _write_csv(track: F0Track, path: Path) -> None:
    # Microseconds, millihertz (0.05 cents at the lowest pitch) and a ten-thousandth: finer than the results are exact
    columns = np.column_stack([track.time_s, track.f0_hz, track.voiced, track.confidence])
    formats = ["%.6f", "%.3f", "%d", "%.4f"]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        np.savetxt(file, columns, fmt=formats, delimiter=",", header=",".join(FIELDS), comments="")


def _read_csv(path: Path, hop_s: float) -> F0Track:
    with path.open(encoding="utf-8") as file:
        header, rows = file.readline().strip(), file.readlines()
    if header != ",".join(FIELDS):
        raise ValueError(f"its first line is not {','.join(FIELDS)}")
    columns = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.zeros((0, len(FIELDS)))
    return F0Track(*columns.T)


def _write_npz(track: F0Track, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{name: getattr(track, name) for name in FIELDS})


def _read_npz(path: Path, hop_s: float) -> F0Track:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return F0Track(*(arrays[name] for name in FIELDS))


def _write_npy(track: F0Track, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, track.f0_hz.astype(np.float32))


def _read_npy(path: Path, hop_s: float) -> F0Track:
    with path.open("rb") as file:
        f0_hz = np.lib.format.read_array(file, allow_pickle=False)
    return _from_f0(f0_hz.astype(np.float64), hop_s)


def _write_pv(track: F0Track, path: Path) -> None:
    check_format("pv", PV_HOP_S if track.hop_s is None else track.hop_s)
    midi = hz_to_midi(np.where(track.voiced, track.f0_hz, 0.0))[1:]
    lines = "".join(f"{number:.5f}\n" if number else "0\n" for number in midi)
    path.write_text(lines, encoding="utf-8", newline="\n")


def _read_pv(path: Path, hop_s: float) -> F0Track:
    if abs(hop_s - PV_HOP_S) > 1e-9:
        raise ValueError("a pv file has one line per 10 ms")
    midi = [float(line) for line in path.read_text(encoding="utf-8").split()]
    return _from_f0(midi_to_hz(np.array([0.0, *midi])), hop_s)


def _from_f0(f0_hz: np.ndarray, hop_s: float) -> F0Track:
    return F0Track(np.arange(len(f0_hz)) * hop_s, f0_hz, f0_hz > 0, f0_hz > 0)


WRITERS: dict[str, Callable[[F0Track, Path], None]] = {
    "csv": _write_csv,
    "npz": _write_npz,
    "npy": _write_npy,
    "pv": _write_pv,
}
READERS: dict[str, Callable[[Path, float], F0Track]] = {
    "csv": _read_csv,
    "npz": _read_npz,
    "npy": _read_npy,
    "pv": _read_pv,
}
