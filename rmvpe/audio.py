"""Audio files and arrays to mono float32 at 16 kHz; paths and folders to lists of sound files.

libsndfile reads the files. Mono is the mean of the channels. Resampling is soxr's high quality (`HQ`,
https://sourceforge.net/projects/soxr), block by block, so that long audio is never in memory at its own rate; the
result is not shifted in time. N samples at rate r become floor(16000 N / r) samples, at least one, so that the number
of 10 ms frames is floor(duration / 10 ms) + 1 at every rate.
"""

import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from rmvpe.errors import UserError

SAMPLE_RATE_HZ = 16_000
BLOCK_VALUES = 1 << 19  # samples times channels in memory at a time, at the original rate: 2 MB
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 4_000_000
MAX_CHANNELS = 32  # a 2-d array with more columns than this, and than rows, must be [channels, samples]
MAX_MAGNITUDE = 1e12  # full scale is 1; the spectrum of much larger values overflows float32
ONE_CASE = sys.platform in ("win32", "darwin")  # there A.wav and a.wav are usually one file

# File name suffixes to look for in folders, and the libsndfile format of each. A file given by its path may have any.
SUFFIX_FORMATS = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".bwf": "WAV",
    ".rf64": "RF64",
    ".w64": "W64",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".au": "AU",
    ".snd": "AU",
    ".caf": "CAF",
    ".sph": "NIST",
    ".nist": "NIST",
    ".ircam": "IRCAM",
    ".voc": "VOC",
}


@dataclass(frozen=True)
class Recording:
    """`samples` float32 [n], mono at 16 kHz; `duration_s` of the original (n / 16000 may be one sample less).

    warnings: what is missing or damaged; notes: what was chosen. Full sentences that name the file.
    """

    samples: np.ndarray
    duration_s: float
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AudioFile:
    """A file to read; `name` is the relative path for its results, without a format's suffix, unique in its list."""

    path: Path
    name: Path


def read(path: str | os.PathLike[str], *, block_values: int = BLOCK_VALUES) -> Recording:
    """Read a sound file as mono samples [n] at 16 kHz, `block_values` samples times channels at a time.

    Raises UserError if the file is missing, is no sound file, or holds a sample that is not a finite number (the
    message gives the time of the first).
    """
    import soundfile

    path = Path(path)
    check_readable(path)
    try:
        with soundfile.SoundFile(str(path)) as file:
            return _recording(_file_blocks(file, block_values), file.samplerate, str(path))
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path} cannot be read as sound ({error.error_string.rstrip('. ')}): "
            "give a wav, flac, ogg, mp3 or aiff file, or convert it to one, for example with ffmpeg"
        ) from error


