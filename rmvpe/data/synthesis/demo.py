"""The demo data set: three minutes of synthetic vowels over chords and drums, made in seconds for a trial run.

Only numpy is needed. The labels are exact, because the voice is made from them. The sound is far too simple to train a
network for real voices: the set shows that training works, and what its files look like.

"frames" are 5 ms frames at 16 kHz.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.mixing import rms
from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.data.synthesis.contours import FRAME_S, FRAME_SAMPLES, dynamics, melody, runs, smoothed
from rmvpe.errors import UserError
from rmvpe.files import OutputFolder
from rmvpe.pitch import hz_to_midi, midi_to_hz

CLIPS = {"train": 15, "valid": 3}
CLIP_S = 10.0
REGISTERS_HZ = ((95.0, 180.0), (170.0, 330.0), (300.0, 600.0))  # median pitch of a low, a middle and a high voice
# Centre frequencies of the first three formants in Hz, after Peterson and Barney 1952 (averages of male speakers)
VOWELS_HZ = np.array([(730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240)])
FORMANT_WIDTHS_HZ = np.array([90.0, 110.0, 170.0])
VOICE_PEAK, MUSIC_TO_VOICE = 0.35, 0.7
HIGHEST_HZ = 7600.0


def make_demo(folder: str | Path, seed: int = 0, clips: Mapping[str, int] = CLIPS) -> Path:
    """Make `folder`/{train,valid} if it is missing, and return it.

    The files depend on `seed` and `clips`, the number of clips by split, alone. A complete folder is kept as it is.
    Several processes may ask at once: one makes it and the others wait. Raises UserError if `folder` is something else
    or cannot be written.
    """
    folder = Path(folder)
    if _is_complete(folder, clips):
        return folder
    output = OutputFolder(folder)
    with output.writing(wait=True) as temporary:
        if not _is_complete(folder, clips):  # another process may have made it meanwhile
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise UserError(f"{folder} exists and is not the demo data set: choose another folder or remove it")
            _write(temporary, seed, clips)
            output.commit(temporary)
    return folder


def _is_complete(folder: Path, clips: Mapping[str, int]) -> bool:
    return all(len(list((folder / split).glob("*.wav"))) == count for split, count in clips.items())


def _write(folder: Path, seed: int, clips: Mapping[str, int]) -> None:
    for number, (split, count) in enumerate(clips.items()):
        for clip in range(count):
            rng = np.random.default_rng([seed, number, clip])
            voice, accompaniment, f0_hz = demo_clip(REGISTERS_HZ[clip % len(REGISTERS_HZ)], rng)
            write_hybrid_pair(folder / split, f"demo_{split}_{clip:02d}", voice, accompaniment, f0_hz)


def demo_clip(register_hz: tuple[float, float], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voice and accompaniment, float64 [samples] within -1..1, and f0_hz [samples / 160 + 1] at 10 ms from time 0."""
    samples = round(CLIP_S * SAMPLE_RATE_HZ)
    voiced = _phrases(samples // FRAME_SAMPLES + 1, rng)
    low, high = hz_to_midi(np.array(register_hz))
    midi = melody(voiced, rng.uniform(low, high), (low - 9, high + 9), rng).midi
    f0_hz = np.where(voiced, midi_to_hz(midi), 0.0)
    voice = _vowels(midi_to_hz(midi), voiced, rng) * dynamics(voiced, samples, rng) + _consonants(voiced, samples, rng)
    voice *= VOICE_PEAK / np.abs(voice).max()
    music = _chords(samples, rng) + _drums(samples, rng)
    return voice, music * (MUSIC_TO_VOICE * rms(voice) / rms(music)), f0_hz[::2]


def _phrases(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Voicing [frames]: phrases of 1 to 3 s, rests of 0.2 to 0.6 s between them."""
    voiced, at = np.zeros(frames, dtype=bool), round(rng.uniform(0.1, 0.4) / FRAME_S)
    while at < frames - 0.3 / FRAME_S:
        end = at + round(rng.uniform(1.0, 3.0) / FRAME_S)
        voiced[at : min(end, frames - round(0.1 / FRAME_S))] = True
        at = end + round(rng.uniform(0.2, 0.6) / FRAME_S)
    return voiced


def _vowels(f0_hz: np.ndarray, voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonics of `f0_hz` [frames] under moving formants, [samples]; silent where not `voiced`."""
    formants_hz = _formants(len(f0_hz), rng)
    frames, time = np.arange(len(f0_hz)), np.arange((len(f0_hz) - 1) * FRAME_SAMPLES) / FRAME_SAMPLES
    phase = 2 * np.pi * np.cumsum(np.interp(time, frames, f0_hz)) / SAMPLE_RATE_HZ
    # Three frames of fade inside the voiced part: every frame labelled as voiced has sound.
    loudness = np.minimum(smoothed(voiced.astype(float), 7), voiced)
    sound = np.zeros(len(time))
    for harmonic in range(1, int(HIGHEST_HZ / f0_hz[voiced].min()) + 1):
        frequency = harmonic * f0_hz
        peaks = 1 / (1 + np.square((frequency[:, None] - formants_hz) / FORMANT_WIDTHS_HZ))
        amplitude = loudness * (0.02 + peaks.sum(axis=1)) / harmonic * np.clip((HIGHEST_HZ - frequency) / 400, 0, 1)
        sound += np.interp(time, frames, amplitude) * np.sin(harmonic * phase)
    return sound


def _formants(frames: int, rng: np.random.Generator) -> np.ndarray:
    """[frames, 3] in Hz: a new vowel every 0.2 to 0.7 s, with glides of 100 ms; one vocal tract length per clip."""
    changes = np.cumsum(rng.uniform(0.2, 0.7, frames) / FRAME_S)
    vowel = rng.integers(len(VOWELS_HZ), size=frames + 1)[np.searchsorted(changes, np.arange(frames))]
    moving = [smoothed(VOWELS_HZ[vowel, formant].astype(float), 21) for formant in range(3)]
    return rng.uniform(0.95, 1.2) * np.stack(moving, axis=1)


def _consonants(voiced: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """A hiss of 60 to 120 ms before most phrases: sound of the voice without pitch."""
    sound = np.zeros(samples)
    for start, _ in runs(voiced):
        length = round(rng.uniform(0.06, 0.12) * SAMPLE_RATE_HZ)
        end = start * FRAME_SAMPLES
        if end >= length and rng.random() < 0.7:
            hiss = np.diff(rng.standard_normal(length + 1))  # a difference of white noise: hardly any low frequencies
            sound[end - length : end] += 0.08 * hiss * np.hanning(length)
    return sound


def _chords(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Triads, one per second, plucked: harmonics that decay, the bass an octave below."""
    sound, second, tonic = np.zeros(samples), SAMPLE_RATE_HZ, rng.integers(48, 60)
    time = np.arange(second) / SAMPLE_RATE_HZ
    for start in range(0, samples, second):
        root = tonic + rng.choice([0, 5, 7, 9])
        third = 3 if root == tonic + 9 else 4
        for note in (root - 12, root, root + third, root + 7):
            f0_hz = float(midi_to_hz(np.array(note)))
            for harmonic in range(1, int(min(4000.0, 10 * f0_hz) / f0_hz) + 1):
                pluck = np.exp(-(1.5 + 0.6 * harmonic) * time) * np.sin(2 * np.pi * harmonic * f0_hz * time)
                sound[start : start + second] += pluck[: samples - start] / harmonic
    return sound


def _drums(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise bursts, two or four to the second, every second one louder and duller."""
    sound, step = np.zeros(samples), SAMPLE_RATE_HZ // int(rng.choice([2, 4]))
    decay = np.exp(-30 * np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ)
    for number, start in enumerate(range(0, samples, step)):
        burst = rng.standard_normal(len(decay)) * decay
        if number % 2:
            burst = 3 * np.convolve(burst, np.hanning(9) / np.hanning(9).sum(), mode="same")
        sound[start : start + len(burst)] += burst[: samples - start]
    return sound
