"""THE table: each tensor's official (torch) name, its path in the NNX model, and how its values are carried across.

Names and shapes come from `rmvpe.checkpoint.expected_tensors`, their only origin. Module paths are the same on both
sides; a rule per kind of tensor gives the leaf's name in flax and the transform, which `convert.apply` defines.
"""

import re
from typing import NamedTuple

from rmvpe.checkpoint import expected_tensors
from rmvpe.config import ModelConfig


class Entry(NamedTuple):
    """One tensor. `nnx_path` is dotted, `transform` a key of `convert.apply.TRANSFORMS`, `shape` torch's."""

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
