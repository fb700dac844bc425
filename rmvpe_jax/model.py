"""RMVPE in JAX (Flax NNX): a residual U-Net over the log-mel spectrogram, then a bidirectional GRU (arXiv:2306.15412).

Reads side by side with `rmvpe_torch/model.py`: same blocks, same names, same order. Module paths are those of the
published checkpoints; only the leaves are called differently (flax: kernel, scale, mean, var), see `rmvpe_jax.params`.

Shapes: B batch, T frames (a multiple of 2^levels), F mel bands, C channels. JAX keeps images as [B, T, F, C].

State: `nnx.split(model, nnx.Param, nnx.BatchStat, ...)` gives weights, running statistics and the dropout's random
stream. `model.train()` and `model.eval()` choose batch or running statistics and switch the dropout; a new model is
in training mode.
"""

from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from rmvpe.config import ModelConfig
from rmvpe_jax.gru import GRU
from rmvpe_jax.layers import Draw, Layers


class ConvBlockRes(nnx.Module):
    """Two 3x3 convolutions with batch norm and ReLU, plus the input (through a 1x1 convolution if channels change)."""

    def __init__(self, in_channels: int, out_channels: int, make: Layers):
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
        """[B, T, F, C_in] -> [B, T, F, C_out]."""
        return chain(self.conv, x) + (x if self.shortcut is None else self.shortcut(x))


class ResBlocks(nnx.Module):
    """A chain of residual blocks: one encoder level before its pooling, or one layer at the bottom of the U-Net."""

    def __init__(self, in_channels: int, out_channels: int, make: Layers):
        self.conv = nnx.List(residual_blocks(in_channels, out_channels, make))

    def __call__(self, x: Array) -> Array:
        """[B, T, F, C_in] -> [B, T, F, C_out]."""
        for block in self.conv:
            x = block(x)
        return x


class Encoder(nnx.Module):
    """Batch norm on the spectrogram, then levels of residual blocks, each followed by 2x2 average pooling."""

    def __init__(self, make: Layers):
        self.bn = make.batch_norm(1)
        widths = [1, *make.config.level_channels]
        self.layers = nnx.List(ResBlocks(i, o, make) for i, o in pairwise(widths))

    def __call__(self, x: Array) -> tuple[Array, list[Array]]:
        """[B, T, F, 1] -> bottom [B, T/2^levels, F/2^levels, C], and the skip [B, T, F, C] of each level."""
        x = self.bn(x)
        skips = []
        for layer in self.layers:
            x = layer(x)
            skips.append(x)
            x = nnx.avg_pool(x, (2, 2), (2, 2))  # [B, T, F, C] -> [B, T/2, F/2, C]
        return x, skips


class Intermediate(nnx.Module):
    """The bottom of the U-Net: residual layers at the lowest resolution, the first of which doubles the channels."""

    def __init__(self, make: Layers):
        bottom = make.config.level_channels[-1]
        widths = [bottom] + [2 * bottom] * make.config.inter_layers
        self.layers = nnx.List(ResBlocks(i, o, make) for i, o in pairwise(widths))

    def __call__(self, x: Array) -> Array:
        """[B, T, F, C] -> [B, T, F, 2C]."""
        for layer in self.layers:
            x = layer(x)
        return x


class TimbreFilter(nnx.Module):
    """One residual block on each skip connection (the paper's own configuration, preset `e2e`)."""

    def __init__(self, make: Layers):
        self.layers = nnx.List(ConvBlockRes(c, c, make) for c in make.config.level_channels)

    def __call__(self, skips: list[Array]) -> list[Array]:
        """A skip [B, T, F, C] of each level -> the same shapes."""
        return [layer(skip) for layer, skip in zip(self.layers, skips)]


