"""Salience to f0: local average around the peak, or a Viterbi path; voicing by the largest salience of a frame.

Two steps: `pitch` looks at salience, a block at a time where the decoder allows it; `voicing` looks at one number per
frame, and always at the whole recording, so that a voiced run may cross the border of two blocks.

Conventions of the published weights (FACTS.md): the f0 is the salience-weighted mean of the cents of the nine bins
around the centre bin; a frame is voiced if its largest salience reaches the threshold. Where forks disagree on
equality (`>=` in yxlllc, `>` in RVC) we take `>=`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rmvpe.calibration import calibrated
from rmvpe.config import ConfigError, DecodeConfig
from rmvpe.pitch import N_BINS, bins_to_cents, cents_to_hz, hz_to_bins

NEIGHBOURS = 4  # bins on each side of the centre that enter the mean: 80 cents, beyond which lies another pitch
BLOCK_FRAMES = 4096  # observations in float64 at a time: an hour's would take a gigabyte
VITERBI_REACH = 30  # bins: the transition weight falls linearly to 0 at this distance (600 cents in 10 ms)


@dataclass(frozen=True)
class PitchCurve:
    """The pitch of a recording before voicing is decided: arrays [frames].

    f0_hz: float64, in every frame the decoder's best pitch in Hz, 0 only where it finds no salience at all.
    confidence: float32, 0 to 1. level_db: float64, in dBFS, for the silence gate; None: nothing is gated.
    """

    f0_hz: np.ndarray
    confidence: np.ndarray
    level_db: np.ndarray | None = None

    def voiced(self, config: DecodeConfig) -> np.ndarray:
        """Which frames are voiced by the threshold, hysteresis and silence gate of `config`, bool [frames]."""
        return voicing(self.f0_hz, self.confidence, config, self.level_db)


def decode(
    salience: np.ndarray, config: DecodeConfig, level_db: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode salience [frames, 360] to (f0_hz, voiced, confidence), each [frames].

    `f0_hz` is float64 and 0 where not voiced; `confidence` is the frame's largest salience within the f0 range,
    calibrated.
    `level_db` [frames] are the levels in dBFS that the silence gate compares; without them nothing is gated.
    Raises ValueError if their number is not that of the frames, ConfigError for `high_register`.
    """
    curve = PitchCurve(*pitch(salience, config), level_db)
    voiced = curve.voiced(config)
    return np.where(voiced, curve.f0_hz, 0.0), voiced, curve.confidence


