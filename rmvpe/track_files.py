"""Files of a track: csv, npz, npy, pv, curve and pitchtier, there and back.

- csv: the header `time_s,f0_hz,voiced,confidence`, one line per frame; voiced is 0 or 1.
- npz: the four arrays under the same names, at full precision.
- npy: `f0_hz` alone as float32, 0 = unvoiced, as in RVC (lj1995/VoiceConversionWebUI).
- pv: MIDI semitones, 0 = unvoiced, one line per 10 ms. Line k, counted from 1, is the time k x 10 ms (the convention of
  the Hybrid labels), so the frame at time 0 has no line.
- curve: `seconds,Hz` per line, no header, 0 = unvoiced: the "F0 curve file" of RVC's branch 20240604
  (https://github.com/RVC-Project/Retrieval-based-Voice-Conversion-WebUI). RVC has a frame per 10 ms, interpolates the
  lines linearly in Hz, takes the first line for time 0 and counts frames in 16 bits: so there is a line per 10 ms from
  0 on, and not more than it can count.
- pitchtier: Praat's PitchTier, a point of time and Hz per voiced frame, in the long text format
  (https://www.fon.hum.uva.nl/praat/manual/PitchTier.html). Read back in Praat's long or short text format.

Readers give the arrays of `FIELDS`. What goes wrong while they parse a file is caught in `read`, whatever it is.
"""

import os
import re
import zipfile
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import IO

import numpy as np

from rmvpe.errors import UserError
from rmvpe.pitch import hz_to_midi, midi_to_hz

FIELDS = ("time_s", "f0_hz", "voiced", "confidence")
PV_HOP_S = 0.01  # of curve files as well
MAX_CURVE_LINES = 32_767  # RVC counts them in a signed 16-bit number
MAX_FRAMES = 10_000_000  # of a pitchtier file, which can claim any length: more than a day at 10 ms
MIN_TIER_S = 0.01  # Praat wants a time axis that is not empty
MIN_HOP_S = 1.0 / 16_000  # one sample: a shorter hop is in the wrong unit
MAX_HOP_S = 1.0  # so is a longer one: no voice keeps its pitch for that long
MIN_HZ, MAX_HZ = 1.0, 24_000.0  # of a pitch in a file: anything else is in another unit
MAX_MIDI = 136.0  # 20 kHz: a larger number is in Hz
MAX_EXPANSION = 1100  # how many times larger than compressed an array may be: deflate reaches 1032
GRID_TOLERANCE_S = 1e-4  # a time may be this far from its frame's: rounded to a tenth of a millisecond
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # time_s, f0_hz, voiced, confidence


def check_hop(hop_s: float) -> None:
    """Raise UserError unless `hop_s` is a possible time between frames, in seconds."""
    if not isinstance(hop_s, Real) or isinstance(hop_s, bool):
        raise UserError(f"hop_s must be a number of seconds, such as 0.005, not {hop_s!r}")
    if MAX_HOP_S < hop_s < float("inf"):
        raise UserError(
            f"a hop of {hop_s:g} s is not possible: give at most {MAX_HOP_S:g} s; "
            f"hop_s is in seconds (hop_s={hop_s / 1000:g} is {hop_s:g} ms), --hop-ms in milliseconds"
        )
    if not MIN_HOP_S <= hop_s <= MAX_HOP_S:
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
    if file_format in ("pv", "curve") and abs(hop_s - PV_HOP_S) > 1e-9:
        raise UserError(
            f"a {file_format} file has one line per 10 ms, not per {hop_s * 1000:g} ms: choose csv or a 10 ms hop"
        )


