"""Training states that `rmvpe_torch.state` writes, read without torch: for resuming, and as weights to predict with."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from rmvpe.checkpoint.torch_pickle import TorchTensor
from rmvpe.checkpoint.torch_zip import TorchFile
from rmvpe.errors import UserError

STATE_FORMAT = "rmvpe-state-1"
STATE_TENSORS = ("weights", "average", "first_moment", "second_moment", "generators")
STATE_NUMBERS = ("step", "examples", "updates")
STATE_TEXTS = ("scaler", "about")
RESUME_FROM_ANOTHER = "resume from another state"


def is_state(content: object) -> bool:
    """Whether the content of a torch file is a training state of this version."""
    return isinstance(content, dict) and content.get("format") == STATE_FORMAT


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of a state: its numbers, its tables of texts, its tables of arrays, and `config` as a table.

    Raises UserError if the file is missing, damaged, or no state of this version.
    """
    try:
        file = TorchFile(path, RESUME_FROM_ANOTHER)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: give the --logdir of an earlier run") from error
    with file:
        content = file.content
        if not is_state(content):
            raise UserError(
                f"{path} is not a training state of this version of rmvpe: start from the run's last.safetensors with "
                "--initial instead"
            )
        check_state(path, content)
        fields = {name: content[name] for name in ("config", *STATE_NUMBERS, *STATE_TEXTS)}
        arrays: dict[str, dict[str, np.ndarray]] = {
            name: {key: file.read(tensor) for key, tensor in content[name].items()} for name in STATE_TENSORS
        }
        return fields | arrays


def check_state(path: object, content: Mapping[str, Any]) -> None:
    """Raise UserError unless a state has all its fields, each of its type."""
    missing = [name for name in ("config", *STATE_NUMBERS, *STATE_TEXTS, *STATE_TENSORS) if name not in content]
    if missing:
        raise UserError(f"{path} lacks {', '.join(map(repr, missing))}: {RESUME_FROM_ANOTHER}")
    wrong = [name for name in STATE_NUMBERS if type(content[name]) is not int or not 0 <= content[name] < 1 << 60]
    wrong += [name for name in ("about",) if not _is_table(content[name], str)]
    wrong += [name for name in ("scaler",) if not _is_table(content[name], (int, float))]
    wrong += [name for name in STATE_TENSORS if not _is_table(content[name], TorchTensor)]
    if not isinstance(content["config"], dict):
        wrong.append("config")
    if wrong:
        raise UserError(f"{path} is damaged (its {', '.join(wrong)} is of another type): {RESUME_FROM_ANOTHER}")


def published(content: Mapping[str, Any]) -> tuple[str, dict[str, TorchTensor]]:
    """The weights of a state to predict with, and where they are: the averaged ones if the run averages."""
    where = "average" if content["average"] else "weights"
    return where, content[where]


def state_metadata(content: Mapping[str, Any], checkpoint_format: str) -> dict[str, str]:
    """What the weights' own file would have as metadata: threshold, calibration, origin, step and config."""
    model = content["config"].get("model")
    if not isinstance(model, dict):
        raise ValueError("its config has no model")
    about = {**content["about"], "step": str(content["step"])}
    return {**about, "config": json.dumps(model), "format": checkpoint_format}


def _is_table(value: object, kind: type | tuple[type, ...]) -> bool:
    if not isinstance(value, dict):
        return False
    return all(isinstance(key, str) and isinstance(item, kind) for key, item in value.items())