def from_array(audio: Any, sample_rate: float, *, block_values: int = BLOCK_VALUES) -> Recording:
    """Mono samples at 16 kHz of an array [n] or [n, channels] at `sample_rate` Hz.

    Floats have full scale 1; integers of 8, 16 or 32 bits (uint8 is centred on 128, as in wav files) are scaled to it.
    `block_values` samples times channels are converted at a time. Raises UserError for another shape (also for
    [channels, n], which torchaudio uses) or type (64-bit integers have no known full scale), an impossible sample rate,
    or a sample that is not finite.
    """
    array = np.asarray(audio)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(f"audio must be [samples] or [samples, channels], not of shape {list(np.shape(audio))}")
    if array.shape[1] > max(MAX_CHANNELS, array.shape[0]):
        raise UserError(f"audio of shape {list(array.shape)} looks like [channels, samples]: give its transpose")
    _check_type(array.dtype)
    rows = max(1, block_values // array.shape[1])
    blocks = (_to_float(array[start : start + rows]) for start in range(0, len(array), rows))
    return _recording(blocks, sample_rate, "audio")


def to_mono_16k(audio: Any, sample_rate: float) -> np.ndarray:
    """The samples of `from_array`: float32 [n], mono at 16 kHz. Arguments and errors are the same."""
    return from_array(audio, sample_rate).samples


def find_audio(
    paths: Sequence[str | os.PathLike[str]], skipped: list[tuple[Path, str]] | None = None
) -> list[AudioFile]:
    """The sound files of `paths`, each file once. Folders are searched recursively, in sorted order.

    A result's `name` is the path inside the folder that was given, or the file's own name. If two names are the same
    (a/x.wav and b/x.wav), all names are relative to the folder common to all files; names that are still the same
    (x.wav and x.flac) keep their suffix. Hidden files are skipped. Raises UserError for a missing path or a folder
    without sound files.
    """
    found: dict[Path, AudioFile] = {}
    for path in map(Path, paths):
        for file in _sound_files(path) if path.is_dir() else [path]:
            try:
                check_readable(file)
            except UserError as error:
                if skipped is None or not path.is_dir():
                    raise
                skipped.append((file, str(error)))
                continue
            inside = file.relative_to(path) if path.is_dir() else Path(file.name)
            found.setdefault(file.resolve(), AudioFile(file, inside))
    return with_unique_names(list(found.values()))


def _sound_files(folder: Path) -> list[Path]:
    import soundfile

    known = {suffix for suffix, name in SUFFIX_FORMATS.items() if name in soundfile.available_formats()}
    inside = (path for path in folder.rglob("*") if path.suffix.lower() in known and path.is_file())
    files = sorted(path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    if not files:
        raise UserError(f"{folder} holds no sound file ({', '.join(sorted(known))}): give a file or another folder")
    return files


def with_unique_names(files: list[AudioFile], one_case: bool = ONE_CASE) -> list[AudioFile]:
    """`files` with names as `find_audio` gives them. one_case: names that differ only in case are the same."""

    def key(file: AudioFile) -> str:
        name = str(file.name.with_suffix(""))
        # macOS also takes letters with composed and with separate accents for the same
        return unicodedata.normalize("NFC", name).casefold() if one_case else name

    def duplicates() -> set[str]:
        return {name for name, count in Counter(map(key, files)).items() if count > 1}

    if duplicates():
        names = below_common_folder([Path(os.path.abspath(file.path)) for file in files])
        files = [AudioFile(file.path, Path(name)) for file, name in zip(files, names)]
    same = duplicates()
    return [AudioFile(file.path, file.name if key(file) in same else file.name.with_suffix("")) for file in files]


def below_common_folder(paths: Sequence[PurePath]) -> list[PurePath]:
    """Absolute paths, relative to the folder that holds them all.

    On Windows, files of several drives have no such folder: the drive's name becomes one (D:/a.wav: D/a.wav).
    """
    if len({path.drive.lower() for path in paths}) > 1:
        return [type(path)(re.sub(r"\W+", "_", path.drive).strip("_"), *path.parts[1:]) for path in paths]
    base = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(base) for path in paths]


def check_readable(path: Path, access: Callable[[Path, int], bool] = os.access) -> None:
    """Raise UserError unless `path` is a file that exists, has a header and can be opened, which `access` tests."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: give a sound file")
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    if not access(path, os.R_OK):
        raise UserError(f"{path} cannot be read: change its permissions")
    if path.suffix.lower() == ".raw":
        raise UserError(f"{path} has no header with its sample rate: convert it to wav")


def _file_blocks(file: Any, block_values: int) -> Iterator[np.ndarray]:
    """Blocks [frames, channels] of an open SoundFile, float32 of full scale 1."""
    frames = max(1, block_values // file.channels)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        yield block


def _recording(blocks: Iterable[np.ndarray], sample_rate: float, name: str) -> Recording:
    """Mono at 16 kHz of consecutive `blocks` [frames, channels] at `sample_rate`."""
    import soxr

    sample_rate = _checked_rate(sample_rate, name)
    resampler = None
    if sample_rate != SAMPLE_RATE_HZ:
        resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
    parts, n_in = [np.zeros(0, dtype=np.float32)], 0
    for block in blocks:
        mono = _to_mono(block)
        _check_samples(mono, n_in / sample_rate, sample_rate, name)
        parts.append(mono if resampler is None else resampler.resample_chunk(mono))
        n_in += len(block)
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
    # soxr rounds the length up or down; one sample more could add a frame after the end of the audio
    n_out = max(1, int(n_in * SAMPLE_RATE_HZ // sample_rate)) if n_in else 0
    samples = np.concatenate(parts)[:n_out]
    return Recording(np.pad(samples, (0, n_out - len(samples))), n_in / sample_rate)


def _to_mono(block: np.ndarray) -> np.ndarray:
    """Mean over channels of [frames, channels], float32 [frames]; too large values become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64)
        return np.ascontiguousarray(mono, dtype=np.float32)


def _to_float(block: np.ndarray) -> np.ndarray:
    """Floats as they are, integers scaled to full scale 1."""
    if block.dtype.kind == "f":
        return block
    centre = 128.0 if block.dtype == np.uint8 else 0.0
    return (block - centre) / 2.0 ** (8 * block.dtype.itemsize - 1)


def _check_type(dtype: np.dtype) -> None:
    if dtype.kind != "f" and dtype not in (np.dtype(kind) for kind in ("uint8", "int8", "int16", "int32")):
        raise UserError(
            f"audio of type {dtype} has no known full scale: give floats between -1 and 1, or 8, 16 or 32-bit integers"
        )


def _checked_rate(sample_rate: float, name: str) -> float:
    if not MIN_RATE_HZ <= sample_rate <= MAX_RATE_HZ:
        raise UserError(
            f"{name} has a sample rate of {sample_rate} Hz: it must be between {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz"
        )
    return float(sample_rate)


def _check_samples(mono: np.ndarray, start_s: float, sample_rate: float, name: str) -> None:
    bad = ~(np.abs(mono) <= MAX_MAGNITUDE)  # true for NaN as well
    if bad.any():
        first = int(bad.argmax())
        raise UserError(
            f"{name} holds {mono[first]} at {start_s + first / sample_rate:.3f} s, which is no audio sample: "
            "repair the file or cut that part out"
        )
