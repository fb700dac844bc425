"""RMVPE in JAX (Flax NNX): a residual U-Net over the log-mel spectrogram, then a bidirectional GRU (Interspeech 2023).

Reads side by side with `rmvpe_torch/model.py`: same blocks, same names, same order. Module paths are those of the
published checkpoints; only the leaves are called differently (flax: kernel, scale, mean, var), see `convert.names`.

Shapes: B batch, T frames (a multiple of 2^levels), F mel bands, C channels. JAX keeps images as [B, T, F, C].

State: `nnx.split(model, nnx.Param, nnx.BatchStat, ...)` gives weights, running statistics and the dropout's random
stream. `model.train()` and `model.eval()` choose batch or running statistics and switch the dropout; a new model is
in training mode.
"""

from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike

from rmvpe.config import ModelConfig
from rmvpe_jax.gru import GRU
from rmvpe_jax.init import Draw

KERNEL = 3  # every convolution of the U-Net is 3x3, "same" padding
PHASE_TAPS = (((0, 1, 0), (0, 0, 0)), ((1, 0, 0), (0, 0, 1)))  # [even/odd output, input i/i+1, tap], see ConvTranspose


class ConvBlockRes(nnx.Module):
    """Two 3x3 convolutions with batch norm and ReLU, plus the input (through a 1x1 convolution if channels change)."""

    def __init__(self, in_channels: int, out_channels: int, make: "Layers"):
        self.conv = nnx.List(
            [
                make.conv(in_channels, out_channels, use_bias=False),
                make.batch_norm(out_channels),
                nnx.relu,
                make.conv(out_channels, out_channels, use_bias=False),
                make.batch_norm(out_channels),
                nnx.relu,
            ]
        )
        self.shortcut = nnx.data(make.conv_1x1(in_channels, out_channels) if in_channels != out_channels else None)

    def __call__(self, x: Array) -> Array:
        return chain(self.conv, x) + (x if self.shortcut is None else self.shortcut(x))


class ResBlocks(nnx.Module):
    """A chain of residual blocks: one encoder level before its pooling, or one layer at the bottom of the U-Net."""

    def __init__(self, in_channels: int, out_channels: int, make: "Layers"):
        self.conv = nnx.List(residual_blocks(in_channels, out_channels, make))

    def __call__(self, x: Array) -> Array:
        for block in self.conv:
            x = block(x)
        return x


class Encoder(nnx.Module):
    """Batch norm on the spectrogram, then levels of residual blocks, each followed by 2x2 average pooling."""

    def __init__(self, make: "Layers"):
        self.bn = make.batch_norm(1)
        widths = [1, *make.config.level_channels]
        self.layers = nnx.List(ResBlocks(i, o, make) for i, o in pairwise(widths))

    def __call__(self, x: Array) -> tuple[Array, list[Array]]:
        x = self.bn(x)
        skips = []
        for layer in self.layers:
            x = layer(x)
            skips.append(x)
            x = nnx.avg_pool(x, (2, 2), (2, 2))  # [B, T, F, C] -> [B, T/2, F/2, C]
        return x, skips


class Intermediate(nnx.Module):
    """The bottom of the U-Net: residual layers at the lowest resolution, the first of which doubles the channels."""

    def __init__(self, make: "Layers"):
        bottom = make.config.level_channels[-1]
        widths = [bottom] + [2 * bottom] * make.config.inter_layers
        self.layers = nnx.List(ResBlocks(i, o, make) for i, o in pairwise(widths))

    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer(x)
        return x


class TimbreFilter(nnx.Module):
    """One residual block on each skip connection (the paper's own configuration, preset `e2e`)."""

    def __init__(self, make: "Layers"):
        self.layers = nnx.List(ConvBlockRes(c, c, make) for c in make.config.level_channels)

    def __call__(self, skips: list[Array]) -> list[Array]:
        return [layer(skip) for layer, skip in zip(self.layers, skips)]


