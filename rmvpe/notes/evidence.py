"""What the curves around an instant tell of it: whether a note begins here, ends here, or sounds.

A small network of two dense layers reads 500 ms around every border between two frames of 10 ms and gives three
log-odds. It was trained on synthetic singing whose notes are known (`scripts/fit_notes.py`, rmvpe/weights/notes.md).
There are two: one that hears the voice, and one for an f0 without its sound. What it reads of each frame:

- with sound: the level in four bands of harmonics and their mean, each relative to the loudest within 300 ms on each
  side, in 20 dB;
- the log-odds of the confidence, a quarter of it; 1 if the frame is voiced;
- the pitch relative to the median of the window, in two semitones, with and without its sign.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONTEXT = 25  # frames on each side of a border
AROUND = 30  # frames on each side among which the loudest is looked for
LOUD, QUIET_DB = 0.95, 45.0  # below the loud level (this quantile) of the voice, all is equally quiet
RANGE_DB = 20.0
SEMITONES = 2.0
CERTAIN = 0.99  # confidence counts between 1 - this and this
BLOCK = 8192  # borders at once
WEIGHTS = Path(__file__).parent.parent / "weights" / "notes.npz"


@dataclass(frozen=True)
class Evidence:
    """Natural log-odds that a note begins and ends at each border, and sounds at it: [frames + 1] each."""

    begins: np.ndarray
    ends: np.ndarray
    sounds: np.ndarray


@dataclass(frozen=True)
class Network:
    """mean, scale [inputs]; weights and biases of the layers, with a rectifier between them."""

    mean: np.ndarray
    scale: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Log-odds [n, 3] of inputs [n, inputs]."""
        values = (inputs - self.mean) / self.scale
        for number, (weights, biases) in enumerate(self.layers):
            values = np.maximum(values, 0.0) if number else values
            values = values @ weights.T + biases
        return values


@functools.cache
def network(with_sound: bool) -> Network:
    """The bundled network that hears the sound, or the one for f0 alone."""
    kind = "sound" if with_sound else "f0"
    with np.load(WEIGHTS, allow_pickle=False) as file:
        layers = [(file[f"{kind}.weight{k}"], file[f"{kind}.bias{k}"]) for k in range(2)]
        return Network(file[f"{kind}.mean"], file[f"{kind}.scale"], tuple(layers))


def evidence(
    pitch: np.ndarray,
    voiced: np.ndarray,
    confidence: np.ndarray,
    level_db: np.ndarray | None,
    bands_db: np.ndarray | None,
    model: Network,
) -> Evidence:
    """The evidence at every border of frames of 10 ms, of curves [frames]; levels, and bands [frames, 4], or None."""
    log_odds = [model(block) for block in inputs_in_blocks(pitch, voiced, confidence, level_db, bands_db)]
    begins, ends, sounds = np.concatenate(log_odds).astype(np.float64).T
    return Evidence(begins, ends, sounds)


def inputs_in_blocks(
    pitch: np.ndarray,
    voiced: np.ndarray,
    confidence: np.ndarray,
    level_db: np.ndarray | None,
    bands_db: np.ndarray | None,
    block: int = BLOCK,
) -> Iterator[np.ndarray]:
    """What the network reads at every border, float32 [k, inputs] at a time, [frames + 1, inputs] in all."""
    certain = np.clip(confidence, 1.0 - CERTAIN, CERTAIN)
    columns = [np.log(certain / (1.0 - certain)) / 4.0, voiced.astype(np.float64)]
    if bands_db is not None and level_db is not None:
        # Without the voice's own level as a floor, the click at the edge of a pure tone would be all of an empty band
        loud = np.maximum(np.quantile(bands_db, LOUD, axis=0), np.quantile(level_db, LOUD))
        heard = np.maximum(bands_db, loud - QUIET_DB)
        levels = np.column_stack([heard.mean(axis=1), heard])
        columns = [*_below_loudest(levels).T, *columns]
    frames = np.arange(len(pitch))
    drawn_on = np.interp(frames, frames[voiced], pitch[voiced]) if voiced.any() else np.zeros(len(pitch))
    curves = np.pad(np.column_stack(columns).astype(np.float32), ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    notes = np.pad(drawn_on, CONTEXT, mode="edge")

    def read(first: int) -> np.ndarray:
        stop = min(first + block, len(pitch) + 1)
        windows = _windows(curves[first : stop + 2 * CONTEXT - 1])  # [k, columns, window]
        around = _windows(notes[first : stop + 2 * CONTEXT - 1])
        bend = np.clip((around - np.median(around, axis=1, keepdims=True)) / SEMITONES, -1.5, 1.5)
        return np.concatenate([windows.reshape(len(windows), -1), bend, np.abs(bend)], axis=1).astype(np.float32)

    return map(read, range(0, len(pitch) + 1, block))


def _windows(values: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(values, 2 * CONTEXT, axis=0)


def _below_loudest(levels_db: np.ndarray) -> np.ndarray:
    """Levels [frames, columns] below the loudest around, in `RANGE_DB`, at most two of it."""
    padded = np.pad(levels_db, ((AROUND, AROUND), (0, 0)), mode="edge")
    loudest = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1, axis=0).max(axis=-1)
    return np.clip((levels_db - loudest) / RANGE_DB, -2.0, 0.0)
