"""Do two computations of the same salience agree? Differences in salience, in cents, and in voicing."""

from dataclasses import dataclass

import numpy as np

from rmvpe.config import DecodeConfig
from rmvpe.decode import check_salience, decode
from rmvpe.pitch import cents_between

SALIENCE_TOLERANCE = 1e-4  # float32 convolutions summed in another order differ by some 1e-6 to 1e-5
CENTS_TOLERANCE = 0.1  # a fiftieth of what trained listeners can hear
FLIP_MARGIN = 1e-3  # a frame whose confidence is this close to the threshold may fall on either side of it


@dataclass(frozen=True)
class Comparison:
    """What `compare_salience` found. Differences are NaN where an input is NaN, and 0 where nothing was compared."""

    frames: int
    voiced_both: int  # frames voiced in both, over which `max_cents` is taken
    max_salience: float  # largest |difference| of salience
    max_cents: float  # largest |difference| of f0
    frames_apart: int  # of `voiced_both`, frames whose f0 differs by more than CENTS_TOLERANCE
    flips: int  # frames voiced in one and not in the other
    flip_distance: float  # largest distance from the threshold, in either input, of a flipped frame's confidence

    def agrees(
        self,
        salience_tolerance: float = SALIENCE_TOLERANCE,
        cents_tolerance: float = CENTS_TOLERANCE,
        flip_margin: float = FLIP_MARGIN,
    ) -> bool:
        """Whether everything is within tolerance. NaN never is."""
        return (
            self.max_salience <= salience_tolerance
            and self.max_cents <= cents_tolerance
            and self.flip_distance <= flip_margin
        )


def compare_salience(a: np.ndarray, b: np.ndarray, config: DecodeConfig) -> Comparison:
    """Compare two saliences [frames, 360] of the same audio, decoded as `config` says.

    Raises ValueError if the shapes differ or are not [frames, 360].
    """
    check_salience(a)
    check_salience(b)
    if a.shape != b.shape:
        raise ValueError(f"saliences of {len(a)} and {len(b)} frames cannot be compared")
    f0_a, voiced_a, confidence_a = decode(a, config)
    f0_b, voiced_b, confidence_b = decode(b, config)
    both, flipped = voiced_a & voiced_b, voiced_a != voiced_b
    distance = np.maximum(np.abs(confidence_a - config.threshold), np.abs(confidence_b - config.threshold))
    cents = np.abs(cents_between(f0_a[both], f0_b[both]))
    return Comparison(
        frames=len(a),
        voiced_both=int(both.sum()),
        max_salience=_largest(np.abs(a.astype(np.float64) - b)),
        max_cents=_largest(cents),
        frames_apart=int((~(cents <= CENTS_TOLERANCE)).sum()),
        flips=int(flipped.sum()),
        flip_distance=_largest(distance[flipped]),
    )


def _largest(values: np.ndarray) -> float:
    return float(values.max()) if values.size else 0.0
