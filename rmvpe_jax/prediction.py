"""The U-Net's convolutions for prediction in float32: the same function as in training, in a form that XLA is fast at.

`prepare` replaces them in a loaded model. Batch norms become part of the convolutions before them, and the kernels are
laid out once. docs/performance.md has the times.

Shapes: B batch, T frames, F mel bands, C channels.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array, lax

from rmvpe_jax.checkpoint import dotted, get_weights
from rmvpe_jax.layers import PHASE_TAPS, PHASES, BatchNorm, Conv, ConvTranspose, per_channel
from rmvpe_jax.model import RMVPE
from rmvpe_jax.ragged import without_filler

# XLA on a CPU has a fast routine for convolutions (YNNPACK's). It takes those with more channels than this, before or
# after them, and divides the work among threads only if the last axis of the image is long
FEW_CHANNELS = 16


class ReadyConv(nnx.Module):
    """A 3x3 convolution with "same" padding and a bias.

    On a CPU the axes of the image change places around it, so that time comes last, which is long. Few channels become
    more: `packed` frames are computed at a time, as one with `packed` * C' channels, by a window that is wider by as
    many frames and moves on by as many.
    """

    def __init__(self, conv: Conv, factor: Any, shift: np.ndarray, *, cpu: bool):
        """`factor` and `shift` [C'] are applied to the result."""
        kernel = np.asarray(conv.kernel[...]) * factor  # [3, 3, C, C'] over time and frequency
        _, _, inputs, self.outputs = kernel.shape
        self.packed = frames_at_a_time(inputs, self.outputs) if cpu else 1
        if cpu:
            shifted = [np.pad(kernel, ((i, self.packed - 1 - i), *[(0, 0)] * 3)) for i in range(self.packed)]
            kernel = np.concatenate(shifted, axis=-1).swapaxes(0, 1)
        self.kernel = nnx.Param(to_float32(kernel))
        self.bias = nnx.Param(to_float32(shift))
        self.precision = conv.precision
        self.cpu = cpu

    def plain(self, kernel: np.ndarray) -> np.ndarray:
        """Of this module's kernel, the one of a `Conv` [3, 3, C, C'] that gives the same."""
        return kernel[:, :3, :, : self.outputs].swapaxes(0, 1) if self.cpu else kernel

    def __call__(self, x: Array) -> Array:
        """[B, T, F, C] -> [B, T, F, C']."""
        x = without_filler(x)
        x = x.swapaxes(1, 2) if self.cpu else x
        batch, rows, columns, _ = x.shape
        missing = -columns % self.packed
        padding = ((1, 1), (1, 1 + missing))
        x = convolve(x, self.kernel[...], self.precision, strides=(1, self.packed), padding=padding)
        x = x.reshape(batch, rows, columns + missing, self.outputs)  # [B, F, T / packed, packed * C'] -> [B, F, T, C']
        x = x[:, :, :columns] + per_channel(self.bias[...])
        return x.swapaxes(1, 2) if self.cpu else x


class ReadyConvTranspose(nnx.Module):
    """`ConvTranspose` with a bias; the kernel of its phases is made once. On a CPU time comes last, as above."""

    def __init__(self, conv: ConvTranspose, factor: np.ndarray, shift: np.ndarray, *, cpu: bool):
        """`factor` and `shift` [C'] are applied to the result."""
        kernel = np.asarray(conv.kernel[...]) * factor  # [3, 3, C, C'] over time and frequency
        phases = np.einsum(PHASES, PHASE_TAPS, PHASE_TAPS, kernel.swapaxes(0, 1) if cpu else kernel)
        self.kernel = nnx.Param(to_float32(phases.reshape(*phases.shape[:3], -1)))
        self.bias = nnx.Param(to_float32(shift))
        self.precision = conv.precision
        self.cpu = cpu

    def plain(self, kernel: np.ndarray) -> np.ndarray:
        """Of this module's kernel, the one of a `ConvTranspose` [3, 3, C, C'] that gives the same."""
        phases = kernel.reshape(*kernel.shape[:3], 2, 2, -1)
        into, apart = PHASES.split("->")
        taps_of_time, taps_of_frequency, whole = into.split(",")
        # Each tap of a kernel is in exactly one phase
        taken = np.einsum(f"{taps_of_time},{taps_of_frequency},{apart}->{whole}", PHASE_TAPS, PHASE_TAPS, phases)
        return taken.swapaxes(0, 1) if self.cpu else taken

    def __call__(self, x: Array) -> Array:
        """[B, T, F, C] -> [B, 2T, 2F, C']."""
        x = without_filler(x)
        x = x.swapaxes(1, 2) if self.cpu else x
        batch, rows, columns, _ = x.shape
        x = convolve(x, self.kernel[...], self.precision, strides=(1, 1), padding=((0, 1), (0, 1)))
        x = x.reshape(batch, rows, columns, 2, 2, -1).swapaxes(2, 3).reshape(batch, 2 * rows, 2 * columns, -1)
        x = x + per_channel(self.bias[...])
        return x.swapaxes(1, 2) if self.cpu else x


def prepare(model: RMVPE, *, cpu: bool) -> RMVPE:
    """Replace the convolutions of a float32 model in evaluation mode by those of this module; returns the model.

    Batch norms are folded in float64. The first one of the network stays: zero padding lies between it and the
    convolution after it. `cpu`: whether the model is for a CPU.
    """
    for layers in [node for _, node in nnx.iter_graph(model) if isinstance(node, nnx.List)]:
        for i, (conv, norm) in enumerate(list(pairwise(layers))):
            if isinstance(norm, BatchNorm):
                factor, shift = norm.factor_and_shift()
                if isinstance(conv, Conv):
                    layers[i] = ReadyConv(conv, factor, shift, cpu=cpu)
                else:
                    layers[i] = ReadyConvTranspose(conv, factor, shift, cpu=cpu)
                layers[i + 1] = nnx.static(unchanged)
    cnn: Any = ReadyConv(model.cnn, 1.0, np.asarray(model.cnn.bias[...]), cpu=cpu)
    model.cnn = cnn
    return model


def folded_weights(model: RMVPE) -> dict[str, Callable[[], np.ndarray]]:
    """For each NNX path of the network before `prepare`, what gives weights that make the very bits of `model` again.

    The batch norms in them do nothing but add the bias: a variance of 1 - epsilon is rounded to float32, which makes a
    factor within 2^-26 of 1, and that changes no float32 weight. On a CPU they need no memory until they are called,
    and then nothing of JAX, which a forked process cannot use.
    """
    views = get_weights(model)
    found: dict[str, Callable[[], np.ndarray]] = {name: partial(np.asarray, view) for name, view in views.items()}
    for path, layers in nnx.iter_graph(model):
        if isinstance(layers, nnx.List):
            for i, (conv, norm) in enumerate(pairwise(layers)):
                if norm is unchanged:
                    kernel, bias = (dotted((*path, i, leaf)) for leaf in ("kernel", "bias"))
                    found[kernel] = partial(conv.plain, views[kernel])
                    del found[bias]
                    shift, epsilon = views[bias], model.config.bn_epsilon
                    numbers = {"scale": 1.0, "mean": 0.0, "var": 1.0 - epsilon}
                    for leaf, number in numbers.items():
                        found[dotted((*path, i + 1, leaf))] = partial(np.full, shift.shape, number, np.float32)
                    found[dotted((*path, i + 1, "bias"))] = partial(np.asarray, shift)
    if isinstance(model.cnn, ReadyConv):
        found["cnn.kernel"] = partial(model.cnn.plain, views["cnn.kernel"])
    return found


def unchanged(x: Array) -> Array:
    """What stands where a batch norm was."""
    return x


def frames_at_a_time(inputs: int, outputs: int) -> int:
    """How many frames `ReadyConv` computes at a time: a power of two, 1 where channels are enough."""
    frames = 1
    while max(inputs, outputs * frames) <= FEW_CHANNELS:
        frames *= 2
    return frames


def convolve(
    x: Array,
    kernel: Array,
    precision: lax.Precision | None,
    *,
    strides: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
) -> Array:
    """A convolution of images with channels last."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout, precision=precision)


def to_float32(array: np.ndarray) -> Array:
    """A copy on JAX's side."""
    return jax.device_put(np.array(array, np.float32, order="C"))
