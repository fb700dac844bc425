"""Instruments without a voice, made from scratch: plucked and held chords, drums, and these with a bowed lead.

Every frame is labelled as nobody, so a pitch that is found here is a false alarm. There is no lead alone: a single tone
has a pitch, and nothing in a synthetic one would say that no voice makes it. Keys are MIDI semitones.
"""

from collections.abc import Callable

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.mixing import RMS_FLOOR, rms
from rmvpe.evaluation.suite.voices import HIGHEST_HZ, integral
from rmvpe.pitch import midi_to_hz

MOST_PARTIALS = 16
BEAT_S = (0.35, 0.7)
TRIADS = ((0, 4, 7), (0, 3, 7))
ROOTS = (0, 5, 7, 9, 2)  # above the tonic
LEAD_STEPS = (-5, -4, -2, -2, -1, 1, 2, 2, 3, 4, 5)  # semitones from note to note


def _note(hz: float, n_samples: int, fall: float, rng: np.random.Generator) -> np.ndarray:
    """Partials [samples] of a note: amplitude 1 / n, falling by `fall` nepers per second and partial."""
    time_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    sound = np.zeros(n_samples)
    for number in range(1, min(MOST_PARTIALS, int(HIGHEST_HZ / hz)) + 1):
        phase = 2.0 * np.pi * (number * hz * time_s + rng.random())
        sound += np.exp(-fall * (1.0 + 0.4 * number) * time_s) * np.sin(phase) / number
    return _faded(sound, 0.004 if fall else 0.03)


def _faded(sound: np.ndarray, seconds: float) -> np.ndarray:
    edge = min(round(seconds * SAMPLE_RATE_HZ), len(sound) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / max(edge, 1))
    sound[:edge] *= ramp
    sound[len(sound) - edge :] *= ramp[::-1]
    return sound


def _chords(n_samples: int, rng: np.random.Generator, fall: float, beats: int) -> np.ndarray:
    """A triad and a bass note every `beats` beats."""
    sound = np.zeros(n_samples)
    tonic, step = int(rng.integers(48, 60)), round(beats * rng.uniform(*BEAT_S) * SAMPLE_RATE_HZ)
    for start in range(0, n_samples, step):
        root, length = tonic + int(rng.choice(ROOTS)), min(step, n_samples - start)
        for key in (root - 12, *(root + third for third in TRIADS[int(rng.integers(2))])):
            sound[start : start + length] += _note(float(midi_to_hz(np.array(key))), length, fall, rng)
    return sound


def plucked(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Chords on strings that are struck and die away, [samples]."""
    return _chords(n_samples, rng, fall=1.8, beats=1)


def held(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Chords of an organ, [samples]: they do not die away."""
    return _chords(n_samples, rng, fall=0.0, beats=4)


def drums(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """A kick, a snare and a hat on the eighths of a beat, [samples]."""
    sound, step = np.zeros(n_samples), round(rng.uniform(*BEAT_S) / 2.0 * SAMPLE_RATE_HZ)
    time_s = np.arange(round(0.25 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    for number, start in enumerate(range(0, n_samples, step)):
        noise = rng.standard_normal(len(time_s))
        hit = 0.3 * np.append(np.diff(noise), 0.0) * np.exp(-60.0 * time_s)
        if number % 4 == 0:  # the skin falls from 120 to 50 Hz
            hit = hit + 2.0 * np.sin(2 * np.pi * integral(50.0 + 70.0 * np.exp(-40.0 * time_s))) * np.exp(
                -14.0 * time_s
            )
        elif number % 4 == 2:
            hit = hit + (noise + np.sin(2 * np.pi * 190.0 * time_s)) * np.exp(-18.0 * time_s)
        length = min(len(hit), n_samples - start)
        sound[start : start + length] += hit[:length]
    return sound


def bowed(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """One melody on a bowed string, with vibrato, [samples]: of all instruments the most like a voice."""
    sound, at, key = np.zeros(n_samples), 0, float(rng.uniform(58, 80))
    while at < n_samples:
        length = min(round(rng.uniform(0.2, 0.9) * SAMPLE_RATE_HZ), n_samples - at)
        time_s = np.arange(length) / SAMPLE_RATE_HZ
        vibrato = (
            0.3 * np.clip(time_s / 0.3, 0.0, 1.0) * np.sin(2 * np.pi * (rng.uniform(5, 6.5) * time_s + rng.random()))
        )
        hz = midi_to_hz(key + vibrato)
        periods = integral(hz)
        partials = min(2 * MOST_PARTIALS, int(HIGHEST_HZ / hz.max()))
        note = sum(np.sin(2 * np.pi * number * periods) / number for number in range(1, partials + 1))
        sound[at : at + length] += _faded(np.asarray(note), 0.05)
        at += length
        key = float(np.clip(key + rng.choice(LEAD_STEPS), 55, 88))
    return sound


def band(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Chords of both kinds, drums and a lead at the same level, [samples]."""
    parts = [part(n_samples, rng) for part in (plucked, held, drums, bowed)]
    return np.asarray(sum(part / max(rms(part), RMS_FLOOR) for part in parts))


INSTRUMENTS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "plucked chords": plucked,
    "held chords": held,
    "drums": drums,
    "with a lead": band,
}
