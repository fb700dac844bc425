"""The Hybrid folder: recordings with their pitch labels, one pair of files per item.

    Hybrid/{train,valid,test}/NAME.wav (or .flac) + NAME.pv

Conventions, stated once:

- NAME.pv holds one MIDI semitone number per line at 10 ms, 0 = unvoiced, and line k (counted from 1) is the time
  k x 10 ms. Time 0 has no line.
- A stereo file has the accompaniment in channel 0 and the voice in channel 1; a mono file is the voice alone.
- Files are 16 kHz; other rates are resampled when read.

Every complaint is one sentence that names the file and the remedy, as FileNotFoundError or UserError.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from rmvpe.errors import UserError
from rmvpe.pitch import hz_to_midi, midi_to_hz

SAMPLE_RATE_HZ = 16_000
LABEL_STEP_S = 0.01
LENGTH_TOLERANCE_S = 0.03  # a label may end this much before or after its audio: three lines
AUDIO_SUFFIXES = (".wav", ".flac")
ACCOMPANIMENT_CHANNEL, VOICE_CHANNEL = 0, 1


class Hybrid:
    """Random access to one split of a Hybrid folder; audio is decoded only when an item is read.

    `root` is the folder with train/, valid/ and test/. Items are sorted by name. The constructor checks names only;
    a label is checked when its item is read, or all at once by `check`.
    Raises FileNotFoundError (no such split, a recording without label) or UserError (empty split, doubled name).
    """

    def __init__(self, root: str | Path, split: str) -> None:
        folder = Path(root) / split
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder: give the folder that holds {split}/")
        self.paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
        if not self.paths:
            raise UserError(f"{folder} holds no .wav or .flac file: put recordings and their .pv labels there")
        _check_names(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Item `index` whole.

        Returns {"name": str, "voice": float32 [samples] at 16 kHz, "accompaniment": float32 [samples] or None for
        mono files, "f0_hz": float32 [lines], 0 = unvoiced, "time_s": float64 [lines]}.
        """
        path = self.paths[index]
        f0_hz = read_label(path.with_suffix(".pv"))
        audio = _read_audio(path)
        _check_lengths(path, len(f0_hz), audio.shape[0] / SAMPLE_RATE_HZ)
        return _item(path.stem, audio, f0_hz, LABEL_STEP_S * np.arange(1, len(f0_hz) + 1))

    def duration_s(self, index: int) -> float:
        """Length of item `index` in seconds, from the file's header."""
        info = _audio_info(self.paths[index])
        return info.frames / info.samplerate

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> dict[str, Any]:
        """The part of item `index` from `start_s`, decoding no more than that part.

        Same keys as `__getitem__`; `time_s` counts from the start of the excerpt, so the first label is at 0 when
        `start_s` is a positive multiple of 10 ms, and at 0.01 for `start_s` = 0 (time 0 has no line). The excerpt
        ends with the file if that comes first. Raises UserError if it starts before 0 or after the end.
        """
        path = self.paths[index]
        if not 0 <= start_s < self.duration_s(index):
            raise UserError(f"{path} has no sound at {start_s} s: it lasts {self.duration_s(index):.2f} s")
        f0_hz = read_label(path.with_suffix(".pv"))
        _check_lengths(path, len(f0_hz), self.duration_s(index))
        # The small margin keeps a label that lies on start_s despite rounding of k x 0.01.
        first = max(1, math.ceil(start_s / LABEL_STEP_S - 1e-6))
        end = max(first, math.ceil((start_s + seconds) / LABEL_STEP_S - 1e-6))
        lines = np.arange(first, min(end, len(f0_hz) + 1))
        audio = _read_audio(path, start_s, seconds)
        return _item(path.stem, audio, f0_hz[lines - 1], LABEL_STEP_S * lines - start_s)

    def check(self) -> None:
        """Read every label and header; raises like `__getitem__` at the first fault."""
        for index, path in enumerate(self.paths):
            _check_lengths(path, len(read_label(path.with_suffix(".pv"))), self.duration_s(index))


