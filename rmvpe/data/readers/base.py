"""Recordings with a pitch annotation: items, the `Source` protocol that gives them, and how sound files are read.

Whatever is wrong with a file raises FileNotFoundError or UserError: one sentence that names the file and the fix.
"""

import contextlib
import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.errors import UserError
from rmvpe.sound import sndfile, wav
from rmvpe.sound.files import SUFFIXES, open_regular
from rmvpe.sound.sniff import SNDFILE_KINDS, kind_of
from rmvpe.sound.view import Window

AUDIO_SUFFIXES = (".wav", ".flac")
ACCOMPANIMENT_CHANNEL, VOICE_CHANNEL = 0, 1
TIME_MARGIN_S = 1e-6  # annotations write times with six decimals; two times that differ by less are the same
# Where a part of a file is resampled, this much is read on both sides of it as well: then the part has the same
# samples as in the whole file. It is a multiple of 1 / rate for every usual rate, so the resampler's phase is the same.
RESAMPLER_MARGIN_S = 0.2


@dataclass(frozen=True, eq=False)
class Item:
    """A recording, or a part of one, with its annotation.

    `time_s` is the annotation's own grid, counted from the start of `voice`; `rmvpe.interpolation.f0_at_times` reads it
    at other times. `warnings`: what its files lack of what their headers claim, a sentence each.
    """

    name: str
    voice: np.ndarray  # float32 [samples], 16 kHz
    accompaniment: np.ndarray | None  # float32 [samples], 16 kHz
    f0_hz: np.ndarray  # float32 [points], 0 = unvoiced
    time_s: np.ndarray  # float64 [points], ascending
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """Random access to items: a data set, or several (`rmvpe.data.readers.registry.open_source`)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Item: ...

    def name(self, index: int) -> str:
        """The name of item `index`, without reading it."""
        ...

    def duration_s(self, index: int) -> float:
        """Length of item `index` in seconds."""
        ...

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> Item:
        """A part of item `index`, see `Recordings.read_excerpt`."""
        ...

    def check(self) -> None:
        """Raise UserError or FileNotFoundError at the first item that cannot be used."""
        ...


class NoteSource(Source, Protocol):
    """A source that knows the notes of its items (`rmvpe.data.readers.registry.open_note_source`)."""

    def notes(self, index: int) -> np.ndarray:
        """Notes of item `index`, float64 [notes, 3], by onset: onset and offset in seconds, MIDI number."""
        ...


@dataclass(frozen=True)
class RecordingFiles:
    """The files of one item. `audio` holds the voice; the accompaniment may be in it too, or in a file of its own."""

    name: str
    audio: Path
    label: Path
    accompaniment: Path | None = None
    notes: Path | None = None  # where they are in a file of their own


class Recordings(ABC):
    """Random access to recordings; sound is decoded only when an item, or a part of it, is read.

    A data set is a subclass: it lists its `recordings` and reads the `annotation` of each. With `accompaniment_left`
    a file of two channels holds the accompaniment in the first and the voice in the second; otherwise channels are
    averaged.
    """

    recordings: Sequence[RecordingFiles]
    accompaniment_left = False
    channels: tuple[int, ...] | None = None  # how many a file may have; None: any number

    @abstractmethod
    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` float64 [points], ascending, and `f0_hz` float32 [points] of the whole recording."""

    def __len__(self) -> int:
        return len(self.recordings)

    def name(self, index: int) -> str:
        """The name of item `index`."""
        return self.recordings[index].name

    def duration_s(self, index: int) -> float:
        """Length of item `index` in seconds, from the headers of its sound files."""
        recording = self.recordings[index]
        length_s = sound_s(recording.audio)
        return length_s if recording.accompaniment is None else min(length_s, sound_s(recording.accompaniment))

    def __getitem__(self, index: int) -> Item:
        """Item `index` as a whole."""
        time_s, f0_hz = self.annotation(index)
        item, recording = self._item(index, 0.0, self.duration_s(index), time_s, f0_hz), self.recordings[index]
        lacks = [lack_of(path) for path in (recording.audio, recording.accompaniment) if path is not None]
        return replace(item, warnings=tuple(sentence for sentence in lacks if sentence is not None))

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> Item:
        """The part of item `index` from `start_s` on; little more than the part is decoded.

        The annotation covers the part to both ends: it goes from the last point at or before the start (whose time may
        be negative) to the first at or after the end. A part that would go on after the recording ends with it. Raises
        UserError if the part starts before 0 or after the end of the recording.
        """
        length_s = self.duration_s(index)
        if not 0 <= start_s < length_s:
            raise UserError(f"{self.recordings[index].audio} has no sound at {start_s} s: it lasts {length_s:.2f} s")
        seconds = min(seconds, length_s - start_s)
        time_s, f0_hz = self.annotation(index)
        first = max(int(np.searchsorted(time_s, start_s + TIME_MARGIN_S)) - 1, 0)
        stop = int(np.searchsorted(time_s, start_s + seconds - TIME_MARGIN_S)) + 1
        return self._item(index, start_s, seconds, time_s[first:stop] - start_s, f0_hz[first:stop])

    def check(self) -> None:
        """Read every annotation and header; raises as `__getitem__` does, at the first fault."""
        for index in range(len(self)):
            self.annotation(index)
            self.duration_s(index)
            self._check_channels(self.recordings[index], audio_info(self.recordings[index].audio).channels)

    def _check_channels(self, recording: RecordingFiles, channels: int) -> None:
        if self.channels is not None and channels not in self.channels:
            stereo = "stereo (accompaniment, voice)"
            wanted = stereo if self.channels == (2,) else f"mono (voice) or {stereo}"
            raise UserError(f"{recording.audio} has {channels} channels: give {wanted}")

    def _item(self, index: int, start_s: float, seconds: float, time_s: np.ndarray, f0_hz: np.ndarray) -> Item:
        voice, accompaniment = self._sound(self.recordings[index], start_s, seconds)
        return Item(self.name(index), voice, accompaniment, f0_hz, time_s)

    def _sound(self, recording: RecordingFiles, start_s: float, seconds: float) -> tuple[np.ndarray, np.ndarray | None]:
        audio = read_audio(recording.audio, start_s, seconds)
        self._check_channels(recording, audio.shape[1])
        if self.accompaniment_left and audio.shape[1] == 2:
            return contiguous(audio[:, VOICE_CHANNEL]), contiguous(audio[:, ACCOMPANIMENT_CHANNEL])
        voice = mono(audio)
        if recording.accompaniment is None:
            return voice, None
        accompaniment = mono(read_audio(recording.accompaniment, start_s, seconds))
        samples = min(len(voice), len(accompaniment))
        return voice[:samples], accompaniment[:samples]


