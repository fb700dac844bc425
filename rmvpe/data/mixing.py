"""Levels of voices, mixing at a given ratio, and music to mix with.

The ratio is the RMS of the voice over its voiced samples divided by the RMS of the accompaniment, in dB. Training and
evaluation mix with the same function, so "at 0 dB" means the same in both. Music from a folder is chosen by a hash of
the voice's name and the music file's name: a voice gets the same music in every run, whatever the order of the files.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ, find_audio, from_array
from rmvpe.errors import UserError

RMS_FLOOR = 1e-5  # -100 dBFS: quieter than this is silence, which is never amplified


def rms(audio: np.ndarray) -> float:
    """Root mean square of `audio` [samples]; 0 if there are no samples."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def active_rms(voice: np.ndarray, f0_hz: np.ndarray, hop_samples: int) -> float:
    """RMS of `voice` [samples] over the hops whose frame is voiced (`f0_hz` [frames], 0 = unvoiced); 0 if none is."""
    voiced = np.repeat(f0_hz > 0, hop_samples)[: len(voice)]
    return rms(voice[: len(voiced)][voiced])


def mix_at_snr(voice: np.ndarray, accompaniment: np.ndarray, voice_rms: float, snr_db: float) -> np.ndarray:
    """`voice` [samples] plus `accompaniment` [samples], scaled to `snr_db` below `voice_rms`, or left out if silent."""
    level = rms(accompaniment)
    if level < RMS_FLOOR:
        return voice
    return voice + accompaniment * np.float32(voice_rms / level * 10.0 ** (-snr_db / 20.0))


def find_music(folder: str | Path) -> list[Path]:
    """The sound files of a folder, searched recursively, or the one file. Raises UserError if there is none."""
    return [file.path for file in find_audio([folder])]


def piece_of_music(paths: Sequence[Path], name: str, n_samples: int) -> np.ndarray:
    """Music float32 [n_samples] at 16 kHz, mono, for the voice `name`.

    Only this piece of a file is decoded. If a file is too short, the next one follows; silent pieces are left out.
    Raises UserError for a file that is no sound, or if all files are silent.
    """
    ranked = sorted(paths, key=lambda path: _digest(name, path))
    parts: list[np.ndarray] = []
    missing = n_samples
    while missing:
        before = missing
        for path in ranked:
            part = _read_piece(path, missing, _digest(name, path))
            if rms(part) >= RMS_FLOOR:
                parts.append(part)
                missing -= len(part)
            if not missing:
                break
        if missing == before:
            raise UserError(f"{paths[0].parent} holds no music but silence: give a folder with other sound files")
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts])


def _digest(name: str, path: Path) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}\n{path.name}".encode()).digest()[:8], "big")


def _read_piece(path: Path, n_samples: int, number: int) -> np.ndarray:
    """At most `n_samples` of the file, from a position that `number` decides."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            # One sample more than needed: resampling rounds the length down
            wanted = min(file.frames, -(-(n_samples + 1) * file.samplerate // SAMPLE_RATE_HZ))
            file.seek(number % (file.frames - wanted + 1))
            audio, rate = file.read(wanted, dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path} cannot be read as sound ({error.error_string}): remove it from the music") from error
    try:
        return from_array(audio, rate).samples[:n_samples]
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