def pitch_in_blocks(blocks: Iterable[np.ndarray], config: DecodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """`pitch` of a recording whose salience comes in consecutive blocks [k, 360], none for no frames.

    Viterbi's path does not cross from one block to the next: it wants the whole in one block.
    """
    found = [pitch(np.zeros((0, N_BINS)), config)]
    found += [pitch(block, config) for block in blocks]
    f0_hz, confidence = (np.concatenate(parts) for parts in zip(*found))
    return f0_hz, confidence


def pitch(salience: np.ndarray, config: DecodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """The pitch of each frame of salience [frames, 360] in Hz, float64 [frames], and its confidence, float32 [frames].

    Nothing is said about voicing; the pitch is 0 only where the decoder finds no salience at all. Raises ConfigError
    for `high_register`, which takes two saliences of the same audio.
    """
    if config.high_register:
        raise ConfigError("high_register hears the audio twice: it works on audio (rmvpe.Estimator), not on a salience")
    salience = limit_range(np.asarray(salience, dtype=np.float32), config.f0_min_hz, config.f0_max_hz)
    if not len(salience):
        return np.zeros(0), np.zeros(0, dtype=np.float32)
    centre = salience.argmax(axis=1) if config.decoder == "local-average" else viterbi_path(salience)
    f0_hz = cents_to_hz(local_average_cents(salience, centre))
    # The bin nearest to a limit may lie up to half a bin beyond it, and is needed to find a pitch at the limit itself
    inside = np.clip(f0_hz, config.f0_min_hz, config.f0_max_hz)
    return np.where(f0_hz > 0, inside, 0.0), calibrated(salience.max(axis=1), config.calibration)


def voicing(
    f0_hz: np.ndarray, confidence: np.ndarray, config: DecodeConfig, level_db: np.ndarray | None = None
) -> np.ndarray:
    """Which frames are voiced, bool [frames], from `pitch`'s f0 in Hz and confidence, both [frames].

    A frame without a pitch, or whose level in dBFS (`level_db` [frames]) is below the silence gate, is unvoiced and
    ends a voiced run. Raises ValueError if the levels are not one per frame.
    """
    # A Viterbi path may cross bins where nothing sounds; there is no pitch to report at such a frame.
    sounds = f0_hz > 0
    if level_db is not None:
        if level_db.shape != f0_hz.shape:
            raise ValueError(f"levels must be one per frame, {list(f0_hz.shape)}, not {list(level_db.shape)}")
        sounds &= level_db >= config.silence_gate_db
    return hold_voiced(np.where(sounds, confidence, -np.inf), config.threshold, config.hysteresis)


def hold_voiced(confidence: np.ndarray, threshold: float, hysteresis: float) -> np.ndarray:
    """Schmitt trigger: bool [frames] of `confidence` [frames], all three on one scale (0 to 1, -inf: never voiced).

    A frame is voiced if it reaches `threshold`, or if the frame before it is voiced and it reaches `threshold` -
    `hysteresis`. Nothing is voiced backward in time. With a hysteresis of 0 each frame decides alone.
    """
    starts, holds = confidence >= threshold, confidence >= threshold - hysteresis
    if hysteresis == 0.0:
        return starts
    frames = np.arange(len(confidence))
    last_start = np.maximum.accumulate(np.where(starts, frames, -1))
    last_break = np.maximum.accumulate(np.where(holds, -1, frames))
    return last_start > last_break


def limit_range(salience: np.ndarray, f0_min_hz: float, f0_max_hz: float) -> np.ndarray:
    """Salience [frames, 360] with bins outside the range set to 0: the best candidate *inside* it is then found."""
    bins = np.arange(salience.shape[1])
    low = hz_to_bins(np.array(f0_min_hz)) if f0_min_hz > 0 else -np.inf
    high = hz_to_bins(np.array(f0_max_hz))
    outside = (bins < low - 0.5) | (bins > high + 0.5)
    return np.where(outside, np.float32(0.0), salience) if outside.any() else salience


def local_average_cents(salience: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Salience-weighted mean cents [frames] over the nine bins around `centre` [frames]; -inf where all nine are 0."""
    offsets = np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    bins = centre[:, None] + offsets  # [frames, 9]
    inside = (bins >= 0) & (bins < salience.shape[1])
    weights = np.where(inside, np.take_along_axis(salience, np.clip(bins, 0, salience.shape[1] - 1), axis=1), 0.0)
    weights = weights.astype(np.float64)
    total = weights.sum(axis=1)
    mean = (weights * bins_to_cents(bins)).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, -np.inf)


def viterbi_path(salience: np.ndarray) -> np.ndarray:
    """Most likely bin path [frames] through salience [frames, 360].

    Observation: salience normalised per frame. Transition: `max(30 - |i - j|, 0)`, each row normalised. Start: uniform.
    Only the 59 transitions within reach are looked at, so a frame costs 59 * 360 additions.
    """
    n_frames, n_bins = salience.shape
    distance = np.arange(-(VITERBI_REACH - 1), VITERBI_REACH)
    weight = (VITERBI_REACH - np.abs(distance)).astype(np.float64)
    source = np.arange(n_bins)[:, None] + distance  # [bins, 59]: the bin each transition comes from
    inside = (source >= 0) & (source < n_bins)
    row_sum = np.maximum(VITERBI_REACH - np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins))), 0).sum(axis=1)
    clipped = np.clip(source, 0, n_bins - 1)
    step = np.where(inside, np.log(weight / row_sum[clipped]), -np.inf)
    back = np.zeros((n_frames, n_bins), dtype=np.int16)
    rows = np.arange(n_bins)
    for frame, observed in enumerate(log_observations(salience)):
        if frame == 0:
            best = observed - np.log(n_bins)
            continue
        candidates = best[clipped] + step
        choice = candidates.argmax(axis=1)
        back[frame] = clipped[rows, choice]
        best = candidates[rows, choice] + observed
    path = np.empty(n_frames, dtype=np.int64)
    path[-1] = best.argmax()
    for frame in range(n_frames - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path


def log_observations(salience: np.ndarray) -> Iterator[np.ndarray]:
    """Log of each frame of `salience` [frames, 360] normalised to sum 1, float64 [360]; uniform where all is 0."""
    for start in range(0, len(salience), BLOCK_FRAMES):
        block = salience[start : start + BLOCK_FRAMES]
        total = block.sum(axis=1, keepdims=True, dtype=np.float64)
        share = np.where(total > 0, block / np.where(total > 0, total, 1.0), 1.0 / salience.shape[1])
        yield from np.log(share + np.finfo(np.float64).tiny)


def check_salience(salience: np.ndarray) -> None:
    """Raise ValueError unless `salience` is [frames, 360]."""
    if salience.ndim != 2 or salience.shape[1] != N_BINS:
        raise ValueError(f"salience must be [frames, {N_BINS}], not {list(salience.shape)}")
