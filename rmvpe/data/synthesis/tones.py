"""Harmonic tones of many timbres: sound whose f0 is exact at every frame, with no voice and no WORLD in it.

"frames" are 5 ms frames at 16 kHz.
"""

from typing import Any

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.mixing import rms
from rmvpe.data.synthesis.contours import FRAME_S, FRAME_SAMPLES, ornament
from rmvpe.pitch import hz_to_midi, midi_to_hz


def tones(samples: int, f0_range_hz: tuple[float, float], rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic tones, steady, gliding or trembling, with silent gaps; log-uniform in f0.

    Returns sound [samples] and f0_hz [samples / 80 + 1] on 5 ms frames. The phase is the integral of f0, which is
    interpolated linearly from frame to frame, so the label is exact at every frame.
    """
    frames = samples // FRAME_SAMPLES + 1
    sound, f0_hz, at = np.zeros(samples), np.zeros(frames), 0
    limits = hz_to_midi(np.array(f0_range_hz)) + np.array([0.3, -0.3])
    while at < frames:
        length = int(min(rng.uniform(0.25, 3.0) / FRAME_S, frames - at))
        if rng.random() > 0.25 and length > 20:
            start, end = rng.uniform(*limits, size=2)
            end = start if rng.random() < 0.5 else start + (end - start) * rng.uniform(0.02, 0.7)
            midi = np.linspace(start, end, length)
            if rng.random() < 0.3:
                midi = np.clip(midi + ornament(length, 1.0, rng), *limits)
            f0_hz[at : at + length] = midi_to_hz(midi)
            tone = harmonic_tone(f0_hz[at : at + length], rng)[: samples - at * FRAME_SAMPLES]
            sound[at * FRAME_SAMPLES : at * FRAME_SAMPLES + len(tone)] = tone * 10 ** (rng.uniform(-12, 0) / 20)
            at += length
        at += int(rng.uniform(0.05, 0.8) / FRAME_S)
    return sound, f0_hz


def harmonic_tone(f0_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Band-limited tone of unit RMS along `f0_hz` [frames] > 0; float64 [(frames - 1) x 80 + 1], its ends faded."""
    time = np.arange((len(f0_hz) - 1) * FRAME_SAMPLES + 1) / FRAME_SAMPLES
    f0 = np.interp(time, np.arange(len(f0_hz)), f0_hz)
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE_HZ
    amplitudes = _harmonic_amplitudes(int(7600 / f0_hz.min()), float(np.median(f0_hz)), rng)
    tone = np.zeros(len(f0))
    for harmonic, amplitude in enumerate(amplitudes, start=1):
        if amplitude > 1e-4 * amplitudes.max():
            # Harmonics that glide towards half the sampling rate fade out over 400 Hz.
            fade = np.clip((7600 - harmonic * f0) / 400, 0, 1)
            tone += amplitude * fade * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    edge = round(rng.uniform(0.004, 0.02) * SAMPLE_RATE_HZ)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    tone[:edge] *= ramp
    tone[-edge:] *= ramp[::-1]
    return tone / max(rms(tone), 1e-9)


def _harmonic_amplitudes(count: int, f0_hz: float, rng: np.random.Generator) -> np.ndarray:
    """[count] amplitudes of one timbre: near-sinusoid, tilted, irregular, formants, or a weak fundamental."""
    number = np.arange(1, count + 1)
    timbre = rng.choice(["sine", "tilt", "irregular", "formants", "weak fundamental"])
    amplitudes = number ** -rng.uniform(0.4, 2.0)
    if timbre == "sine":
        amplitudes = number ** -rng.uniform(3.0, 6.0)
    elif timbre == "irregular":
        amplitudes = amplitudes * rng.lognormal(0, 0.8, count)
    elif timbre == "formants":
        centres = np.array([rng.uniform(250, 900), rng.uniform(800, 2500), rng.uniform(2200, 3500)])[:, None]
        peaks = 1 / (1 + np.square((number * f0_hz - centres) / rng.uniform(60, 250, (3, 1))))
        amplitudes = amplitudes * (0.03 + peaks.sum(axis=0))
    elif timbre == "weak fundamental" and count > 4:
        # Only if enough harmonics remain to distinguish f0 from its octave
        amplitudes[0] *= 10 ** (-rng.uniform(10, 40) / 20)
    return amplitudes