def check_grid(file_format: str, time_s: np.ndarray) -> None:
    """Raise UserError unless frame k is at k hops, which a format without times says of every track."""
    why = (
        f"a {file_format} file has no times" if file_format != "curve" else "RVC takes a curve's first line for time 0"
    )
    if len(time_s) and abs(time_s[0]) > GRID_TOLERANCE_S:
        raise UserError(f"the track begins at {time_s[0]:g} s, and {why}: choose csv or npz, or write the whole track")
    if len(time_s) > 1:
        even = np.linspace(time_s[0], time_s[-1], len(time_s))
        if np.abs(time_s - even).max() > GRID_TOLERANCE_S:
            raise UserError(
                f"the track's frames are not evenly spaced, and {why}: choose csv or npz, or use resampled(hop_s) first"
            )


def read(path: Path, hop_s: float) -> Arrays:
    """The arrays of a file. Raises UserError for whatever is wrong with it, in one sentence that names it."""
    check_hop(hop_s)
    read_as = READERS[format_of(path)]
    if not path.is_file():
        raise UserError(
            f"{path} is a folder: give a file" if path.is_dir() else f"{path} does not exist: check the path"
        )
    try:
        return _checked(read_as(path, hop_s))
    except Exception as error:  # numpy, zipfile and the parsers raise many kinds for a file of another kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is no {path.suffix[1:]} file of an f0 track: {reason}") from error


def _checked(arrays: Arrays) -> Arrays:
    """The arrays, if they can be those of a track. Raises ValueError."""
    time_s, f0_hz, voiced, confidence = arrays
    for name, array in zip(FIELDS, arrays):
        if array.ndim != 1 or len(array) != len(time_s):
            raise ValueError(f"{name} has the shape {list(array.shape)}, not [{len(time_s)}], one number per frame")
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} holds {array.dtype}, not numbers")
        _refuse(~np.isfinite(array.astype(np.float64)), name, array, "is not a finite number")
    outside = (f0_hz != 0) & ((f0_hz < MIN_HZ) | (f0_hz > MAX_HZ))
    _refuse(outside, "f0_hz", f0_hz, f"is neither 0 nor from {MIN_HZ:g} to {MAX_HZ:g} Hz")
    _refuse((voiced != 0) & (voiced != 1), "voiced", voiced, "is not 0 or 1")
    _refuse((voiced == 1) & (f0_hz == 0), "f0_hz", f0_hz, "is no pitch, but the frame is voiced")
    _refuse((confidence < 0) | (confidence > 1), "confidence", confidence, "is not between 0 and 1")
    late = np.concatenate([[False], np.diff(time_s) <= 0]) if len(time_s) else np.zeros(0, bool)
    _refuse(late, "time_s", time_s, "does not come after the frame before: sort the times")
    return arrays


def _refuse(bad: np.ndarray, name: str, array: np.ndarray, why: str) -> None:
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(f"in frame {first}, {name} {array[first]:g} {why}")


