"""Training states on disk: one .pt file each, which `torch.load(..., weights_only=True)` reads, and we without torch.

The file holds `RunState`'s fields: numbers, texts, and dictionaries of tensors under the official names. A file that is
being written has another name, so a state is complete or does not exist. This module is a
`rmvpe.training.state.StateStore`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmvpe.checkpoint.torch_state import (
    RESUME_FROM_ANOTHER,
    STATE_FORMAT,
    STATE_NUMBERS,
    STATE_TENSORS,
    STATE_TEXTS,
    read_state,
)
from rmvpe.config import TrainConfig
from rmvpe.config_check import ConfigError, from_dict, to_dict
from rmvpe.errors import UserError
from rmvpe.files import atomic_path, flush_folder
from rmvpe.reading import reading
from rmvpe.training.state import RunState
from rmvpe_torch import compat

FORMAT, TENSORS, NUMBERS, TEXTS = STATE_FORMAT, STATE_TENSORS, STATE_NUMBERS, STATE_TEXTS
NAME = "state-{step:08d}.pt"
PATTERN = re.compile(r"state-(\d{8,})\.pt")


def save(folder: Path, state: RunState) -> Path:
    """Write `folder`/state-<step>.pt and return its path.

    Raises UserError if it cannot be written, for example because the disk is full; earlier states stay.
    """
    path = folder / NAME.format(step=state.step)
    content: dict[str, Any] = {"format": FORMAT, "config": to_dict(state.config)}
    content |= {name: getattr(state, name) for name in NUMBERS}
    content |= {name: dict(getattr(state, name)) for name in TEXTS}
    content |= {name: _tensors(getattr(state, name)) for name in TENSORS}
    with atomic_path(path) as temporary:
        _write(temporary, content, path)
    flush_folder(folder)
    return path


def load(path: Path) -> RunState:
    """Read what `save` wrote. Raises UserError if the file is missing, damaged, or not a state of this version."""
    content = read_state(path)
    with reading(path, RESUME_FROM_ANOTHER):
        try:
            config = from_dict(TrainConfig, content.pop("config"))
        except ConfigError as error:
            raise UserError(f"{path}: {error}; use the version of rmvpe that wrote it") from error
        return RunState(config=config, **content)


def find(folder: Path) -> dict[int, Path]:
    """The states in `folder`: step -> path, lowest step first."""
    matches = ((PATTERN.fullmatch(path.name), path) for path in folder.glob("state-*.pt"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def remove(path: Path) -> None:
    """Delete one state."""
    path.unlink()


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    # Contiguous copies: of a slice, torch would save the whole array that it is a part of
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _write(temporary: Path, content: dict[str, Any], path: Path) -> None:
    try:
        with temporary.open("wb") as file:
            compat.save(content, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free some space or choose another --logdir") from error
