"""Salience to f0: local average around the peak, or a Viterbi path; voicing by the largest salience of a frame.

There are two steps. `pitch` reads salience, a block at a time where the decoder allows it. `voicing` reads one number
per frame, always of the whole recording, because a voiced run may cross the border of two blocks.

Conventions of the published weights (https://github.com/yxlllc/RMVPE, src/utils.py, after CREPE,
https://arxiv.org/abs/1802.06182): the f0 is the salience-weighted mean of the cents of the nine bins around the centre
bin; a frame is voiced if its largest salience reaches the threshold. Equality counts as in
yxlllc (`>=`), not as in RVC (`>`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rmvpe.calibration import calibrated
from rmvpe.config import ConfigError, DecodeConfig
from rmvpe.pitch import N_BINS, bins_to_cents, cents_to_hz, hz_to_bins

NEIGHBOURS = 4  # bins on each side of the centre that enter the mean: 80 cents, farther away is another pitch
OBSERVATION_BLOCK_FRAMES = 4096  # frames in float64 at a time: those of an hour would take a gigabyte
VITERBI_REACH = 30  # bins: the transition weight falls linearly to 0 at this distance (600 cents in 10 ms)


@dataclass(frozen=True)
class PitchCurve:
    """The pitch of a recording before voicing is decided: arrays [frames].

    f0_hz: float64, the decoder's best pitch in Hz of every frame, 0 only where all salience is 0.
    confidence: float32, 0 to 1. level_db: float64, in dBFS, for the silence gate; None: no gate.
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

    `f0_hz` is float64 and 0 where unvoiced; `voiced` is bool; `confidence` is float32, the calibrated largest salience
    of the frame within the f0 range. `level_db` [frames] are the levels in dBFS for the silence gate; without them
    there is no gate. Raises ValueError if the levels are not one per frame, ConfigError for `high_register`, and for a
    threshold or calibration of None: a salience alone does not say what its weights recommend.
    """
    curve = PitchCurve(*pitch(salience, config), level_db)
    voiced = curve.voiced(config)
    return np.where(voiced, curve.f0_hz, 0.0), voiced, curve.confidence


def pitch_in_blocks(blocks: Iterable[np.ndarray], config: DecodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """f0 in Hz and confidence, both [frames], as `pitch`, of salience in consecutive blocks [k, 360].

    A path does not cross from one block to the next: for a decoder of `WHOLE_RECORDING` give the whole recording in one
    block. Raises ConfigError as `pitch`.
    """
    found = [pitch(np.zeros((0, N_BINS)), config)]
    found += [pitch(block, config) for block in blocks]
    f0_hz, confidence = (np.concatenate(parts) for parts in zip(*found))
    return f0_hz, confidence


def pitch(salience: np.ndarray, config: DecodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """The f0 of each frame of salience [frames, 360] in Hz, float64 [frames], and its confidence, float32 [frames].

    Voicing is not decided; f0 is 0 only where all salience is 0. Raises ConfigError for `high_register`, which needs
    two saliences of the same audio, and for a calibration of None.
    """
    if config.high_register:
        raise ConfigError("high_register runs the network twice: give audio (rmvpe.Estimator), not a salience")
    calibration = config.known_calibration
    salience = limit_range(np.asarray(salience, dtype=np.float32), config.f0_min_hz, config.f0_max_hz)
    if not len(salience):
        return np.zeros(0), np.zeros(0, dtype=np.float32)
    centre = CENTRES[config.decoder](salience)
    f0_hz = cents_to_hz(local_average_cents(salience, centre))
    # The bin nearest to a limit may be up to half a bin beyond it, and is needed to find a pitch at the limit itself
    inside = np.clip(f0_hz, config.f0_min_hz, config.f0_max_hz)
    return np.where(f0_hz > 0, inside, 0.0), calibrated(salience.max(axis=1), calibration)


def voicing(
    f0_hz: np.ndarray, confidence: np.ndarray, config: DecodeConfig, level_db: np.ndarray | None = None
) -> np.ndarray:
    """Which frames are voiced, bool [frames], from `pitch`'s f0 in Hz and confidence, both [frames].

    A frame without a pitch, or whose level in dBFS (`level_db` [frames]) is below the silence gate, is unvoiced and
    ends a voiced run. Raises ValueError if the levels are not one per frame, ConfigError for a threshold of None.
    """
    # A Viterbi path may cross bins without any salience: such a frame has no pitch.
    sounds = f0_hz > 0
    if level_db is not None:
        if level_db.shape != f0_hz.shape:
            raise ValueError(f"levels must be one per frame, {list(f0_hz.shape)}, not {list(level_db.shape)}")
        sounds &= level_db >= config.silence_gate_db
    return hold_voiced(np.where(sounds, confidence, -np.inf), config.known_threshold, config.hysteresis)


def hold_voiced(confidence: np.ndarray, threshold: float, hysteresis: float) -> np.ndarray:
    """Schmitt trigger: bool [frames] of `confidence` [frames], all three on one scale (0 to 1, -inf: never voiced).

    A frame is voiced if it reaches `threshold`, or if the frame before it is voiced and it reaches `threshold` -
    `hysteresis`. Earlier frames do not become voiced by later ones. With a hysteresis of 0 each frame is independent.
    Source: Schmitt 1938, A thermionic trigger, doi 10.1088/0950-7671/15/1/305.
    """
    starts, holds = confidence >= threshold, confidence >= threshold - hysteresis
    if hysteresis == 0.0:
        return starts
    frames = np.arange(len(confidence))
    last_start = np.maximum.accumulate(np.where(starts, frames, -1))
    last_break = np.maximum.accumulate(np.where(holds, -1, frames))
    return last_start > last_break


def limit_range(salience: np.ndarray, f0_min_hz: float, f0_max_hz: float) -> np.ndarray:
    """Salience [frames, 360] with the bins outside the range in Hz set to 0, so that the best pitch inside it is found.

    The bin nearest to a limit counts as inside. If all bins are inside, `salience` itself is returned.
    """
    bins = np.arange(salience.shape[1])
    low = hz_to_bins(np.array(f0_min_hz)) if f0_min_hz > 0 else -np.inf
    high = hz_to_bins(np.array(f0_max_hz))
    outside = (bins < low - 0.5) | (bins > high + 0.5)
    return np.where(outside, np.float32(0.0), salience) if outside.any() else salience


def local_average_cents(salience: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Salience-weighted mean cents, float64 [frames], of the nine bins around `centre` [frames].

    `salience` is [frames, 360]; the result is -inf where all nine are 0.
    """
    offsets = np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    bins = centre[:, None] + offsets  # [frames, 9]
    inside = (bins >= 0) & (bins < salience.shape[1])
    weights = np.where(inside, np.take_along_axis(salience, np.clip(bins, 0, salience.shape[1] - 1), axis=1), 0.0)
    weights = weights.astype(np.float64)
    total = weights.sum(axis=1)
    mean = (weights * bins_to_cents(bins)).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, -np.inf)


