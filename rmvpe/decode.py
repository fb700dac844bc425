"""Salience to f0: local average around the peak, or a Viterbi path; voicing by the largest salience of a frame.

There are two steps. `pitch` reads salience; long recordings come in blocks, with the result of the whole
(`pitch_in_blocks`). `voicing` reads one number per frame, always of the whole recording, because a voiced run may cross
the border of two blocks.

Conventions of the published weights (https://github.com/yxlllc/RMVPE, src/utils.py, after CREPE,
https://arxiv.org/abs/1802.06182): the f0 is the salience-weighted mean of the cents of the nine bins around the centre
bin; a frame is voiced if its largest salience reaches the threshold. Equality counts as in
yxlllc (`>=`), not as in RVC (`>`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rmvpe.calibration import calibrated
from rmvpe.config import DecodeConfig
from rmvpe.config_check import ConfigError
from rmvpe.pitch import N_BINS, bins_to_cents, cents_to_hz, hz_to_bins
from rmvpe.viterbi import path_in_blocks

NEIGHBOURS = 4  # bins on each side of the centre that enter the mean: 80 cents, farther away is another pitch


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

    The result is that of the whole salience; only a few blocks of it are kept. Raises ConfigError as `pitch`.
    """
    if config.high_register:
        raise ConfigError("high_register runs the network twice: give audio (rmvpe.Estimator), not a salience")
    calibration = config.known_calibration
    limited = (limit_range(np.asarray(block, np.float32), config.f0_min_hz, config.f0_max_hz) for block in blocks)
    f0_hz, confidence = [np.zeros(0)], [np.zeros(0, dtype=np.float32)]
    for block, centre in CENTRES[config.decoder](block for block in limited if len(block)):
        found_hz = cents_to_hz(local_average_cents(block, centre))
        # The bin nearest to a limit may be up to half a bin beyond it: it is needed to find a pitch at the limit itself
        inside = np.clip(found_hz, config.f0_min_hz, config.f0_max_hz)
        f0_hz.append(np.where(found_hz > 0, inside, 0.0))
        confidence.append(calibrated(block.max(axis=1), calibration))
    return np.concatenate(f0_hz), np.concatenate(confidence)


def pitch(salience: np.ndarray, config: DecodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """The f0 of each frame of salience [frames, 360] in Hz, float64 [frames], and its confidence, float32 [frames].

    Voicing is not decided; f0 is 0 only where all salience is 0. Raises ConfigError for `high_register`, which needs
    two saliences of the same audio, and for a calibration of None.
    """
    return pitch_in_blocks([salience], config)


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


def _loudest_bins(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for block in blocks:
        yield block, block.argmax(axis=1)


# Decoder of `rmvpe.config.DECODERS` -> from salience in consecutive blocks [k, 360] to blocks of it, cut anywhere, with
# the centre bin of each frame, int [k]
CENTRES: dict[str, Callable[[Iterable[np.ndarray]], Iterator[tuple[np.ndarray, np.ndarray]]]] = {
    "local-average": _loudest_bins,
    "viterbi": path_in_blocks,
}


def check_salience(salience: np.ndarray) -> None:
    """Raise ValueError unless `salience` is [frames, 360]."""
    if salience.ndim != 2 or salience.shape[1] != N_BINS:
        raise ValueError(f"salience must be [frames, {N_BINS}], not {list(salience.shape)}")