def read_label(path: str | Path) -> np.ndarray:
    """The f0 of a .pv file: float32 [lines] in Hz, 0 = unvoiced; entry j is line j + 1.

    Raises FileNotFoundError, or UserError for a line that is not a number of 0 or more.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: every recording needs its label, one MIDI number per 10 ms")
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    midi = np.array([_midi_number(path, number, line) for number, line in enumerate(lines, start=1)], dtype=np.float64)
    return midi_to_hz(midi).astype(np.float32)


def write_hybrid_pair(
    folder: str | Path, name: str, voice: np.ndarray, accompaniment: np.ndarray | None, f0_hz: np.ndarray
) -> None:
    """Write `folder`/`name`.wav (PCM 16, 16 kHz) and `name`.pv; a crash leaves no half-written file under these names.

    `voice` and `accompaniment`: float [samples] within -1..1 at 16 kHz, None writes a mono file. `f0_hz`: [frames]
    at 10 ms **from time 0**; its first entry is not written, since time 0 has no line in a .pv file.
    Raises UserError for channels of different length, or a label that does not fit the audio.
    """
    folder = Path(folder)
    path = folder / f"{name}.wav"
    if accompaniment is not None and accompaniment.shape != voice.shape:
        raise UserError(f"{path}: accompaniment {accompaniment.shape} and voice {voice.shape} must have one length")
    _check_lengths(path, len(f0_hz) - 1, len(voice) / SAMPLE_RATE_HZ)
    channels = voice if accompaniment is None else np.stack([accompaniment, voice], axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    label, audio = folder / f"{name}.pv.part", folder / f"{name}.wav.part"
    label.write_text("".join(f"{midi:.5f}\n" if midi else "0\n" for midi in hz_to_midi(f0_hz[1:])), encoding="utf-8")
    soundfile.write(audio, channels, SAMPLE_RATE_HZ, subtype="PCM_16", format="WAV")
    # Label first: a recording is what makes an item, and so never stands without its label.
    label.replace(path.with_suffix(".pv"))
    audio.replace(path)


def read_mono(path: str | Path) -> np.ndarray:
    """Any sound file as float64 [samples] at 16 kHz, its channels averaged. Raises UserError if it is no sound."""
    return _read_audio(Path(path), dtype="float64").mean(axis=1)


def _check_names(paths: list[Path]) -> None:
    for path in paths:
        if not path.with_suffix(".pv").is_file():
            raise FileNotFoundError(f"{path} has no label: put {path.stem}.pv beside it or remove the recording")
    stems = [path.stem for path in paths]
    for path, earlier in zip(paths[1:], stems, strict=False):
        if path.stem == earlier:
            raise UserError(f"{path} shares its name with another recording: keep one of {earlier}.wav and .flac")


def _check_lengths(path: Path, lines: int, duration_s: float) -> None:
    if abs(lines * LABEL_STEP_S - duration_s) > LENGTH_TOLERANCE_S + 1e-9:
        raise UserError(
            f"{path} lasts {duration_s:.2f} s but its label {lines * LABEL_STEP_S:.2f} s: "
            "write one line per 10 ms of the recording"
        )


def _midi_number(path: Path, number: int, line: str) -> float:
    try:
        midi = float(line)
    except ValueError:
        midi = math.nan
    if not 0 <= midi < math.inf:
        raise UserError(f"{path}, line {number}: {line[:40]!r} is not a MIDI number; write 0 where nobody sings")
    return midi


def _audio_info(path: Path) -> Any:
    try:
        return soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path} cannot be read as sound ({error.error_string}): replace or remove it") from error


def _read_audio(path: Path, start_s: float = 0.0, seconds: float | None = None, dtype: str = "float32") -> np.ndarray:
    """[samples, channels] at 16 kHz from `start_s`."""
    rate = _audio_info(path).samplerate
    start, count = round(start_s * rate), -1 if seconds is None else round(seconds * rate)
    try:
        audio, _ = soundfile.read(path, frames=count, start=start, dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path} cannot be read as sound ({error.error_string}): replace or remove it") from error
    return audio if rate == SAMPLE_RATE_HZ else soxr.resample(audio, rate, SAMPLE_RATE_HZ)


def _item(name: str, audio: np.ndarray, f0_hz: np.ndarray, time_s: np.ndarray) -> dict[str, Any]:
    if audio.shape[1] > 2:
        raise UserError(f"{name} has {audio.shape[1]} channels: give mono (voice) or stereo (accompaniment, voice)")
    mono = audio.shape[1] == 1
    return {
        "name": name,
        "voice": np.ascontiguousarray(audio[:, 0 if mono else VOICE_CHANNEL]),
        "accompaniment": None if mono else np.ascontiguousarray(audio[:, ACCOMPANIMENT_CHANNEL]),
        "f0_hz": f0_hz,
        "time_s": time_s,
    }
