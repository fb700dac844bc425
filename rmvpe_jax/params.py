"""THE table between torch's tensors and the arrays of the NNX model, and the only code that carries values across.

Each row has a tensor's official (torch) name, its path in the NNX model, and a transform. Names and shapes come from
`rmvpe.checkpoint.architecture.expected_tensors`, their only origin. Module paths are the same on both sides; a rule for
each kind of tensor gives the name of the leaf in flax and the transform.

Conversion is strict both ways: a missing, an unexpected and a misshapen tensor are errors, and all are listed at once.
Values are moved, not computed: a round trip gives back the same bits in the same type.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from rmvpe.checkpoint.architecture import HasShape, compare_shapes, expected_tensors, summarize
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError

BATCH_STATISTICS = ("running_mean", "running_var")  # how their official names end
STRIP = 16  # numbers along one axis that are copied at a time: 64 bytes of float32, a line of the cache


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
    rows = table(config, parameters_only=parameters_only)
    check_tensors(tensors, {row.torch_name: row.shape for row in rows}, f"these are not the tensors of {config.name!r}")
    return {row.nnx_path: row_major(TRANSFORMS[row.transform].to_nnx(tensors[row.torch_name])) for row in rows}


def converters(tensors: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, Callable[[], np.ndarray]]:
    """For each dotted NNX path, what reads its tensor and converts it; else as `torch_to_nnx`.

    Tensors that are read from a file when they are asked for are read one at a time.
    """
    rows = table(config)
    problems = [f"{row.torch_name} is missing" for row in rows if row.torch_name not in tensors]
    expected = {row.torch_name for row in rows}
    problems += [f"{name} is unexpected" for name in tensors if name not in expected]
    _raise_for(problems, f"these are not the tensors of {config.name!r}")

    def convert(row: Entry) -> np.ndarray:
        tensor = tensors[row.torch_name]
        check_tensors({row.torch_name: tensor}, {row.torch_name: row.shape}, f"this is not of {config.name!r}")
        return row_major(TRANSFORMS[row.transform].to_nnx(tensor))

    return {row.nnx_path: partial(convert, row) for row in rows}


def nnx_to_torch(
    flat: Mapping[str, np.ndarray], config: ModelConfig, *, parameters_only: bool = False
) -> dict[str, np.ndarray]:
    """Arrays under dotted NNX paths -> the same under official names; the inverse of `torch_to_nnx`."""
    check_nnx(flat, config, parameters_only=parameters_only)
    rows = table(config, parameters_only=parameters_only)
    return {row.torch_name: to_torch(row, flat[row.nnx_path]) for row in rows}


def to_torch(row: Entry, array: np.ndarray) -> np.ndarray:
    """One array of the NNX model -> the tensor of that row, as a copy."""
    return row_major(TRANSFORMS[row.transform].to_torch(array))


def check_nnx(flat: Mapping[str, HasShape], config: ModelConfig, *, parameters_only: bool = False) -> None:
    """Raise ConversionError unless names and shapes are those of the NNX model, with or without batch statistics."""
    rows = table(config, parameters_only=parameters_only)
    check_tensors(flat, {row.nnx_path: nnx_shape(row) for row in rows}, f"this is not the state of {config.name!r}")


def check_tensors(found: Mapping[str, HasShape], expected: Mapping[str, tuple[int, ...]], message: str) -> None:
    """Raise ConversionError, beginning with `message`, unless `found` has exactly the expected names and shapes."""
    _raise_for(compare_shapes(found, expected), message)


def _raise_for(problems: list[str], message: str) -> None:
    if problems:
        raise ConversionError(f"{message}: {summarize(problems)}; check that the config belongs to the weights")


def row_major(array: np.ndarray) -> np.ndarray:
    """A copy in row-major order, as file formats want it. It never shares memory with `array`.

    A transposed array is read strip by strip along the longest of its steps in memory: a whole tensor does not fit into
    the CPU's cache, and without strips each number would come from memory anew.
    """
    array = np.asarray(array)
    long = [axis for axis, size in enumerate(array.shape) if size >= 2 * STRIP]
    if array.flags.c_contiguous or not long:
        return np.array(array, order="C")
    copy = np.empty(array.shape, array.dtype)
    axis = max(long, key=lambda axis: abs(array.strides[axis]))
    source, target = (np.moveaxis(a, axis, 0) for a in (array, copy))
    for start in range(0, len(source), STRIP):
        target[start : start + STRIP] = source[start : start + STRIP]
    return copy