def viterbi_path(salience: np.ndarray, *, block_frames: int = OBSERVATION_BLOCK_FRAMES) -> np.ndarray:
    """Most likely path of bins, int64 [frames], through salience [frames > 0, 360].

    Observation: salience normalised per frame. Transition: `max(30 - |i - j|, 0)`, each row normalised. Start: uniform.
    Only the 59 transitions that are possible are computed, so a frame costs 59 * 360 additions. `block_frames` frames
    are normalised at a time. Source: Viterbi 1967, doi 10.1109/TIT.1967.1054010; the transition is that of
    https://github.com/yxlllc/RMVPE.
    """
    n_frames, n_bins = salience.shape
    distance = np.arange(-(VITERBI_REACH - 1), VITERBI_REACH)
    weight = (VITERBI_REACH - np.abs(distance)).astype(np.float64)
    source = np.arange(n_bins)[:, None] + distance  # [bins, 59]: the bin that each transition starts from
    inside = (source >= 0) & (source < n_bins)
    row_sum = np.maximum(VITERBI_REACH - np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins))), 0).sum(axis=1)
    clipped = np.clip(source, 0, n_bins - 1)
    step = np.where(inside, np.log(weight / row_sum[clipped]), -np.inf)
    back = np.zeros((n_frames, n_bins), dtype=np.int16)
    rows = np.arange(n_bins)
    for frame, observed in enumerate(log_observations(salience, block_frames)):
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


# Decoder of `rmvpe.config.DECODERS` -> from salience [frames > 0, 360] to the centre bin of each frame, int [frames]
CENTRES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "local-average": lambda salience: salience.argmax(axis=1),
    "viterbi": viterbi_path,
}
# Those whose choice for a frame depends on other frames: they get the salience of the whole recording at once
WHOLE_RECORDING = {"viterbi"}


def log_observations(salience: np.ndarray, block_frames: int = OBSERVATION_BLOCK_FRAMES) -> Iterator[np.ndarray]:
    """Log of each frame of `salience` [frames, 360] normalised to sum 1, float64 [360]; uniform where all is 0."""
    for start in range(0, len(salience), block_frames):
        block = salience[start : start + block_frames]
        total = block.sum(axis=1, keepdims=True, dtype=np.float64)
        share = np.where(total > 0, block / np.where(total > 0, total, 1.0), 1.0 / salience.shape[1])
        yield from np.log(share + np.finfo(np.float64).tiny)


def check_salience(salience: np.ndarray) -> None:
    """Raise ValueError unless `salience` is [frames, 360]."""
    if salience.ndim != 2 or salience.shape[1] != N_BINS:
        raise ValueError(f"salience must be [frames, {N_BINS}], not {list(salience.shape)}")
