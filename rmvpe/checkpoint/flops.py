"""Floating-point operations (FLOPs) of a network per second of audio, counted from its ModelConfig.

One multiply-accumulate counts as two operations. Convolutions, transposed convolutions and matrix products are counted.
Batch norm, activations and pooling, under 3 % of the total, are not.
"""

from rmvpe.config import ModelConfig


def flops_per_second(config: ModelConfig) -> float:
    """Floating-point operations of `config`'s network per second of audio."""
    frames_per_second = config.mel.sample_rate / config.mel.hop_samples
    return 2.0 * (_unet_macs(config) + _head_macs(config)) * frames_per_second


def _block_macs(in_channels: int, out_channels: int, blocks: int) -> float:
    """Multiply-accumulates per pixel of a chain of residual blocks."""
    macs = 0.0
    for block in range(blocks):
        width = in_channels if block == 0 else out_channels
        macs += 9 * width * out_channels + 9 * out_channels**2
        macs += width * out_channels if width != out_channels else 0
    return macs


def _unet_macs(config: ModelConfig) -> float:
    """Multiply-accumulates of the U-Net per frame."""
    macs, width = 0.0, 1
    for level in range(config.levels):
        pixels = config.mel.n_mels / 4**level  # per input frame: each level halves time and frequency
        channels = config.channels * 2**level
        macs += pixels * _block_macs(width, channels, config.blocks)  # encoder
        macs += pixels * _block_macs(2 * channels, channels, config.blocks)  # decoder
        macs += pixels / 4 * 9 * 2 * channels * channels  # its transposed convolution: one product per input pixel
        if config.timbre_filter:
            macs += pixels * 18 * channels**2
        width = channels
    bottom = config.mel.n_mels / 4**config.levels
    for layer in range(config.inter_layers):
        macs += bottom * _block_macs(width if layer == 0 else 2 * width, 2 * width, config.blocks)
    return macs


def _head_macs(config: ModelConfig) -> float:
    """Multiply-accumulates of the head convolution, the BiGRU and the output layer per frame."""
    hidden = config.gru_hidden
    macs = config.mel.n_mels * 9.0 * config.channels * config.head_channels
    features = config.head_channels * config.mel.n_mels
    for _ in range(config.gru_layers):
        macs += 2 * 3 * hidden * (features + hidden)
        features = 2 * hidden
    return macs + features * config.n_bins