class ResDecoderBlock(nnx.Module):
    """Transposed convolution that doubles time and frequency, the skip joined on, then residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, make: Layers):
        self.conv1 = nnx.List([make.conv_transpose(in_channels, out_channels), make.batch_norm(out_channels), nnx.relu])
        self.conv2 = nnx.List(residual_blocks(2 * out_channels, out_channels, make))

    def __call__(self, x: Array, skip: Array) -> Array:
        """[B, T, F, C_in] and the skip [B, 2T, 2F, C_out] -> [B, 2T, 2F, C_out]."""
        x = chain(self.conv1, x)  # [B, T, F, C_in] -> [B, 2T, 2F, C_out]
        x = jnp.concatenate((x, skip), axis=-1)  # -> [B, 2T, 2F, 2 * C_out]
        for block in self.conv2:
            x = block(x)
        return x


class Decoder(nnx.Module):
    """Decoder levels, from the lowest resolution up."""

    def __init__(self, make: Layers):
        widths = [2 * make.config.level_channels[-1], *reversed(make.config.level_channels)]
        self.layers = nnx.List(ResDecoderBlock(i, o, make) for i, o in pairwise(widths))

    def __call__(self, x: Array, skips: list[Array]) -> Array:
        """Bottom [B, T/2^levels, F/2^levels, C] and the skip of each level -> [B, T, F, C_out]."""
        for layer, skip in zip(self.layers, reversed(skips)):
            x = layer(x, skip)
        return x


class DeepUnet(nnx.Module):
    """Encoder, bottom and decoder; the TimbreFilter exists only where it is used."""

    def __init__(self, make: Layers):
        self.encoder = Encoder(make)
        self.intermediate = Intermediate(make)
        self.tf = nnx.data(TimbreFilter(make) if make.config.timbre_filter else None)
        self.decoder = Decoder(make)

    def __call__(self, x: Array) -> Array:
        """[B, T, F, 1] -> [B, T, F, C_out]."""
        x, skips = self.encoder(x)
        x = self.intermediate(x)
        if self.tf is not None:
            skips = self.tf(skips)
        return self.decoder(x, skips)


class BiGRU(nnx.Module):
    """Bidirectional GRU; forward and backward outputs side by side."""

    def __init__(self, features: int, make: Layers):
        self.gru = GRU(features, make.config.gru_hidden, make.config.gru_layers, make.draw)

    def __call__(self, x: Array) -> Array:
        """[B, T, features] -> [B, T, 2 * hidden]."""
        return self.gru(x)


class RMVPE(nnx.Module):
    """Log-mel [B, T, n_mels] -> salience [B, T, 360] in 0..1; T must be a multiple of 2^levels.

    `conv_dtype` below float32 computes the U-Net's convolutions in that precision, on inputs and weights kept in
    float32; GRU, output layer and sigmoid stay in float32 always (a float64 model stays float64 throughout).
    `axis_name` names the pmap axis over which batch norm averages its batch statistics; None: each device has its own.
    `seed` is that of the initial weights and of the dropout; None makes zeros, for a model that a checkpoint fills.
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
        """Log-mel [B, T, F] -> input of the GRU [B, T, head_channels * F]; a frame depends on a bounded part of it."""
        x = log_mel[..., None]  # [B, T, F] -> [B, T, F, 1]
        x = self.cnn(self.unet(x))
        x = x.astype(log_mel.dtype)
        return flatten_channels(x)

    def logits(self, log_mel: Array) -> Array:
        """Log-mel [B, T, F] -> salience before the sigmoid [B, T, 360]; dropout acts here, as in the reference."""
        return chain(self.fc, self.features(log_mel))

    def __call__(self, log_mel: Array) -> Array:
        """Log-mel [B, T, n_mels] -> salience [B, T, 360] in 0..1."""
        return nnx.sigmoid(self.logits(log_mel))


def flatten_channels(x: Array) -> Array:
    """[B, T, F, C] -> [B, T, C * F], channel by channel: the order in which torch's [B, C, T, F] reaches the GRU."""
    return x.swapaxes(-1, -2).reshape(*x.shape[:-2], -1)


def chain(layers: nnx.List, x: Array) -> Array:
    """Apply the layers one after the other, as torch's `nn.Sequential` does."""
    for layer in layers:
        x = layer(x)
    return x


def residual_blocks(in_channels: int, out_channels: int, make: Layers) -> list[ConvBlockRes]:
    """The residual blocks of one level: the first changes the channels."""
    widths = [in_channels] + [out_channels] * make.config.blocks
    return [ConvBlockRes(i, o, make) for i, o in pairwise(widths)]
