"""Training losses on logits [B, T, 360] against targets of that shape: the definition both frameworks follow.

"bce": mean binary cross-entropy, the reference's. "weighted": each bin's cross-entropy times 1 + 9 x target, because
350 of 360 bins are never sung (the paper's weighted cross-entropy, made smooth for Gaussian targets). "focal": cross-
entropy times |target - sigmoid(logit)|^2, which lets easy bins go (Li et al. 2020, the focal loss for soft targets).
All are means over bins and frames, in float32.
"""

import numpy as np

from rmvpe.config import TrainConfig

POSITIVE_WEIGHT = 10.0
FOCAL_GAMMA = 2.0


def loss(kind: str, logits: np.ndarray, target: np.ndarray) -> float:
    """The loss `kind` in float64, for tests and for the floor."""
    logits, target = logits.astype(np.float64), target.astype(np.float64)
    entropy = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
    if kind == "weighted":
        entropy = entropy * (1.0 + (POSITIVE_WEIGHT - 1.0) * target)
    elif kind == "focal":
        entropy = entropy * np.abs(target - 1.0 / (1.0 + np.exp(-logits))) ** FOCAL_GAMMA
    return float(entropy.mean())


def dropout_floor(config: TrainConfig, target: np.ndarray) -> float:
    """The part of the loss that dropout on the logits alone causes: its share of outputs is 0.5 whatever is learnt.

    0.25 x ln 2 = 0.1733 for the reference's recipe; 0 without dropout.
    """
    rate = config.model.dropout
    return rate * loss(config.loss, np.zeros_like(target), target) if rate else 0.0
