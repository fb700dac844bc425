"""The leaf layers of `rmvpe_jax.model`, with torch's arithmetic and torch's default initial weights.

In this order: `Draw` draws initial weights, `Conv`, `ConvTranspose` and `BatchNorm` are the layers of the U-Net,
`Layers` makes every leaf layer of one network.

Shapes: B batch, T frames, F mel bands, C channels. JAX keeps images as [B, T, F, C].
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike

from rmvpe.config import ModelConfig
from rmvpe_jax.ragged import without_filler

KERNEL = 3  # every convolution of the U-Net is 3x3, "same" padding
PHASE_TAPS = (((0, 1, 0), (0, 0, 0)), ((1, 0, 0), (0, 0, 1)))  # [output phase, input i or i + 1, tap]: ConvTranspose
# a, b: phase over time and frequency; i, j: input pixel; u, v: tap; c, o: input and output channel
PHASES = "aiu,bjv,uvco->ijcabo"


class Draw:
    """A stream of initial weights, drawn by numpy: the same numbers on every device and JAX version.

    `seed` None gives zeros, for weights that a checkpoint replaces. `jax.random` would compile a kernel for each shape,
    which costs the `small` network ten seconds before the first step. So does `jnp.asarray`, but not `device_put`.
    """

    def __init__(self, seed: int | None):
        self.seed = seed
        self._generator = None if seed is None else np.random.default_rng(seed)

    def uniform(self, shape: Sequence[int], bound: float) -> Array:
        """The next weights, `shape`, uniform in -bound to bound, float32; torch's bound is mostly 1 / sqrt(fan in)."""
        if self._generator is None:
            zeros: Any = np.zeros(shape, np.float32)  # the system gives memory only to what is written
            return zeros
        return jax.device_put(self._generator.uniform(-bound, bound, shape).astype(np.float32))

    def initializer(self, bound: float) -> nnx.Initializer:
        """`uniform` in the form that flax layers ask for; the random key that they pass is not used."""

        def initialize(key: Any, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
            return self.uniform(shape, bound).astype(dtype, copy=False)

        return initialize


class Conv(nnx.Module):
    """3x3 convolution with "same" padding, as torch's, that sees no filler (`rmvpe_jax.ragged`).

    `kernel` is [3, 3, C, C'] over time and frequency.
    """

    def __init__(self, kernel: Array, bias: Array | None, dtype: DTypeLike | None, precision: lax.Precision | None):
        self.kernel = nnx.Param(kernel)
        self.bias: Any = nnx.data(None if bias is None else nnx.Param(bias))
        self.dtype = dtype
        self.precision = precision

    def __call__(self, x: Array) -> Array:
        """[B, T, F, C] -> [B, T, F, C']."""
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        x = lax.conv_general_dilated(
            without_filler(x).astype(dtype),
            self.kernel[...].astype(dtype),
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
        )
        return x if self.bias is None else x + per_channel(self.bias[...].astype(dtype))


class ConvTranspose(nnx.Module):
    """Transposed 3x3 convolution with stride 2, as torch's with padding 1 and output padding 1, without bias.

    By definition it is a convolution of the input with zeros between its pixels; `kernel` [3, 3, C, C'] is torch's,
    flipped in both axes. XLA computes the gradient of that slowly on a CPU (a training step of `small` takes 1.5 times
    as long). So the zeros are left out, as in sub-pixel convolution (Shi et al. 2016, arXiv:1609.07009): an even output
    pixel 2i needs the middle of the kernel on input i, an odd one 2i + 1 its two ends on inputs i and i + 1. Over two
    axes that makes four phases, each a 2x2 convolution; their results are interleaved.
    """

    def __init__(self, kernel: Array, dtype: DTypeLike | None, precision: lax.Precision | None):
        self.kernel = nnx.Param(kernel)
        self.dtype = dtype
        self.precision = precision

    def __call__(self, x: Array) -> Array:
        """[B, T, F, C] -> [B, 2T, 2F, C']."""
        x = without_filler(x)
        batch, frames, bands, channels = x.shape
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        taps = jnp.asarray(PHASE_TAPS, dtype)
        kernel = self.kernel[...].astype(dtype)
        kernel = jnp.einsum(PHASES, taps, taps, kernel, precision=lax.Precision.HIGHEST)
        x = lax.conv_general_dilated(
            x.astype(dtype),
            kernel.reshape(2, 2, channels, -1),
            window_strides=(1, 1),
            padding=((0, 1), (0, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
        )
        x = x.reshape(batch, frames, bands, 2, 2, -1).swapaxes(2, 3)  # [B, T, F, 2 * 2 * C'] -> [B, T, 2, F, 2, C']
        return x.reshape(batch, 2 * frames, 2 * bands, -1)


class BatchNorm(nnx.Module):
    """Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) over all but the channels, as torch does it.

    The batch is normalised by its biased variance, and the running variance collects the unbiased one (`nnx.BatchNorm`
    collects the biased one). `momentum` is the weight of the new batch, as in torch. Statistics and arithmetic are
    float32 (float64 for a float64 input); the result has the type of the input. With `axis_name`, mean and variance are
    those of the batch over all devices of that pmap axis.
    """

    def __init__(self, channels: int, momentum: float, epsilon: float, axis_name: str | None = None):
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        self.scale = nnx.Param(jax.device_put(ones))
        self.bias = nnx.Param(jax.device_put(zeros))
        self.mean = nnx.BatchStat(jax.device_put(zeros.copy()))
        self.var = nnx.BatchStat(jax.device_put(ones.copy()))
        self.momentum = momentum
        self.epsilon = epsilon
        self.axis_name = axis_name
        self.use_running_average = False

    def __call__(self, x: Array) -> Array:
        """[B, T, F, C] -> [B, T, F, C]; in training the running statistics take a step."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, var = (self.mean[...], self.var[...]) if self.use_running_average else self.batch_statistics(wide)
        factor = lax.rsqrt(var + self.epsilon) * self.scale[...]
        out = (wide - per_channel(mean)) * per_channel(factor) + per_channel(self.bias[...])
        return out.astype(x.dtype)

    def factor_and_shift(self) -> tuple[np.ndarray, np.ndarray]:
        """Evaluation mode as `x * factor + shift`, float64 [C] each."""
        scale, bias, mean, var = (np.asarray(v[...], np.float64) for v in (self.scale, self.bias, self.mean, self.var))
        factor = scale / np.sqrt(var + self.epsilon)
        return factor, bias - mean * factor

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance [C] of the batch [B, T, F, C]; the running statistics take a step towards them."""
        count = x.size // x.shape[-1]
        mean = x.mean((0, 1, 2))
        if self.axis_name is not None:
            count = count * lax.axis_size(self.axis_name)
            mean = lax.pmean(mean, self.axis_name)
        # Around the mean of all devices: E[x^2] - E[x]^2 would lose digits where the mean is large
        var = jnp.square(x - per_channel(mean)).mean((0, 1, 2))
        if self.axis_name is not None:
            var = lax.pmean(var, self.axis_name)
        self.step(self.mean, mean)
        self.step(self.var, var * (count / max(count - 1, 1)))
        return mean, var

    def step(self, running: nnx.BatchStat[Array], batch: Array) -> None:
        """Move a running statistic [C] towards the batch's."""
        running[...] = (1 - self.momentum) * running[...] + self.momentum * lax.stop_gradient(batch)


class Layers:
    """Makes the leaf layers of one network: their initial weights and the precision of convolutions are chosen here."""

    def __init__(self, config: ModelConfig, draw: Draw, conv_dtype: DTypeLike, axis_name: str | None):
        low = jnp.dtype(conv_dtype) in (jnp.bfloat16, jnp.float16)
        self.config = config
        self.draw = draw
        self.rngs = nnx.Rngs(draw.seed or 0)
        self.axis_name = axis_name
        self.conv_dtype = jnp.dtype(conv_dtype) if low else None  # None: that of inputs and weights
        # Without HIGHEST, GPUs and TPUs compute float32 products in TF32 or bfloat16
        self.precision = None if low else lax.Precision.HIGHEST

    def conv(self, in_channels: int, out_channels: int, *, use_bias: bool = True) -> Conv:
        """3x3 convolution, [B, T, F, in] -> [B, T, F, out]."""
        bound = (in_channels * KERNEL**2) ** -0.5
        kernel = self.draw.uniform((KERNEL, KERNEL, in_channels, out_channels), bound)
        bias = self.draw.uniform((out_channels,), bound) if use_bias else None
        return Conv(kernel, bias, self.conv_dtype, self.precision)

    def conv_1x1(self, in_channels: int, out_channels: int) -> nnx.Linear:
        """1x1 convolution, [B, T, F, in] -> [B, T, F, out]: a product over the last axis.

        XLA computes the gradient of the product ten times faster than that of a convolution (on a CPU).
        """
        init = self.draw.initializer(in_channels**-0.5)
        return nnx.Linear(
            in_channels,
            out_channels,
            dtype=self.conv_dtype,
            precision=self.precision,
            kernel_init=init,
            bias_init=init,
            rngs=self.rngs,
        )

    def conv_transpose(self, in_channels: int, out_channels: int) -> ConvTranspose:
        """Transposed 3x3 convolution, [B, T, F, in] -> [B, 2T, 2F, out]."""
        # torch computes the fan of a transposed convolution from its outputs
        kernel = self.draw.uniform((KERNEL, KERNEL, in_channels, out_channels), (out_channels * KERNEL**2) ** -0.5)
        return ConvTranspose(kernel, self.conv_dtype, self.precision)

    def linear(self, features: int, outputs: int) -> nnx.Linear:
        """Linear layer, [..., features] -> [..., outputs], never in lower precision."""
        init = self.draw.initializer(features**-0.5)
        return nnx.Linear(
            features, outputs, precision=lax.Precision.HIGHEST, kernel_init=init, bias_init=init, rngs=self.rngs
        )

    def batch_norm(self, channels: int) -> BatchNorm:
        """Batch norm whose running variance is the unbiased one, as torch's is."""
        return BatchNorm(channels, self.config.bn_momentum, self.config.bn_epsilon, self.axis_name)


def per_channel(values: Array) -> Array:
    """[C] -> [1, 1, 1, C], to be combined with [B, T, F, C]."""
    return values[None, None, None, :]
