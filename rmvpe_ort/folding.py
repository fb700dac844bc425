"""A checkpoint with its batch norms folded: what a backend keeps, so that its graphs share memory with it.

Bits: those of `rmvpe_ort.graph.fold_batch_norm`, which finds nothing more to fold in it.
"""

from dataclasses import replace

import numpy as np

from rmvpe.checkpoint.store import Checkpoint
from rmvpe_ort.graph import batch_norm_factors, folded_weight

NORM = ("weight", "bias", "running_mean", "running_var")
TRANSPOSED = ".conv1.0"  # how the path of a transposed convolution ends


def folded(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with each batch norm after a convolution as part of it: that batch norm only adds the bias.

    Its variance is 1 - epsilon, rounded to float32, which makes a factor within 2^-25 of 1: no float32 weight changes
    by it. Each tensor is asked for once. The weights of convolutions are new arrays.
    """
    epsilon = float(np.float32(checkpoint.config.bn_epsilon))  # as a node of ONNX has it
    tensors: dict[str, np.ndarray] = {}
    for name in checkpoint.tensors:
        path, _, kind = name.rpartition(".")
        conv = convolution_before(path)
        if conv is None or f"{conv}.weight" not in checkpoint.tensors:
            tensors[name] = checkpoint.tensors[name]
        elif kind == "running_var":  # the last of its batch norm
            numbers = [tensors[f"{path}.{part}"] for part in NORM[:-1]]
            factor, shift = batch_norm_factors([*numbers, checkpoint.tensors[name]], epsilon)
            weight = f"{conv}.weight"
            tensors[weight] = folded_weight(tensors[weight], factor, transposed=conv.endswith(TRANSPOSED))
            bias = shift.astype(np.float32)
            plain = (np.ones_like(bias), bias, np.zeros_like(bias), np.full_like(bias, 1.0 - epsilon))
            tensors |= {f"{path}.{part}": array for part, array in zip(NORM, plain, strict=True)}
        else:
            tensors[name] = checkpoint.tensors[name]
    return replace(checkpoint, tensors=tensors)


def convolution_before(path: str) -> str | None:
    """The path of what comes before the module at `path` in its sequence: "a.conv.4" -> "a.conv.3"; None if nothing."""
    sequence, _, place = path.rpartition(".")
    return f"{sequence}.{int(place) - 1}" if place.isdecimal() and int(place) > 0 else None
