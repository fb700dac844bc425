"""THE table between torch's tensors and the NNX model's arrays, and how values are carried across.

Each tensor's official (torch) name, its path in the NNX model, and a transform. Names and shapes come from
`rmvpe.checkpoint.architecture.expected_tensors`, their only origin. Module paths are the same on both sides; a rule per
kind of tensor gives the leaf's name in flax and the transform. Strict both ways: all problems are listed at once.
Nothing is computed: values are moved, so a round trip gives back the same bits, in the same type.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from rmvpe.checkpoint.architecture import compare_shapes, expected_tensors, summarize
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError


class Entry(NamedTuple):
    """One tensor. `nnx_path` is dotted, `transform` a key of `rmvpe_jax.params.TRANSFORMS`, `shape` torch's."""

    torch_name: str
    nnx_path: str
    transform: str
    shape: tuple[int, ...]


# Torch name (its end, as a pattern) -> leaf in flax, transform. The first that matches counts.
RULES = (
    (r"gru\.((?:weight|bias)_[ih]h_l\d+(?:_reverse)?)", r"\1", "identity"),
    (r"running_mean", "mean", "identity"),
    (r"running_var", "var", "identity"),
    (r"decoder\.layers\.\d+\.conv1\.0\.weight", "kernel", "conv_transpose"),
    (r"(?:encoder\.bn|conv1\.1|conv\.[14])\.weight", "scale", "identity"),  # batch norm
    (r"shortcut\.weight", "kernel", "conv_1x1"),
    (r"(?:cnn|conv\.[03])\.weight", "kernel", "conv"),
    (r"fc\.1\.weight", "kernel", "linear"),
    (r"bias", "bias", "identity"),
)


def table(config: ModelConfig) -> list[Entry]:
    """The entries of all tensors of `config`'s network, in the order of torch's `state_dict`."""
    return [entry(name, shape) for name, shape in expected_tensors(config).items()]


def entry(torch_name: str, shape: tuple[int, ...]) -> Entry:
    """The table's row for one torch tensor. Raises KeyError if no rule knows its kind."""
    module = torch_name.rpartition(".")[0]
    for pattern, leaf, transform in RULES:
        match = re.search(rf"(?:^|\.){pattern}$", torch_name)
        if match:
            return Entry(torch_name, f"{module}.{match.expand(leaf)}", transform, shape)
    raise KeyError(f"no rule carries {torch_name} across")


BATCH_STATISTICS = ("running_mean", "running_var")  # how their official names end


class ConversionError(UserError):
    """Tensors are missing, unexpected or of another shape."""


class Transform(NamedTuple):
    """How one tensor's axes lie on the other side, and back."""

    to_nnx: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]


# H, W: the kernel's axes over time and frequency; I, O: input and output channels
TRANSFORMS = {
    "identity": Transform(lambda a: a, lambda a: a),
    # [O, I] <-> [I, O]
    "linear": Transform(lambda a: a.T, lambda a: a.T),
    # [O, I, 1, 1] <-> [I, O]: a 1x1 convolution is a linear layer where channels are last
    "conv_1x1": Transform(lambda a: a[:, :, 0, 0].T, lambda a: a.T[:, :, None, None]),
    # [O, I, H, W] <-> [H, W, I, O]
    "conv": Transform(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1)),
    # [I, O, H, W] <-> [H, W, I, O] flipped: torch spreads each input through the kernel, flax gathers for each output
    "conv_transpose": Transform(
        lambda a: a[:, :, ::-1, ::-1].transpose(2, 3, 0, 1), lambda a: a.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]
    ),
}


def torch_to_nnx(
    tensors: Mapping[str, np.ndarray], config: ModelConfig, *, parameters_only: bool = False
) -> dict[str, np.ndarray]:
    """Tensors under official names -> the same under dotted NNX paths. Raises ConversionError listing every problem.

    `parameters_only`: there are no batch statistics, as among an optimizer's moments.
    """
    entries = chosen(config, parameters_only)
    check(tensors, {row.torch_name: row.shape for row in entries}, f"these are not the tensors of {config.name!r}")
    return {row.nnx_path: contiguous(TRANSFORMS[row.transform].to_nnx(tensors[row.torch_name])) for row in entries}


def nnx_to_torch(
    flat: Mapping[str, np.ndarray], config: ModelConfig, *, parameters_only: bool = False
) -> dict[str, np.ndarray]:
    """Arrays under dotted NNX paths -> the same under official names; the inverse of `torch_to_nnx`."""
    entries = chosen(config, parameters_only)
    check(flat, {row.nnx_path: nnx_shape(row) for row in entries}, f"this is not the state of {config.name!r}")
    return {row.torch_name: contiguous(TRANSFORMS[row.transform].to_torch(flat[row.nnx_path])) for row in entries}


def chosen(config: ModelConfig, parameters_only: bool) -> list[Entry]:
    """The table, or its parameters."""
    entries = table(config)
    return [row for row in entries if not row.torch_name.endswith(BATCH_STATISTICS)] if parameters_only else entries


def nnx_shape(row: Entry) -> tuple[int, ...]:
    """The shape of a tensor in the NNX model."""
    hollow = np.broadcast_to(np.zeros(()), row.shape)  # takes no memory
    return TRANSFORMS[row.transform].to_nnx(hollow).shape


def check(found: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], complaint: str) -> None:
    """Raise ConversionError unless `found` has exactly the expected names and shapes."""
    problems = compare_shapes(found, expected)
    if problems:
        raise ConversionError(f"{complaint}: {summarize(problems)}; check that the config belongs to the weights")


def contiguous(array: np.ndarray) -> np.ndarray:
    """A copy in plain row order, as file formats want it; never a view of the other side's memory."""
    return np.array(array, order="C")
