"""RMVPE in PyTorch: a residual U-Net over the log-mel spectrogram, then a bidirectional GRU (Interspeech 2023).

Reads side by side with `rmvpe_jax/model.py`: same blocks, same names, same order. Module names are those of the
published checkpoints, so that their `state_dict` loads here. Paper: https://arxiv.org/abs/2306.15412

Shapes: B batch, T frames (a multiple of 2^levels), F mel bands, C channels. Torch keeps images as [B, C, T, F].
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from rmvpe.config import ModelConfig
from rmvpe_torch.device import autocast

KERNEL = 3  # every convolution of the U-Net is 3x3, "same" padding


class ConvBlockRes(nn.Module):
    """Two 3x3 convolutions with batch norm and ReLU, plus the input (through a 1x1 convolution if channels change)."""

    def __init__(self, in_channels: int, out_channels: int, config: ModelConfig):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, KERNEL, padding=1, bias=False),
            batch_norm(out_channels, config),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, KERNEL, padding=1, bias=False),
            batch_norm(out_channels, config),
            nn.ReLU(),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, T, F] -> [B, C_out, T, F]."""
        return self.conv(x) + (x if self.shortcut is None else self.shortcut(x))


class ResBlocks(nn.Module):
    """A chain of residual blocks: one encoder level before its pooling, or one layer at the bottom of the U-Net."""

    def __init__(self, in_channels: int, out_channels: int, config: ModelConfig):
        super().__init__()
        self.conv = nn.ModuleList(residual_blocks(in_channels, out_channels, config))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, T, F] -> [B, C_out, T, F]."""
        for block in self.conv:
            x = block(x)
        return x


class Encoder(nn.Module):
    """Batch norm on the spectrogram, then levels of residual blocks, each followed by 2x2 average pooling."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.bn = batch_norm(1, config)
        widths = [1, *config.level_channels]
        self.layers = nn.ModuleList(ResBlocks(i, o, config) for i, o in pairwise(widths))
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 1, T, F] -> bottom [B, C, T/2^levels, F/2^levels], and the skip [B, C, T, F] of each level."""
        x = self.bn(x)
        skips = []
        for layer in self.layers:
            x = layer(x)
            skips.append(x)
            x = self.pool(x)  # [B, C, T, F] -> [B, C, T/2, F/2]
        return x, skips


class Intermediate(nn.Module):
    """The bottom of the U-Net: residual layers at the lowest resolution, the first of which doubles the channels."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        bottom = config.level_channels[-1]
        widths = [bottom] + [2 * bottom] * config.inter_layers
        self.layers = nn.ModuleList(ResBlocks(i, o, config) for i, o in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, F] -> [B, 2C, T, F]."""
        for layer in self.layers:
            x = layer(x)
        return x


class TimbreFilter(nn.Module):
    """One residual block on each skip connection (the paper's own configuration, preset `e2e`)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.layers = nn.ModuleList(ConvBlockRes(c, c, config) for c in config.level_channels)

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        """A skip [B, C, T, F] of each level -> the same shapes."""
        return [layer(skip) for layer, skip in zip(self.layers, skips)]


class ResDecoderBlock(nn.Module):
    """Transposed convolution that doubles time and frequency, the skip joined on, then residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, config: ModelConfig):
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, KERNEL, 2, padding=1, output_padding=1, bias=False),
            batch_norm(out_channels, config),
            nn.ReLU(),
        )
        self.conv2 = nn.ModuleList(residual_blocks(2 * out_channels, out_channels, config))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[B, C_in, T, F] and the skip [B, C_out, 2T, 2F] -> [B, C_out, 2T, 2F]."""
        x = self.conv1(x)  # [B, C, T, F] -> [B, C/2, 2T, 2F]
        x = torch.cat((x, skip), dim=1)
        for block in self.conv2:
            x = block(x)
        return x


class Decoder(nn.Module):
    """Decoder levels, from the lowest resolution up."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        widths = [2 * config.level_channels[-1], *reversed(config.level_channels)]
        self.layers = nn.ModuleList(ResDecoderBlock(i, o, config) for i, o in pairwise(widths))

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Bottom [B, C, T/2^levels, F/2^levels] and the skip of each level -> [B, C_out, T, F]."""
        for layer, skip in zip(self.layers, reversed(skips)):
            x = layer(x, skip)
        return x


class DeepUnet(nn.Module):
    """Encoder, bottom and decoder; the TimbreFilter exists only where it is used."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.encoder = Encoder(config)
        self.intermediate = Intermediate(config)
        self.tf = TimbreFilter(config) if config.timbre_filter else None
        self.decoder = Decoder(config)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, T, F] -> [B, C_out, T, F]."""
        x, skips = self.encoder(x)
        x = self.intermediate(x)
        if self.tf is not None:
            skips = self.tf(skips)
        return self.decoder(x, skips)


class BiGRU(nn.Module):
    """Bidirectional GRU; forward and backward outputs side by side."""

    def __init__(self, features: int, config: ModelConfig):
        super().__init__()
        self.gru = nn.GRU(features, config.gru_hidden, config.gru_layers, batch_first=True, bidirectional=True)

    def train(self, mode: bool = True) -> "BiGRU":
        """As `nn.Module.train`, but the GRU stays in training mode: it has no dropout, so that both modes compute the
        same, and cuDNN gives gradients in this one only. Callers differentiate a network in evaluation mode too."""
        super().train(mode)
        self.gru.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, features] -> [B, T, 2 * hidden]."""
        return self.gru(x)[0]


class RMVPE(nn.Module):
    """Log-mel [B, T, n_mels] -> salience [B, T, 360] in 0..1; `features` and `logits` want a multiple of 2^levels.

    `conv_dtype` below float32 computes the U-Net's convolutions in that precision, on inputs and weights kept in
    float32; GRU, output layer and sigmoid stay in float32 always (a float64 model stays float64 throughout).
    """

    def __init__(self, config: ModelConfig, conv_dtype: torch.dtype = torch.float32):
        super().__init__()
        self.config = config
        self.conv_dtype = conv_dtype
        self.unet = DeepUnet(config)
        self.cnn = nn.Conv2d(config.channels, config.head_channels, KERNEL, padding=1)
        self.fc = nn.Sequential(
            BiGRU(config.head_channels * config.mel.n_mels, config),
            nn.Linear(2 * config.gru_hidden, config.n_bins),
            nn.Dropout(config.dropout),
        )

    def features(self, log_mel: Tensor) -> Tensor:
        """Log-mel [B, T, F] -> input of the GRU [B, T, head_channels * F]; a frame depends on a bounded part of it."""
        x = log_mel.unsqueeze(1)  # [B, T, F] -> [B, 1, T, F]
        with autocast(x.device, self.conv_dtype):
            x = self.cnn(self.unet(x))
        x = x.to(log_mel.dtype)
        return x.transpose(1, 2).flatten(-2)  # [B, C, T, F] -> [B, T, C * F]

    def logits(self, log_mel: Tensor) -> Tensor:
        """Log-mel [B, T, F] -> salience before the sigmoid [B, T, 360]; dropout acts here, as in the reference."""
        return self.fc(self.features(log_mel))

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel [B, T, n_mels] -> salience [B, T, 360] in 0..1, for any T > 0.

        If T is not a multiple of 2^levels, frames of silence are added at the end and removed from the result. Raises
        ValueError for a log-mel of another shape.
        """
        bands = self.config.mel.n_mels
        if log_mel.ndim != 3 or log_mel.shape[-1] != bands or not log_mel.shape[1]:
            raise ValueError(f"log_mel must be [batch, frames, {bands}], not {list(log_mel.shape)}")
        frames = log_mel.shape[1]
        missing = -frames % self.config.time_multiple
        if missing:
            log_mel = nn.functional.pad(log_mel, (0, 0, 0, missing), value=math.log(self.config.mel.floor))
        return torch.sigmoid(self.logits(log_mel))[:, :frames]


def batch_norm(channels: int, config: ModelConfig) -> nn.BatchNorm2d:
    """Batch norm whose running variance is the unbiased one (torch's way, which the JAX side follows)."""
    return nn.BatchNorm2d(channels, eps=config.bn_epsilon, momentum=config.bn_momentum)


def residual_blocks(in_channels: int, out_channels: int, config: ModelConfig) -> list[ConvBlockRes]:
    """The residual blocks of one level: the first changes the channels."""
    widths = [in_channels] + [out_channels] * config.blocks
    return [ConvBlockRes(i, o, config) for i, o in pairwise(widths)]
