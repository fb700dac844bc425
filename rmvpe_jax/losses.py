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
    """[B, T, bins] each -> the mean binary cross-entropy, the loss of the reference."""
    return optax.sigmoid_binary_cross_entropy(logits, target).mean()


def weighted(logits: Array, target: Array) -> Array:
    """[B, T, bins] each -> mean cross-entropy; bins near the sung pitch weigh up to `POSITIVE_WEIGHT` times as much."""
    weight = 1.0 + (POSITIVE_WEIGHT - 1.0) * target
    return (optax.sigmoid_binary_cross_entropy(logits, target) * weight).mean()


def focal(logits: Array, target: Array) -> Array:
    """[B, T, bins] each -> focal loss for soft targets (https://arxiv.org/abs/2006.04388); good bins weigh little."""
    miss = jnp.abs(target - nn.sigmoid(logits))
    return (optax.sigmoid_binary_cross_entropy(logits, target) * miss**FOCAL_GAMMA).mean()


LOSSES: dict[str, Callable[[Array, Array], Array]] = {"bce": bce, "weighted": weighted, "focal": focal}
