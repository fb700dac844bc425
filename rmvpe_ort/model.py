"""RMVPE as an ONNX graph: a residual U-Net over the log-mel spectrogram, then a bidirectional GRU (arXiv:2306.15412).

Reads side by side with `rmvpe_torch/model.py` and `rmvpe_jax/model.py`: same blocks, same names, same order. Calling a
module adds its operators to the graph and gives the name of the result. It is evaluation mode: batch norm uses the
running statistics, and there is no dropout.

Shapes: B batch, T frames (a multiple of 2^levels), F mel bands, C channels. ONNX keeps images as [B, C, T, F].
"""

from itertools import pairwise

from rmvpe_ort.graph import Value
from rmvpe_ort.gru import GRU
from rmvpe_ort.layers import Layer, Layers, chain


class ConvBlockRes:
    """Two 3x3 convolutions with batch norm and ReLU, plus the input (through a 1x1 convolution if channels change)."""

    def __init__(self, in_channels: int, out_channels: int, make: Layers):
        self.make = make
        self.conv = [
            make.conv("conv.0", bias=False),
            make.batch_norm("conv.1"),
            make.relu,
            make.conv("conv.3", bias=False),
            make.batch_norm("conv.4"),
            make.relu,
        ]
        self.shortcut = make.conv("shortcut") if in_channels != out_channels else None

    def __call__(self, x: Value) -> Value:
        """[B, C_in, T, F] -> [B, C_out, T, F]."""
        y = chain(self.conv, x)
        return self.make.remember(self.make.graph.op("Add", y, x if self.shortcut is None else self.shortcut(x)))


class ResBlocks:
    """A chain of residual blocks: one encoder level before its pooling, or one layer at the bottom of the U-Net."""

    def __init__(self, in_channels: int, out_channels: int, make: Layers):
        self.make = make
        self.conv = residual_blocks(in_channels, out_channels, make.at("conv"))

    def __call__(self, x: Value) -> Value:
        """[B, C_in, T, F] -> [B, C_out, T, F]."""
        for block in self.conv:
            x = block(x)
        return self.make.remember(x)


class Encoder:
    """Batch norm on the spectrogram, then levels of residual blocks, each followed by 2x2 average pooling."""

    def __init__(self, make: Layers):
        self.make = make
        self.bn = make.batch_norm("bn")
        widths = [1, *make.config.level_channels]
        self.layers = [ResBlocks(i, o, make.at(f"layers.{n}")) for n, (i, o) in enumerate(pairwise(widths))]

    def __call__(self, x: Value) -> tuple[Value, list[Value]]:
        """[B, 1, T, F] -> bottom [B, C, T/2^levels, F/2^levels], and the skip [B, C, T, F] of each level."""
        x = self.bn(x)
        skips = []
        for layer in self.layers:
            x = layer(x)
            skips.append(x)
            x = self.make.avg_pool(x)  # [B, C, T, F] -> [B, C, T/2, F/2]
        return x, skips


class Intermediate:
    """The bottom of the U-Net: residual layers at the lowest resolution, the first of which doubles the channels."""

    def __init__(self, make: Layers):
        self.make = make
        bottom = make.config.level_channels[-1]
        widths = [bottom] + [2 * bottom] * make.config.inter_layers
        self.layers = [ResBlocks(i, o, make.at(f"layers.{n}")) for n, (i, o) in enumerate(pairwise(widths))]

    def __call__(self, x: Value) -> Value:
        """[B, C, T, F] -> [B, 2C, T, F]."""
        for layer in self.layers:
            x = layer(x)
        return self.make.remember(x)


class TimbreFilter:
    """One residual block on each skip connection (the paper's own configuration, preset `e2e`)."""

    def __init__(self, make: Layers):
        self.layers = [ConvBlockRes(c, c, make.at(f"layers.{n}")) for n, c in enumerate(make.config.level_channels)]

    def __call__(self, skips: list[Value]) -> list[Value]:
        """A skip [B, C, T, F] of each level -> the same shapes."""
        return [layer(skip) for layer, skip in zip(self.layers, skips)]


