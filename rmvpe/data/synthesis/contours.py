"""Curves over time: a melody for a given voicing, a clip's own intonation, loudness, and the smoothing they share.

"frames" are WORLD's 5 ms frames, frame j at j x 5 ms; pitch is in MIDI semitones here and is handed on in Hz.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.pitch import hz_to_midi

FRAME_SAMPLES = 80  # 5 ms: half a label step
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
REPEATS = 0.12  # share of notes at the pitch of the one before


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def drop_short(mask: np.ndarray, shortest: int) -> np.ndarray:
    """`mask` [frames] without runs of fewer than `shortest` frames."""
    kept = mask.copy()
    for start, end in runs(mask):
        kept[start:end] = end - start >= shortest
    return kept


@dataclass(frozen=True)
class Melody:
    """A sung contour and the notes it was made of.

    midi [frames]: the contour. edges [notes + 1]: frames where notes begin, and the end. pitches [notes]: their pitch
    in MIDI, with the drift of the voice over the note but without scoops, vibrato and glides.
    """

    midi: np.ndarray
    edges: np.ndarray
    pitches: np.ndarray


def melody(
    voiced: np.ndarray,
    centre_midi: float,
    limits_midi: tuple[float, float],
    rng: Any,
    edges: np.ndarray | None = None,
    repeats: float = REPEATS,
) -> Melody:
    """A melody for the given voicing [frames]: notes, portamento, scoops, vibrato, drift, jitter.

    edges: frames where notes begin, from 0 to the number of frames, rising; drawn if None. repeats: share of notes at
    the pitch of the one before.
    """
    edges = _note_edges(voiced, rng) if edges is None else edges
    pitches = _note_pitches(len(edges) - 1, centre_midi, limits_midi, rng, repeats)
    contour = np.repeat(pitches, np.diff(edges))
    lengths = np.diff(edges)
    for note, start in enumerate(edges[1:-1]):
        # Portamento of 20..160 ms, a half cosine, within half of each note.
        half = int(min(rng.uniform(2, 16), lengths[note] // 2, lengths[note + 1] // 2))
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(2 * half) + 0.5) / max(2 * half, 1))
        contour[start - half : start + half] = pitches[note] + (pitches[note + 1] - pitches[note]) * ramp
    vibrato_habit = rng.uniform(0, 1)
    for start, end in itertools.pairwise(edges):
        contour[start:end] += ornament(end - start, vibrato_habit, rng)
    drift = 0.15 * rng.uniform(0, 2) * smooth_noise(len(contour), 0.4, rng)
    jitter = 0.04 * rng.uniform(0, 2) * smooth_noise(len(contour), 0.02, rng)
    # A larynx does not jump: the steps at the borders of scoops and falls are spread over 20 ms
    midi = smoothed(contour, 7) + drift + jitter + edge_glides(voiced, rng)
    return Melody(
        midi, edges, pitches + np.array([drift[start:end].mean() for start, end in itertools.pairwise(edges)])
    )


def edge_glides(voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deviations of pitch in semitones [frames] at the onsets and ends of voiced parts, as vocal folds make them.

    Their size was measured in real singing: half of all onsets deviate by more than 0.8 semitones in the first 10 ms
    and settle within 40 ms; half of all ends deviate by 0.5, mostly downward. They are irregular, more in some voices
    than in others: from one 10 ms frame to the next the slope changes by about 0.5 semitones, and in a tenth of the
    frames by a few times as much.
    """
    off = np.zeros(len(voiced))
    unsteadiness = rng.uniform(0.0, 1.8)
    for start, end in runs(voiced):
        since = np.arange(end - start) * FRAME_S
        rise = rng.laplace(0.15, 1.1) * np.exp(-since / rng.uniform(0.008, 0.04))
        fall = rng.laplace(-0.25, 0.75) * np.exp(-since[::-1] / rng.uniform(0.01, 0.06))
        near = np.exp(-since / rng.uniform(0.01, 0.03)) + np.exp(-since[::-1] / rng.uniform(0.01, 0.06))
        wandering = unsteadiness * rng.lognormal(0.0, 0.6) * near * _steps(end - start, rng)
        off[start:end] = np.clip(rise + fall + wandering, -5.0, 5.0)
    return off


