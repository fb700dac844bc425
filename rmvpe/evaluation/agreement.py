"""Do two backends agree on the salience of the same audio? Differences in salience, in cents, and in voicing."""

from dataclasses import dataclass

import numpy as np

from rmvpe.config import DecodeConfig
from rmvpe.decode import check_salience, decode
from rmvpe.pitch import cents_between

SALIENCE_TOLERANCE = 1e-4  # float32 convolutions that are summed in another order differ by 1e-6 to 1e-5
CENTS_TOLERANCE = 0.1  # trained listeners hear differences from about 5 cents on
FLIP_MARGIN = 1e-3  # a frame whose confidence is this close to the threshold may be voiced or not


@dataclass(frozen=True)
class Comparison:
    """The result of `compare_salience`.

    A difference is NaN if an input is NaN, and 0 if there is nothing to compare.
    """

    frames: int
    voiced_both: int  # frames that are voiced in both
    max_salience: float  # largest |difference| of salience
    max_cents: float  # largest |difference| of f0 in cents, over the frames that are voiced in both
    frames_apart: int  # frames that are voiced in both and whose f0 differs by more than CENTS_TOLERANCE
    flips: int  # frames that are voiced in only one of the two
    flip_distance: (
        float  # largest distance between the confidence of a flipped frame, in either input, and the threshold
    )

    def agrees(
        self,
        salience_tolerance: float = SALIENCE_TOLERANCE,
        cents_tolerance: float = CENTS_TOLERANCE,
        flip_margin: float = FLIP_MARGIN,
    ) -> bool:
        """Whether all differences are within tolerance: of salience, of f0 in cents, and `flip_distance`.

        NaN is never within tolerance.
        """
        return (
            self.max_salience <= salience_tolerance
            and self.max_cents <= cents_tolerance
            and self.flip_distance <= flip_margin
        )


def compare_salience(a: np.ndarray, b: np.ndarray, config: DecodeConfig) -> Comparison:
    """Compare two saliences of the same audio, both [frames, 360], 0 to 1, and their f0 and voicing under `config`.

    Raises ValueError if the shapes differ or are not [frames, 360], ConfigError as `rmvpe.decode.decode`.
    """
    check_salience(a)
    check_salience(b)
    if a.shape != b.shape:
        raise ValueError(f"cannot compare saliences of {len(a)} and {len(b)} frames")
    f0_a, voiced_a, confidence_a = decode(a, config)
    f0_b, voiced_b, confidence_b = decode(b, config)
    both, flipped = voiced_a & voiced_b, voiced_a != voiced_b
    threshold = config.known_threshold
    distance = np.maximum(np.abs(confidence_a - threshold), np.abs(confidence_b - threshold))
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
