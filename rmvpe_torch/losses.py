"""Training losses on logits [B, T, 360] against targets of the same shape; `rmvpe.training.losses` defines them.

All are means over bins and frames, computed from logits for precision; the network gives logits in float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rmvpe.training.losses import FOCAL_GAMMA, POSITIVE_WEIGHT


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy: the reference's loss."""
    return binary_cross_entropy_with_logits(logits, target)


def weighted(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with more weight where somebody sings."""
    return binary_cross_entropy_with_logits(logits, target, weight=1.0 + (POSITIVE_WEIGHT - 1.0) * target)


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with little weight where the answer is right already."""
    entropy = binary_cross_entropy_with_logits(logits, target, reduction="none")
    miss = (target - torch.sigmoid(logits)).abs()
    return (entropy * miss**FOCAL_GAMMA).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "weighted": weighted, "focal": focal}
