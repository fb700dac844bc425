"""The tensors of a network: their names and shapes from its config, and its config from their shapes.

Names and shapes are those of the published checkpoints, which are torch's. All other modules take them from here.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from rmvpe.config import PRESETS, MelConfig, ModelConfig
from rmvpe.errors import UserError

MAX_PROBLEMS = 6  # in one message

# Tensors that a network must have to be recognised, with the number of axes of each
LANDMARKS = {
    "unet.encoder.layers.0.conv.0.conv.0.weight": 4,
    "cnn.weight": 4,
    "fc.0.gru.weight_ih_l0": 2,
    "fc.0.gru.weight_hh_l0": 2,
    "fc.1.weight": 2,
}


class HasShape(Protocol):
    """An array, or a tensor that has not been read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        ...


def compare_shapes(found: Mapping[str, HasShape], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """One phrase for each tensor that is missing, unexpected or of another shape; [] if all are as expected."""
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unexpected" for name in found if name not in expected]
    for name, shape in expected.items():
        if name in found and tuple(found[name].shape) != shape:
            problems.append(f"{name} has shape {list(found[name].shape)}, not {list(shape)}")
    return problems


def summarize(problems: list[str]) -> str:
    """The first problems in one line, and how many there are in all."""
    shown = "; ".join(problems[:MAX_PROBLEMS])
    rest = len(problems) - MAX_PROBLEMS
    return f"{shown}; and {rest} more ({len(problems)} in all)" if rest > 0 else shown


def expected_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the network, in the order of torch's `state_dict`.

    Parameters and batch statistics are listed, the counters `num_batches_tracked` are not.
    """
    return dict(_network(config))


def weight_bytes(config: ModelConfig) -> int:
    """Memory of the network's tensors in float32."""
    return sum(4 * math.prod(shape) for shape in expected_tensors(config).values())


def timbre_filter_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of `unet.tf.*`, the TimbreFilter, which yxlllc's files have even if the network has none."""
    widths = config.level_channels
    return dict(pair for i, c in enumerate(widths) for pair in _block(f"unet.tf.layers.{i}", c, c))


Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _network(config: ModelConfig) -> Shapes:
    widths = config.level_channels
    bottom = 2 * widths[-1]
    yield from _batch_norm("unet.encoder.bn", 1)
    for i, (c_in, c_out) in enumerate(zip([1, *widths], widths, strict=False)):
        yield from _blocks(f"unet.encoder.layers.{i}.conv", c_in, c_out, config.blocks)
    for i in range(config.inter_layers):
        yield from _blocks(f"unet.intermediate.layers.{i}.conv", bottom if i else widths[-1], bottom, config.blocks)
    if config.timbre_filter:
        yield from timbre_filter_tensors(config).items()
    for i, c in enumerate(reversed(widths)):
        yield f"unet.decoder.layers.{i}.conv1.0.weight", (2 * c, c, 3, 3)  # transposed convolution: input axis first
        yield from _batch_norm(f"unet.decoder.layers.{i}.conv1.1", c)
        yield from _blocks(f"unet.decoder.layers.{i}.conv2", 2 * c, c, config.blocks)
    yield "cnn.weight", (config.head_channels, config.channels, 3, 3)
    yield "cnn.bias", (config.head_channels,)
    yield from _gru(config)
    yield "fc.1.weight", (config.n_bins, 2 * config.gru_hidden)
    yield "fc.1.bias", (config.n_bins,)


def _gru(config: ModelConfig) -> Shapes:
    gates = 3 * config.gru_hidden  # reset, update, new
    for layer in range(config.gru_layers):
        features = 2 * config.gru_hidden if layer else config.head_channels * config.mel.n_mels
        for direction in ("", "_reverse"):
            yield f"fc.0.gru.weight_ih_l{layer}{direction}", (gates, features)
            yield f"fc.0.gru.weight_hh_l{layer}{direction}", (gates, config.gru_hidden)
            yield f"fc.0.gru.bias_ih_l{layer}{direction}", (gates,)
            yield f"fc.0.gru.bias_hh_l{layer}{direction}", (gates,)


def _blocks(prefix: str, c_in: int, c_out: int, n_blocks: int) -> Shapes:
    for i in range(n_blocks):
        yield from _block(f"{prefix}.{i}", c_out if i else c_in, c_out)


def _block(prefix: str, c_in: int, c_out: int) -> Shapes:
    yield f"{prefix}.conv.0.weight", (c_out, c_in, 3, 3)
    yield from _batch_norm(f"{prefix}.conv.1", c_out)
    yield f"{prefix}.conv.3.weight", (c_out, c_out, 3, 3)
    yield from _batch_norm(f"{prefix}.conv.4", c_out)
    if c_in != c_out:
        yield f"{prefix}.shortcut.weight", (c_out, c_in, 1, 1)
        yield f"{prefix}.shortcut.bias", (c_out,)


def _batch_norm(prefix: str, channels: int) -> Shapes:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.{name}", (channels,)


def infer_config(tensors: Mapping[str, HasShape]) -> ModelConfig:
    """The config of a network from the names and shapes of its tensors: a preset, or "custom" if no preset fits.

    Weights do not show the front end: with 128 mel bands it is that of the published weights, with 256 that of the
    paper. `unet.tf.*` is used with 256 bands only (the published files with 128 bands contain it unused). Raises
    UserError if this is no network of the family or has another number of mel bands.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    _check_landmarks(shapes)
    head_channels = shapes["cnn.weight"][0]
    n_mels = shapes["fc.0.gru.weight_ih_l0"][1] // max(head_channels, 1)
    found = ModelConfig(
        name="custom",
        mel=_front_end(n_mels),
        levels=_count(shapes, r"unet\.encoder\.layers\.(\d+)\."),
        blocks=_count(shapes, r"unet\.encoder\.layers\.0\.conv\.(\d+)\."),
        inter_layers=_count(shapes, r"unet\.intermediate\.layers\.(\d+)\."),
        channels=shapes["unet.encoder.layers.0.conv.0.conv.0.weight"][0],
        head_channels=head_channels,
        gru_hidden=shapes["fc.0.gru.weight_hh_l0"][1],
        gru_layers=_count(shapes, r"fc\.0\.gru\.weight_hh_l(\d+)$"),
        n_bins=shapes["fc.1.weight"][0],
        timbre_filter=n_mels == ModelConfig.e2e().mel.n_mels and _count(shapes, r"unet\.tf\.layers\.(\d+)\.") > 0,
        dropout=0.0,
    )
    for preset in (make() for make in PRESETS.values()):
        if replace(preset, name=found.name, dropout=found.dropout) == found:
            return preset
    return found


def _check_landmarks(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UserError unless the tensors by which a network is recognised are there."""
    wrong = [name for name, n_axes in LANDMARKS.items() if len(shapes.get(name, ())) != n_axes]
    if wrong:
        raise UserError(
            f"not an RMVPE network: {summarize([f'{name} is missing' for name in wrong])}; it holds {len(shapes)} "
            f"tensors{', such as ' if shapes else ''}{', '.join(sorted(shapes)[:4])}; give an RMVPE checkpoint"
        )


def _front_end(n_mels: int) -> MelConfig:
    """The front end of the preset with `n_mels` bands. Raises UserError if no preset has so many."""
    known = {preset.mel.n_mels: preset.mel for preset in (make() for make in PRESETS.values())}
    if n_mels not in known:
        raise UserError(
            f"the network has {n_mels} mel bands, but no config for its front end; without a config only "
            f"{' and '.join(map(str, known))} bands are known: give the .safetensors file that rmvpe wrote"
        )
    return known[n_mels]


def _count(names: Mapping[str, object], pattern: str) -> int:
    """The number of different values of the pattern's group, over all names that begin with the pattern."""
    return len({match[1] for match in (re.match(pattern, name) for name in names) if match})