def _steps(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Laplace noise [frames], a new value every 5 or 10 ms, a third of them the one before."""
    apart = int(rng.integers(1, 3))
    values = rng.laplace(0.0, 0.7, frames // apart + 2)
    index = np.arange(len(values))
    values = values[np.maximum.accumulate(np.where(rng.random(len(values)) < 0.33, 0, index))]
    return np.interp(np.arange(frames), apart * index, values)


def breaks(voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """bool [frames]: where a sung vowel is interrupted for 10 to 90 ms, as by consonants or a voice that breaks.

    The rate differs from singer to singer: 0 to 2.5 per second of voice.
    """
    broken = np.zeros(len(voiced), dtype=bool)
    per_frame = rng.uniform(0.0, 2.5) * rng.random() * FRAME_S
    for start in np.flatnonzero(voiced & (rng.random(len(voiced)) < per_frame)):
        broken[start : start + 2 + round(min(rng.exponential(6.0), 16.0))] = True
    return broken & voiced


def _note_edges(voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames where notes begin, with 0 and the end: most voiced parts begin with a note, long ones have several."""
    typical_s = rng.uniform(0.2, 0.7)
    edges = [0]
    for start, end in runs(voiced):
        at = start if rng.random() < 0.85 else start + _note_frames(typical_s, rng)
        while at < end - 0.12 / FRAME_S or at == start:
            edges.append(at)
            at += _note_frames(typical_s, rng)
    return np.unique([*edges, len(voiced)])


def _note_frames(typical_s: float, rng: np.random.Generator) -> int:
    return round(float(np.clip(rng.lognormal(np.log(typical_s), 0.6), 0.12, 2.0)) / FRAME_S)


def _note_pitches(
    count: int, centre: float, limits: tuple[float, float], rng: np.random.Generator, repeats: float
) -> np.ndarray:
    # Interval sizes as in songs: mostly seconds and thirds; octaves are rare, but a tracker has to follow them
    sizes, shares = [0, 1, 2, 3, 4, 5, 7, 12], [REPEATS, 0.17, 0.30, 0.14, 0.10, 0.09, 0.05, 0.03]
    if repeats != REPEATS:
        shares = [repeats, *(share * (1.0 - repeats) / (1.0 - REPEATS) for share in shares[1:])]
    tuning = rng.uniform(-0.5, 0.5)
    low, high = max(limits[0] + 1.5, centre - 10), min(limits[1] - 1.5, centre + 10)
    pitches, at = np.empty(count), centre
    for note in range(count):
        # The further from the centre, the more likely a step back towards it
        up = rng.random() < np.clip(0.5 - 0.06 * (at - centre), 0.05, 0.95)
        step = rng.choice(sizes, p=shares) * (1 if up else -1)
        at = at + step if low <= at + step <= high else float(np.clip(at - step, low, high))
        pitches[note] = np.round(at) + tuning + rng.normal(0, 0.12)
    return pitches


def ornament(frames: int, vibrato_habit: float, rng: np.random.Generator) -> np.ndarray:
    """Semitones [frames] added to one note: a scoop into it, a slide along it, a fall at its end, a vibrato."""
    time_s = FRAME_S * np.arange(frames)
    added = np.zeros(frames)
    if rng.random() < 0.25:
        added -= rng.uniform(0.3, 3.0) * np.exp(-time_s / rng.uniform(0.02, 0.08))
    if rng.random() < 0.08:
        added += np.linspace(0, rng.uniform(-4, 4), frames)
    if rng.random() < 0.08:
        added -= rng.uniform(0.5, 4.0) * np.exp(-time_s[::-1] / rng.uniform(0.02, 0.06))
    if time_s[-1] > 0.3 and rng.random() < vibrato_habit:
        depth = min(abs(rng.normal(0, 0.6)), 1.5)
        rate_hz = rng.uniform(4.0, 7.5) * (1 + 0.05 * smooth_noise(frames, 0.3, rng))
        onset = np.clip((time_s - rng.uniform(0.05, 0.3)) / rng.uniform(0.05, 0.5), 0, 1)
        added += depth * onset * np.sin(2 * np.pi * np.cumsum(rate_hz) * FRAME_S + rng.uniform(0, 6.28))
    return added


def natural_contour(f0_hz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """The clip's own contour in MIDI, [frames], without gaps and without octave jumps of the analysis."""
    reliable = voiced & (f0_hz > 0)
    if not reliable.any():
        return np.full(len(f0_hz), 57.0)
    for start, end in runs(reliable):
        if end - start > 12:  # harvest's extrapolation at the borders is often wrong
            reliable[[*range(start, start + 3), *range(end - 3, end)]] = False
    midi = hz_to_midi(f0_hz)
    frames = np.arange(len(midi))
    filled = np.interp(frames, frames[reliable], midi[reliable])
    around = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(filled, 30, mode="edge"), 61), axis=1)
    steady = reliable & (np.abs(midi - around) < 5)
    filled = np.interp(frames, frames[steady], midi[steady]) if steady.any() else around
    return smoothed(filled, 13)


def dynamics(voiced: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """A gain [samples]: +-8 dB from phrase to phrase (separated by pauses over 120 ms), +-2 dB within a phrase."""
    phrase_db = np.empty(len(voiced))
    pauses = [(start + end) // 2 for start, end in runs(~voiced) if end - start > 0.12 / FRAME_S]
    for start, end in itertools.pairwise([0, *pauses, len(voiced)]):
        phrase_db[start:end] = rng.uniform(-8, 8)
    gain_db = smoothed(phrase_db, 21) + 2.0 * smooth_noise(len(voiced), 0.5, rng)
    return 10 ** (np.interp(np.arange(samples) / FRAME_SAMPLES, np.arange(len(voiced)), gain_db) / 20)


def smooth_noise(frames: int, width_s: float, rng: np.random.Generator) -> np.ndarray:
    """Unit-variance noise [frames], smoothed by a Hann window of about 2 x `width_s`."""
    window = np.hanning(2 * max(round(width_s / FRAME_S), 1) + 3)
    noise = np.convolve(rng.standard_normal(frames + len(window) - 1), window, mode="valid")
    return noise / np.sqrt(np.sum(np.square(window)))


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """`values` [frames] smoothed by a Hann window of `width` frames (odd); the end values are repeated outside."""
    window = np.hanning(width) / np.hanning(width).sum()
    return np.convolve(np.pad(values, width // 2, mode="edge"), window, mode="valid")


def at_every_sample(values: np.ndarray) -> np.ndarray:
    """Frame `values` [frames] read at every sample by straight lines: [(frames - 1) x 80], the first at frame 0."""
    part = np.arange(FRAME_SAMPLES) / FRAME_SAMPLES
    return (values[:-1, None] + np.diff(values)[:, None] * part).ravel()