class ResDecoderBlock:
    """Transposed convolution that doubles time and frequency, the skip joined on, then residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, make: Layers):
        self.make = make
        self.conv1 = [make.conv_transpose("conv1.0"), make.batch_norm("conv1.1"), make.relu]
        self.conv2 = residual_blocks(2 * out_channels, out_channels, make.at("conv2"))

    def __call__(self, x: Value, skip: Value) -> Value:
        """[B, C_in, T, F] and the skip [B, C_out, 2T, 2F] -> [B, C_out, 2T, 2F]."""
        x = chain(self.conv1, x)  # [B, C, T, F] -> [B, C/2, 2T, 2F]
        x = self.make.graph.op("Concat", x, skip, axis=1)
        for block in self.conv2:
            x = block(x)
        return self.make.remember(x)


class Decoder:
    """Decoder levels, from the lowest resolution up."""

    def __init__(self, make: Layers):
        self.make = make
        widths = [2 * make.config.level_channels[-1], *reversed(make.config.level_channels)]
        self.layers = [ResDecoderBlock(i, o, make.at(f"layers.{n}")) for n, (i, o) in enumerate(pairwise(widths))]

    def __call__(self, x: Value, skips: list[Value]) -> Value:
        """Bottom [B, C, T/2^levels, F/2^levels] and the skip of each level -> [B, C_out, T, F]."""
        for layer, skip in zip(self.layers, reversed(skips)):
            x = layer(x, skip)
        return self.make.remember(x)


class DeepUnet:
    """Encoder, bottom and decoder; the TimbreFilter exists only where it is used."""

    def __init__(self, make: Layers):
        self.make = make
        self.encoder = Encoder(make.at("encoder"))
        self.intermediate = Intermediate(make.at("intermediate"))
        self.tf = TimbreFilter(make.at("tf")) if make.config.timbre_filter else None
        self.decoder = Decoder(make.at("decoder"))

    def __call__(self, x: Value) -> Value:
        """[B, 1, T, F] -> [B, C_out, T, F]."""
        x, skips = self.encoder(x)
        x = self.intermediate(x)
        if self.tf is not None:
            skips = self.tf(skips)
        return self.make.remember(self.decoder(x, skips))


class BiGRU:
    """Bidirectional GRU; forward and backward outputs side by side."""

    def __init__(self, make: Layers):
        self.make = make
        self.gru = GRU(make.at("gru"))

    def __call__(self, x: Value) -> Value:
        """[B, T, features] -> [B, T, 2 * hidden]."""
        return self.make.remember(self.gru(x))


class RMVPE:
    """Log-mel [B, T, n_mels] -> salience [B, T, 360] in 0..1; T must be a multiple of 2^levels.

    `make` brings the config, the weights and the graph that is added to.
    """

    def __init__(self, make: Layers):
        self.make = make
        self.unet = DeepUnet(make.at("unet"))
        self.cnn = make.conv("cnn")
        self.bigru = BiGRU(make.at("fc.0"))
        self.linear = make.linear("fc.1")
        self.fc: list[Layer] = [self.bigru, self.linear]

    def features(self, log_mel: Value) -> Value:
        """Log-mel [B, T, F] -> input of the GRU [B, T, head_channels * F]; a frame depends on a bounded part of it."""
        graph = self.make.graph
        x = graph.op("Unsqueeze", log_mel, graph.integers(1))  # [B, T, F] -> [B, 1, T, F]
        x = self.cnn(self.unet(x))
        x = graph.op("Transpose", x, perm=[0, 2, 1, 3])  # [B, C, T, F] -> [B, T, C, F]
        return graph.op("Reshape", x, graph.integers(0, 0, -1))  # -> [B, T, C * F]

    def logits(self, log_mel: Value) -> Value:
        """Log-mel [B, T, F] -> salience before the sigmoid [B, T, 360]."""
        return chain(self.fc, self.features(log_mel))

    def __call__(self, log_mel: Value) -> Value:
        """Log-mel [B, T, n_mels] -> salience [B, T, 360] in 0..1."""
        return self.make.graph.op("Sigmoid", self.logits(log_mel))


def residual_blocks(in_channels: int, out_channels: int, make: Layers) -> list[ConvBlockRes]:
    """The residual blocks of one level: the first changes the channels."""
    widths = [in_channels] + [out_channels] * make.config.blocks
    return [ConvBlockRes(i, o, make.at(n)) for n, (i, o) in enumerate(pairwise(widths))]
