"""Training losses on logits [B, T, 360] against targets of the same shape."""

import optax
from jax import Array


def bce(logits: Array, target: Array) -> Array:
    """Mean binary cross-entropy over all bins and frames: the reference's loss, computed from logits for precision."""
    return optax.sigmoid_binary_cross_entropy(logits, target).mean()
