"""Training losses on logits [B, T, 360] and targets [B, T, 360] in 0..1; `rmvpe.training.losses` defines them.

Each is a mean [] over batch, frames and bins. From logits it is more precise than from sigmoids.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rmvpe.training.losses import FOCAL_GAMMA, POSITIVE_WEIGHT


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """[B, T, bins] each -> the mean binary cross-entropy, the loss of the reference."""
    return binary_cross_entropy_with_logits(logits, target)


def weighted(logits: Tensor, target: Tensor) -> Tensor:
    """[B, T, bins] each -> mean cross-entropy; bins near the sung pitch weigh up to `POSITIVE_WEIGHT` times as much."""
    return binary_cross_entropy_with_logits(logits, target, weight=1.0 + (POSITIVE_WEIGHT - 1.0) * target)


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """[B, T, bins] each -> focal loss for soft targets (https://arxiv.org/abs/2006.04388); good bins weigh little."""
    entropy = binary_cross_entropy_with_logits(logits, target, reduction="none")
    miss = (target - torch.sigmoid(logits)).abs()
    return (entropy * miss**FOCAL_GAMMA).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "weighted": weighted, "focal": focal}
