"""Training losses on logits [B, T, 360] against targets of the same shape; `rmvpe.training.losses` defines them.

All are means over bins and frames in float32, computed from logits for precision.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax import Array, nn

from rmvpe.training.losses import FOCAL_GAMMA, POSITIVE_WEIGHT


def bce(logits: Array, target: Array) -> Array:
    """Mean binary cross-entropy: the reference's loss."""
    return optax.sigmoid_binary_cross_entropy(logits, target).mean()


def weighted(logits: Array, target: Array) -> Array:
    """Cross-entropy with more weight where somebody sings."""
    weight = 1.0 + (POSITIVE_WEIGHT - 1.0) * target
    return (optax.sigmoid_binary_cross_entropy(logits, target) * weight).mean()


def focal(logits: Array, target: Array) -> Array:
    """Cross-entropy with little weight where the answer is right already."""
    miss = jnp.abs(target - nn.sigmoid(logits))
    return (optax.sigmoid_binary_cross_entropy(logits, target) * miss**FOCAL_GAMMA).mean()


LOSSES: dict[str, Callable[[Array, Array], Array]] = {"bce": bce, "weighted": weighted, "focal": focal}