class ResDecoderBlock(nnx.Module):
    """Transposed convolution that doubles time and frequency, the skip joined on, then residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, make: "Layers"):
        self.conv1 = nnx.List([make.conv_transpose(in_channels, out_channels), make.batch_norm(out_channels), nnx.relu])
        self.conv2 = nnx.List(residual_blocks(2 * out_channels, out_channels, make))

    def __call__(self, x: Array, skip: Array) -> Array:
        x = chain(self.conv1, x)  # [B, T, F, C] -> [B, 2T, 2F, C/2]
        x = jnp.concatenate((x, skip), axis=-1)
        for block in self.conv2:
            x = block(x)
        return x


class Decoder(nnx.Module):
    """Decoder levels, from the lowest resolution up."""

    def __init__(self, make: "Layers"):
        widths = [2 * make.config.level_channels[-1], *reversed(make.config.level_channels)]
        self.layers = nnx.List(ResDecoderBlock(i, o, make) for i, o in pairwise(widths))

    def __call__(self, x: Array, skips: list[Array]) -> Array:
        for layer, skip in zip(self.layers, reversed(skips)):
            x = layer(x, skip)
        return x


class DeepUnet(nnx.Module):
    """Encoder, bottom and decoder; the TimbreFilter exists only where it is used."""

    def __init__(self, make: "Layers"):
        self.encoder = Encoder(make)
        self.intermediate = Intermediate(make)
        self.tf = nnx.data(TimbreFilter(make) if make.config.timbre_filter else None)
        self.decoder = Decoder(make)

    def __call__(self, x: Array) -> Array:
        x, skips = self.encoder(x)
        x = self.intermediate(x)
        if self.tf is not None:
            skips = self.tf(skips)
        return self.decoder(x, skips)


class BiGRU(nnx.Module):
    """Bidirectional GRU; forward and backward outputs side by side."""

    def __init__(self, features: int, make: "Layers"):
        self.gru = GRU(features, make.config.gru_hidden, make.config.gru_layers, make.draw)

    def __call__(self, x: Array) -> Array:
        return self.gru(x)  # [B, T, features] -> [B, T, 2 * hidden]


class RMVPE(nnx.Module):
    """Log-mel [B, T, n_mels] -> salience [B, T, 360] in 0..1; T must be a multiple of 2^levels.

    `conv_dtype` below float32 computes the U-Net's convolutions in that precision, on inputs and weights kept in
    float32; GRU, output layer and sigmoid stay in float32 always (a float64 model stays float64 throughout).
    `axis_name` names the pmap axis over which batch norm averages its batch statistics; None keeps them per device.
    `seed` draws the initial weights and the dropout; None makes zeros, for a model that a checkpoint fills.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        seed: int | None = 0,
        conv_dtype: DTypeLike = jnp.float32,
        axis_name: str | None = None,
    ):
        make = Layers(config, Draw(seed), conv_dtype, axis_name)
        self.config = config
        self.unet = DeepUnet(make)
        self.cnn = make.conv(config.channels, config.head_channels)
        self.fc = nnx.List(
            [
                BiGRU(config.head_channels * config.mel.n_mels, make),
                make.linear(2 * config.gru_hidden, config.n_bins),
                nnx.Dropout(config.dropout, rngs=make.rngs),
            ]
        )

    def features(self, log_mel: Array) -> Array:
        """What the GRU reads [B, T, head_channels * F]; each frame of it depends on a bounded stretch of the input."""
        x = log_mel[..., None]  # [B, T, F] -> [B, T, F, 1]
        x = self.cnn(self.unet(x))
        x = x.astype(log_mel.dtype)
        return flatten_channels(x)

    def logits(self, log_mel: Array) -> Array:
        """Salience before the sigmoid [B, T, 360]; in training the preset's dropout acts here, as in the reference."""
        return chain(self.fc, self.features(log_mel))

    def __call__(self, log_mel: Array) -> Array:
        return nnx.sigmoid(self.logits(log_mel))


