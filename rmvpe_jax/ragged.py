"""Clips of several lengths in one batch: what fills the shorter ones up has no influence on them.

As `rmvpe_torch.ragged`, which says why: a convolution of the U-Net reads one frame beyond the end of a clip, so the
filler is set to zero before each 3x3 and each transposed convolution. XLA makes it part of the layer before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax.numpy as jnp
from jax import Array

_batch: ContextVar[tuple[Array, int] | None] = ContextVar("batch", default=None)


@contextmanager
def filler_hidden(lengths: Array, frames: int) -> Iterator[None]:
    """In this block row k of the network's input [B, frames, n_mels] ends after `lengths[k]` frames (int32 [B])."""
    token = _batch.set((lengths, frames))
    try:
        yield
    finally:
        _batch.reset(token)


def without_filler(x: Array) -> Array:
    """x [B, frames / 2^level, F, C] with zeros in place of the filler; x itself outside `filler_hidden`."""
    batch = _batch.get()
    if batch is None:
        return x
    lengths, frames = batch
    own = lengths * x.shape[1] // frames
    keep = jnp.arange(x.shape[1])[None] < own[:, None]  # [B, T]
    return jnp.where(keep[:, :, None, None], x, jnp.zeros((), x.dtype))
