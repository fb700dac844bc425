"""Batches made by hand, and the same change to every array of one."""

import dataclasses
from collections.abc import Callable

import numpy as np

from rmvpe.data.pipeline import Batch


def made_up(log_mel: np.ndarray, target: np.ndarray) -> Batch:
    """A batch of `log_mel` [B, T, n_mels] and `target` [B, T, n_bins], all a trainer reads; the rest is zeros."""
    zeros = np.zeros(len(log_mel))
    return Batch(log_mel, target, np.zeros(log_mel.shape[:2], np.float32), zeros.astype(np.int64), zeros)


def mapped(batch: Batch, function: Callable[[np.ndarray], np.ndarray]) -> Batch:
    """The batch with `function` applied to each of its arrays."""
    return Batch(**{name: function(array) for name, array in arrays(batch).items()})


def arrays(batch: Batch) -> dict[str, np.ndarray]:
    """The arrays of a batch by name."""
    return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
