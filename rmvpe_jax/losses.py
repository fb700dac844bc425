"""The training losses of `rmvpe.training.losses`, which defines them, on a JAX device.

Each takes logits and targets [B, T, 360] and gives the mean over all of them, a scalar of the logits' type. They are
computed from logits because the logarithm of a sigmoid would lose digits.
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
    """Cross-entropy with more weight on bins near the sung pitch."""
    weight = 1.0 + (POSITIVE_WEIGHT - 1.0) * target
    return (optax.sigmoid_binary_cross_entropy(logits, target) * weight).mean()


def focal(logits: Array, target: Array) -> Array:
    """Focal loss for soft targets (Li et al. 2020, arXiv:2006.04388): little weight on bins that are already right."""
    miss = jnp.abs(target - nn.sigmoid(logits))
    return (optax.sigmoid_binary_cross_entropy(logits, target) * miss**FOCAL_GAMMA).mean()


LOSSES: dict[str, Callable[[Array, Array], Array]] = {"bce": bce, "weighted": weighted, "focal": focal}