class ConvTranspose(nnx.Module):
    """Transposed 3x3 convolution, stride 2, as torch's with padding 1 and output padding 1, without bias.

    It is the convolution of the input, zeros put between its pixels, with `kernel` [3, 3, C, C'], which is torch's
    flipped in both axes. XLA's gradient of that is slow on a CPU (it makes a training step of `small` half as long
    again), so the zeros are left out: an even output pixel 2i sees the kernel's middle on input i, an odd one 2i + 1
    its ends on i and i + 1. That is one 2x2 convolution for each of the four kinds of output pixel, whose results are
    then interleaved.
    """

    def __init__(self, kernel: Array, dtype: DTypeLike | None, precision: lax.Precision | None):
        self.kernel = nnx.Param(kernel)
        self.dtype = dtype
        self.precision = precision

    def __call__(self, x: Array) -> Array:
        batch, frames, bands, channels = x.shape
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        taps = jnp.asarray(PHASE_TAPS, dtype)
        kernel = self.kernel[...].astype(dtype)
        kernel = jnp.einsum("aiu,bjv,uvco->ijcabo", taps, taps, kernel, precision=lax.Precision.HIGHEST)
        x = lax.conv_general_dilated(
            x.astype(dtype),
            kernel.reshape(2, 2, channels, -1),
            window_strides=(1, 1),
            padding=((0, 1), (0, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
        )
        x = x.reshape(batch, frames, bands, 2, 2, -1).swapaxes(2, 3)  # [B, T, F, 2 2 C'] -> [B, T, 2, F, 2, C']
        return x.reshape(batch, 2 * frames, 2 * bands, -1)


class BatchNorm(nnx.Module):
    """Batch norm over [B, T, F] of [B, T, F, C] as torch does it; `nnx.BatchNorm` stores the *biased* variance.

    The batch is normalised by its biased variance, the running variance collects the unbiased one, and `momentum` is
    the weight of the new batch. Statistics and arithmetic are float32 (float64 for a float64 input), the result has the
    input's type. With `axis_name`, mean and variance are those of the whole batch over all devices of that pmap axis.
    """

    def __init__(self, channels: int, momentum: float, epsilon: float, axis_name: str | None = None):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.momentum = momentum
        self.epsilon = epsilon
        self.axis_name = axis_name
        self.use_running_average = False

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, var = (self.mean[...], self.var[...]) if self.use_running_average else self.batch_statistics(wide)
        factor = lax.rsqrt(var + self.epsilon) * self.scale[...]
        return ((wide - spread(mean)) * spread(factor) + spread(self.bias[...])).astype(x.dtype)

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance [C] of the batch; the running statistics take their step towards them."""
        count = x.size // x.shape[-1]
        mean = x.mean((0, 1, 2))
        if self.axis_name is not None:
            count = count * lax.axis_size(self.axis_name)
            mean = lax.pmean(mean, self.axis_name)
        # Around the mean of all devices: E[x^2] - E[x]^2 would cancel digits where the mean is large
        var = jnp.square(x - spread(mean)).mean((0, 1, 2))
        if self.axis_name is not None:
            var = lax.pmean(var, self.axis_name)
        self.step(self.mean, mean)
        self.step(self.var, var * (count / max(count - 1, 1)))
        return mean, var

    def step(self, running: nnx.BatchStat[Array], batch: Array) -> None:
        """Move a running statistic towards the batch's."""
        running[...] = (1 - self.momentum) * running[...] + self.momentum * lax.stop_gradient(batch)


class Layers:
    """Makes the leaf layers: torch's default initialisation, and the precision of the convolutions, in one place."""

    def __init__(self, config: ModelConfig, draw: Draw, conv_dtype: DTypeLike, axis_name: str | None):
        low = jnp.dtype(conv_dtype) in (jnp.bfloat16, jnp.float16)
        self.config = config
        self.draw = draw
        self.rngs = nnx.Rngs(draw.seed or 0)
        self.axis_name = axis_name
        self.conv_dtype = jnp.dtype(conv_dtype) if low else None  # None: that of inputs and weights
        # Without HIGHEST, GPUs and TPUs compute float32 products in TF32 or bfloat16
        self.precision = None if low else lax.Precision.HIGHEST

    def conv(self, in_channels: int, out_channels: int, *, use_bias: bool = True) -> nnx.Conv:
        init = self.draw.initializer((in_channels * KERNEL**2) ** -0.5)
        return nnx.Conv(
            in_channels,
            out_channels,
            (KERNEL, KERNEL),
            use_bias=use_bias,
            dtype=self.conv_dtype,
            precision=self.precision,
            kernel_init=init,
            bias_init=init,
            rngs=self.rngs,
        )

    def conv_1x1(self, in_channels: int, out_channels: int) -> nnx.Linear:
        # A product over the last axis is what a 1x1 convolution is here; XLA's gradient of it is ten times faster
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
        # torch's default counts the fan of a transposed convolution on its outputs
        kernel = self.draw.uniform((KERNEL, KERNEL, in_channels, out_channels), (out_channels * KERNEL**2) ** -0.5)
        return ConvTranspose(kernel, self.conv_dtype, self.precision)

    def linear(self, features: int, outputs: int) -> nnx.Linear:
        init = self.draw.initializer(features**-0.5)
        return nnx.Linear(
            features, outputs, precision=lax.Precision.HIGHEST, kernel_init=init, bias_init=init, rngs=self.rngs
        )

    def batch_norm(self, channels: int) -> BatchNorm:
        return BatchNorm(channels, self.config.bn_momentum, self.config.bn_epsilon, self.axis_name)


def flatten_channels(x: Array) -> Array:
    """[B, T, F, C] -> [B, T, C * F]: channel by channel, the order in which torch's [B, C, T, F] meets the GRU."""
    return x.swapaxes(-1, -2).reshape(*x.shape[:-2], -1)


def spread(values: Array) -> Array:
    """[C] -> [1, 1, 1, C], to meet [B, T, F, C]."""
    return values[None, None, None, :]


def chain(layers: nnx.List, x: Array) -> Array:
    """Apply layers one after the other."""
    for layer in layers:
        x = layer(x)
    return x


def residual_blocks(in_channels: int, out_channels: int, make: Layers) -> list[ConvBlockRes]:
    """The residual blocks of one level: the first changes the channels."""
    widths = [in_channels] + [out_channels] * make.config.blocks
    return [ConvBlockRes(i, o, make) for i, o in pairwise(widths)]