def write_csv(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Microseconds, millihertz (0.05 cents at the lowest pitch), a ten-thousandth: finer than the results are exact."""
    columns = np.column_stack([arrays[name] for name in FIELDS])
    formats = ["%.6f", "%.3f", "%d", "%.4f"]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        np.savetxt(file, columns, fmt=formats, delimiter=",", header=",".join(FIELDS), comments="")


def _read_csv(path: Path, hop_s: float) -> Arrays:
    with path.open(encoding="utf-8-sig") as file:
        header, rows = file.readline().strip(), file.readlines()
    if header != ",".join(FIELDS):
        raise ValueError(f"its first line is not {','.join(FIELDS)}")
    columns = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.zeros((0, len(FIELDS)))
    if columns.shape[1] != len(FIELDS):
        raise ValueError(f"it has {columns.shape[1]} columns, not {len(FIELDS)}")
    time_s, f0_hz, voiced, confidence = columns.T
    return time_s, f0_hz, voiced, confidence


def write_npz(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """All four arrays at full precision."""
    with path.open("wb") as file:
        time_s, f0_hz, voiced, confidence = (arrays[name] for name in FIELDS)
        np.savez(file, time_s=time_s, f0_hz=f0_hz, voiced=voiced, confidence=confidence)


def _read_npz(path: Path, hop_s: float) -> Arrays:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if missing := [name for name in FIELDS if name not in members]:
            raise ValueError(f"it has no {', '.join(missing)}")
        time_s, f0_hz, voiced, confidence = (_read_member(archive, members[name]) for name in FIELDS)
    return time_s, f0_hz, voiced, confidence


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of an archive, if its header does not claim more bytes than the file can hold."""
    if member.file_size > MAX_EXPANSION * max(member.compress_size, 1):
        raise ValueError(f"{member.filename} claims {member.file_size} bytes, more than the file can hold")
    with archive.open(member) as file:
        return _read_array(file, member.file_size)


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
    """An npy array of `size` bytes with its header, which must fit."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which could run code")
    count = 1
    for length in shape:
        count *= length
    if min(shape, default=1) < 0 or count * dtype.itemsize > size:
        raise ValueError(f"its header claims {count} numbers, more than the file holds")
    data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(shape)


def write_npy(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """The f0 alone."""
    check_grid("npy", arrays["time_s"])
    with path.open("wb") as file:
        np.save(file, arrays["f0_hz"].astype(np.float32))


def _read_npy(path: Path, hop_s: float) -> Arrays:
    with path.open("rb") as file:
        f0_hz = _read_array(file, path.stat().st_size)
    if f0_hz.ndim != 1 or f0_hz.dtype.kind not in "iuf":
        raise ValueError(f"it holds {f0_hz.dtype} of shape {list(f0_hz.shape)}, not f0 in Hz of shape [frames]")
    return _from_f0(f0_hz.astype(np.float64), hop_s)


def write_pv(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """The f0 in semitones, from the second frame on."""
    time_s = arrays["time_s"]
    check_format("pv", _hop_of(time_s))
    check_grid("pv", time_s)
    midi = hz_to_midi(np.where(arrays["voiced"], arrays["f0_hz"], 0.0))[1:]
    lines = "".join(f"{number:.5f}\n" if number else "0\n" for number in midi)
    path.write_text(lines, encoding="utf-8", newline="\n")


def _read_pv(path: Path, hop_s: float) -> Arrays:
    if abs(hop_s - PV_HOP_S) > 1e-9:
        raise ValueError("a pv file has one line per 10 ms")
    midi = np.array([float(line) for line in path.read_text(encoding="utf-8-sig").split()])
    if len(midi) and not ((midi >= 0) & (midi <= MAX_MIDI)).all():
        line = int((~((midi >= 0) & (midi <= MAX_MIDI))).argmax())
        raise ValueError(f"line {line + 1} is {midi[line]:g}, which is no MIDI number")
    return _from_f0(midi_to_hz(np.concatenate([[0.0], midi])), hop_s)


def _hop_of(time_s: np.ndarray) -> float:
    return PV_HOP_S if len(time_s) < 2 else float(time_s[-1] - time_s[0]) / (len(time_s) - 1)


def write_curve(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Time and f0 of every frame; a track without frames is one unvoiced line, because RVC stops at an empty file."""
    time_s, f0_hz = arrays["time_s"], np.where(arrays["voiced"], arrays["f0_hz"], 0.0)
    check_format("curve", _hop_of(time_s))
    check_grid("curve", time_s)
    if len(time_s) > MAX_CURVE_LINES:
        raise UserError(
            f"the track has {len(time_s)} frames, and RVC reads at most {MAX_CURVE_LINES} lines of a curve file "
            f"({MAX_CURVE_LINES * PV_HOP_S:g} s): cut the recording first, or choose csv"
        )
    columns = np.column_stack([time_s, f0_hz]) if len(time_s) else np.zeros((1, 2))
    with path.open("w", encoding="utf-8", newline="\n") as file:
        np.savetxt(file, columns, fmt=["%.6f", "%.3f"], delimiter=",")


def _read_curve(path: Path, hop_s: float) -> Arrays:
    rows = path.read_text(encoding="utf-8-sig").splitlines()
    if not rows:
        raise ValueError("it is empty")
    columns = np.loadtxt(rows, delimiter=",", ndmin=2)
    if columns.shape[1] != 2:
        raise ValueError(f"it has {columns.shape[1]} columns, not 2")
    time_s, f0_hz = columns.T
    return time_s, f0_hz, f0_hz > 0, (f0_hz > 0).astype(np.float64)


def write_pitchtier(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """The voiced frames as points; the tier lasts from 0 to the last frame."""
    time_s, voiced = arrays["time_s"], arrays["voiced"]
    points = np.column_stack([time_s, arrays["f0_hz"]])[voiced]
    end_s = max(MIN_TIER_S, float(time_s[-1]) if len(time_s) else 0.0)
    head = f'File type = "ooTextFile"\nObject class = "PitchTier"\n\nxmin = 0\nxmax = {end_s:.6f}\n'
    lines = [
        f"points [{k}]:\n    number = {seconds:.6f}\n    value = {hz:.3f}\n"
        for k, (seconds, hz) in enumerate(points, 1)
    ]
    path.write_text(f"{head}points: size = {len(points)}\n{''.join(lines)}", encoding="utf-8", newline="\n")


def _read_pitchtier(path: Path, hop_s: float) -> Arrays:
    """Praat reads the texts and the numbers that stand alone, whatever lies between them; so does this."""
    text = path.read_text(encoding="utf-8-sig")
    if re.findall(r'"([^"\n]*)"', text)[:2] not in (["ooTextFile", "PitchTier"], ["ooTextFile short", "PitchTier"]):
        raise ValueError("it is no PitchTier that Praat saved as text")
    numbers = [float(word) for word in text.split() if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", word)]
    if len(numbers) < 3 or len(numbers) != 3 + 2 * numbers[2]:
        raise ValueError("it does not have as many points as it says")
    end_s, times, hz = numbers[1], np.array(numbers[3::2]), np.array(numbers[4::2])
    if not 0 <= end_s / hop_s < MAX_FRAMES:
        raise ValueError(f"it ends at {end_s:g} s, which is before its start or more than {MAX_FRAMES} frames later")
    f0_hz = np.zeros(int((end_s + GRID_TOLERANCE_S) / hop_s) + 1)
    frames = np.rint(times / hop_s)
    off = (np.abs(times - frames * hop_s) > GRID_TOLERANCE_S) | (frames < 0) | (frames >= len(f0_hz))
    if off.any():
        raise ValueError(
            f"its point at {times[off.argmax()]:g} s is no frame at a whole number of {hop_s * 1000:g} ms from 0 to "
            f"{end_s:g} s"
        )
    if not (hz > 0).all():
        raise ValueError(f"its point at {times[(hz > 0).argmin()]:g} s is {hz[(hz > 0).argmin()]:g} Hz")
    f0_hz[frames.astype(np.int64)] = hz
    return _from_f0(f0_hz, hop_s)


def _from_f0(f0_hz: np.ndarray, hop_s: float) -> Arrays:
    return np.arange(len(f0_hz)) * hop_s, f0_hz, f0_hz > 0, (f0_hz > 0).astype(np.float64)


WRITERS: dict[str, Callable[[Mapping[str, np.ndarray], Path], None]] = {
    "csv": write_csv,
    "npz": write_npz,
    "npy": write_npy,
    "pv": write_pv,
    "curve": write_curve,
    "pitchtier": write_pitchtier,
}
READERS: dict[str, Callable[[Path, float], Arrays]] = {
    "csv": _read_csv,
    "npz": _read_npz,
    "npy": _read_npy,
    "pv": _read_pv,
    "curve": _read_curve,
    "pitchtier": _read_pitchtier,
}
