"""Training losses on logits [B, T, 360] against targets of the same shape."""

import torch
from torch import Tensor


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy over all bins and frames: the reference's loss, computed from logits for precision."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
