"""THE table between torch's tensors and the arrays of the NNX model, and the only code that carries values across.

Each row has a tensor's official (torch) name, its path in the NNX model, and a transform. Names and shapes come from
`rmvpe.checkpoint.architecture.expected_tensors`, their only origin. Module paths are the same on both sides; a rule for
each kind of tensor gives the name of the leaf in flax and the transform.

Conversion is strict both ways: a missing, an unexpected and a misshapen tensor are errors, and all are listed at once.
Values are moved, not computed: a round trip gives back the same bits in the same type.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from rmvpe.checkpoint.architecture import compare_shapes, expected_tensors, summarize
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError

BATCH_STATISTICS = ("running_mean", "running_var")  # how their official names end


class ConversionError(UserError):
    """Tensors are missing, unexpected or of another shape."""


class Entry(NamedTuple):
    """The row of one tensor. `nnx_path` is dotted, `transform` is a key of `TRANSFORMS`, `shape` is torch's."""

    torch_name: str
    nnx_path: str
    transform: str
    shape: tuple[int, ...]


# End of the torch name, as a pattern -> leaf in flax, transform. The first rule that matches counts.
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


def table(config: ModelConfig, *, parameters_only: bool = False) -> list[Entry]:
    """The rows of all tensors of `config`'s network, in the order of torch's `state_dict`.

    `parameters_only`: without the batch statistics, as an optimizer's moments are.
    """
    entries = [entry(name, shape) for name, shape in expected_tensors(config).items()]
    return [row for row in entries if not row.torch_name.endswith(BATCH_STATISTICS)] if parameters_only else entries


def entry(torch_name: str, shape: tuple[int, ...]) -> Entry:
    """The row of one torch tensor. Raises KeyError if no rule matches its name."""
    module = torch_name.rpartition(".")[0]
    for pattern, leaf, transform in RULES:
        match = re.search(rf"(?:^|\.){pattern}$", torch_name)
        if match:
            return Entry(torch_name, f"{module}.{match.expand(leaf)}", transform, shape)
    raise KeyError(f"no rule matches {torch_name}")


class Transform(NamedTuple):
    """How the axes of a tensor change from torch to NNX, and back."""

    to_nnx: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]


# H, W: the kernel's axes over time and frequency; I, O: input and output channels
TRANSFORMS = {
    "identity": Transform(lambda a: a, lambda a: a),
    # [O, I] <-> [I, O]
    "linear": Transform(lambda a: a.T, lambda a: a.T),
    # [O, I, 1, 1] <-> [I, O]: with channels last, a 1x1 convolution is a linear layer
    "conv_1x1": Transform(lambda a: a[:, :, 0, 0].T, lambda a: a.T[:, :, None, None]),
    # [O, I, H, W] <-> [H, W, I, O]
    "conv": Transform(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1)),
    # [I, O, H, W] <-> [H, W, I, O], flipped: torch distributes each input over the outputs, flax collects each output
    "conv_transpose": Transform(
        lambda a: a[:, :, ::-1, ::-1].transpose(2, 3, 0, 1), lambda a: a.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]
    ),
}


def nnx_shape(row: Entry) -> tuple[int, ...]:
    """The shape of a tensor in the NNX model."""
    placeholder = np.broadcast_to(np.zeros(()), row.shape)  # takes no memory
    return TRANSFORMS[row.transform].to_nnx(placeholder).shape


def torch_to_nnx(
    tensors: Mapping[str, np.ndarray], config: ModelConfig, *, parameters_only: bool = False
) -> dict[str, np.ndarray]:
    """Tensors under official names -> the same under dotted NNX paths. Raises ConversionError with all problems.

    `parameters_only`: `tensors` has no batch statistics.
    """
    return dict(each_to_nnx(tensors, config, parameters_only=parameters_only))


def each_to_nnx(
    tensors: Mapping[str, np.ndarray], config: ModelConfig, *, parameters_only: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """The items of `torch_to_nnx`, one after the other: who keeps none of them needs no memory for all."""
    rows = table(config, parameters_only=parameters_only)
    check_tensors(tensors, {row.torch_name: row.shape for row in rows}, f"these are not the tensors of {config.name!r}")
    for row in rows:
        yield row.nnx_path, row_major(TRANSFORMS[row.transform].to_nnx(tensors[row.torch_name]))


def nnx_to_torch(
    flat: Mapping[str, np.ndarray], config: ModelConfig, *, parameters_only: bool = False
) -> dict[str, np.ndarray]:
    """Arrays under dotted NNX paths -> the same under official names; the inverse of `torch_to_nnx`."""
    rows = table(config, parameters_only=parameters_only)
    check_tensors(flat, {row.nnx_path: nnx_shape(row) for row in rows}, f"this is not the state of {config.name!r}")
    return {row.torch_name: row_major(TRANSFORMS[row.transform].to_torch(flat[row.nnx_path])) for row in rows}


def check_tensors(found: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], message: str) -> None:
    """Raise ConversionError, beginning with `message`, unless `found` has exactly the expected names and shapes."""
    problems = compare_shapes(found, expected)
    if problems:
        raise ConversionError(f"{message}: {summarize(problems)}; check that the config belongs to the weights")


def row_major(array: np.ndarray) -> np.ndarray:
    """A copy in row-major order, as file formats want it. It never shares memory with `array`."""
    return np.array(array, order="C")
