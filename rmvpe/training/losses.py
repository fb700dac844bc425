"""Training losses of logits [B, T, 360] and targets [B, T, 360]: the definition for both frameworks.

"bce": binary cross-entropy, as in the reference, https://github.com/yxlllc/RMVPE. "weighted": the cross-entropy of each
bin times 1 + 9 x target, because nearly all bins of a frame have the target 0: the weighted cross-entropy of the paper
(https://arxiv.org/abs/2306.15412), made continuous for Gaussian targets. "focal": the cross-entropy times
|target - sigmoid(logit)|^2, which gives easy bins less weight: the focal loss (Lin et al. 2017,
https://arxiv.org/abs/1708.02002) in its form for soft targets (Li et al. 2020, generalized focal loss,
https://arxiv.org/abs/2006.04388). All are means over batch, frames and bins, in float32.
"""

import numpy as np

from rmvpe.config import TrainConfig

POSITIVE_WEIGHT = 10.0
FOCAL_GAMMA = 2.0


def loss(kind: str, logits: np.ndarray, target: np.ndarray) -> float:
    """The loss `kind` ("bce", "weighted", "focal") of logits and target, both [B, T, 360], computed in float64."""
    logits, target = logits.astype(np.float64), target.astype(np.float64)
    entropy = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
    if kind == "weighted":
        entropy = entropy * (1.0 + (POSITIVE_WEIGHT - 1.0) * target)
    elif kind == "focal":
        entropy = entropy * np.abs(target - 1.0 / (1.0 + np.exp(-logits))) ** FOCAL_GAMMA
    return float(entropy.mean())


def dropout_floor(config: TrainConfig, target: np.ndarray) -> float:
    """The part of the loss for `target` [B, T, 360] that dropout on the logits causes: dropped outputs are always 0.5.

    It is 0.25 x ln 2 = 0.1733 in the reference's recipe, and 0 without dropout.
    """
    rate = config.model.dropout
    return rate * loss(config.loss, np.zeros_like(target), target) if rate else 0.0