def sound_files(folder: Path) -> list[Path]:
    """The .wav and .flac files of `folder`, sorted; hidden ones (as archives from a Mac hold them) are skipped.

    Recordings of other formats are counted in a warning, once a folder: they are not used.
    """
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    others = [path.name for path in visible if path.suffix.lower() in SUFFIXES.difference(AUDIO_SUFFIXES)]
    if others:
        _warn_of_others(folder, len(others), min(others))
    # By name: Windows sorts paths without case, and training draws items by their number
    return sorted((path for path in visible if path.suffix.lower() in AUDIO_SUFFIXES), key=lambda path: path.name)


@functools.cache
def _warn_of_others(folder: Path, count: int, example: str) -> None:
    logging.getLogger("rmvpe").warning(
        "%s: %d recordings are neither .wav nor .flac and are not used (%s ...): convert them to .flac",
        *(folder, count, example),
    )


@dataclass(frozen=True)
class SoundInfo:
    """The header of a sound file: how many `frames` it holds, `channels`, and the sample rate in Hz."""

    frames: int
    channels: int
    samplerate: int


def sound_s(path: Path) -> float:
    """Length of a sound file in seconds, from its header. Raises UserError if it is no sound."""
    info = audio_info(path)
    return info.frames / info.samplerate


def audio_info(path: Path) -> SoundInfo:
    """The header of a sound file. A file that holds less than its header claims is logged as an error, once.

    Raises UserError if it is no sound.
    """
    with _opened(path) as sound:
        return SoundInfo(sound.frames, sound.channels, sound.samplerate)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file as a SoundFile; whatever is wrong with it becomes one sentence."""
    try:
        with open_regular(path) as file:
            layout = wav.survey(Window(file, sndfile.file_size(file)))
            unfinished = layout is not None and layout.unfinished
            pieces = wav.completed(Window(file, sndfile.file_size(file)), layout) if layout and unfinished else None
            if (sentence := _lack(path, layout)) is not None:
                _report_once(sentence)
            with sndfile.opened(file, pieces) as sound:
                if sound.frames >= sndfile.UNKNOWN_FRAMES:
                    raise UserError(
                        f"{path} does not tell its length, because it was written to a pipe: convert it to .flac anew"
                    )
                yield sound
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = getattr(error, "error_string", None) or str(error) or type(error).__name__
        remedy = (
            f"convert it to .flac ({path.stem}.flac), or remove it" if _is_foreign(path) else "replace or remove it"
        )
        raise UserError(f"{path} cannot be read as sound ({reason.rstrip('. ')}): {remedy}") from error


def _is_foreign(path: Path) -> bool:
    """Whether a file that libsndfile refuses is a recording of another format, such as m4a, whatever its name."""
    with open_regular(path) as file:
        kind = kind_of(Window(file, sndfile.file_size(file)))
    return kind is not None and kind not in SNDFILE_KINDS


def lack_of(path: Path) -> str | None:
    """What a sound file holds less than its header claims, in a sentence; None if it is whole."""
    with open_regular(path) as file:
        return _lack(path, wav.survey(Window(file, sndfile.file_size(file))))


def _lack(path: Path, layout: wav.WavLayout | None) -> str | None:
    if layout is None or layout.missing_s <= sndfile.SHORT_S:
        return None
    return f"{path} is {layout.missing_s:.2f} s shorter than its header says: what is there is used, copy it again"


@functools.cache
def _report_once(sentence: str) -> None:
    """Log a fault of a recording, as an error: -q does not hide why a command ends with exit code 1."""
    logging.getLogger("rmvpe").error("%s", sentence)


def read_audio(path: Path, start_s: float = 0.0, seconds: float | None = None, dtype: str = "float32") -> np.ndarray:
    """[samples, channels] at 16 kHz from `start_s`, as far as `seconds` or the end.

    Raises UserError if it is no sound or cannot be decoded as far as its header says.
    """
    with _opened(path) as sound:
        rate, frames = sound.samplerate, sound.frames
        start = round(start_s * rate)
        stop = frames if seconds is None else min(start + round(seconds * rate), frames)
        margin = 0 if rate == SAMPLE_RATE_HZ else round(RESAMPLER_MARGIN_S * rate)
        before, after = min(margin, start), min(margin, frames - stop)
        first = start - before
        if sound.seekable():
            sound.seek(first)
            audio = sound.read(stop + after - first, dtype=dtype, always_2d=True)
        else:  # some codecs in WAV (GSM 6.10) are read from their start only
            audio = sound.read(stop + after, dtype=dtype, always_2d=True)[first:]
    if len(audio) < stop + after - first:
        end_s = (first + len(audio)) / rate
        raise UserError(f"{path} ends after {end_s:.2f} s, but its header says {frames / rate:.2f} s: replace it")
    if rate == SAMPLE_RATE_HZ:
        return audio
    import soxr

    audio = soxr.resample(audio, rate, SAMPLE_RATE_HZ)[round(before * SAMPLE_RATE_HZ / rate) :]
    return audio[: round((stop - start) * SAMPLE_RATE_HZ / rate)] if after else audio


def read_mono(path: str | Path) -> np.ndarray:
    """Any sound file as float64 [samples] at 16 kHz, its channels averaged. Raises UserError if it is no sound."""
    return read_audio(Path(path), dtype="float64").mean(axis=1)


def mono(audio: np.ndarray) -> np.ndarray:
    """[samples] from [samples, channels]."""
    return contiguous(audio[:, 0]) if audio.shape[1] == 1 else audio.mean(axis=1)


def contiguous(channel: np.ndarray) -> np.ndarray:
    """One channel of interleaved audio as an array of its own."""
    return np.ascontiguousarray(channel)
