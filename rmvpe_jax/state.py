"""Training states on disk: one Orbax folder each, complete or absent. Inference and `convert` read it as a checkpoint.

Besides the items of `rmvpe_jax.checkpoint` (`weights`: those to predict with, and `about`) it holds `raw` (the weights
in training, if `weights` are averaged ones) and Adam's moments `adam_mu` and `adam_nu`, all under dotted NNX paths;
`random` (the state of the dropout's random numbers); and `run` (JSON: config, step and other numbers). This module is a
`rmvpe.training.state.StateStore`.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.checkpoint.content_hash import CONTENT_HASH, hash_of_arrays
from rmvpe.config import TrainConfig
from rmvpe.config_check import ConfigError, from_dict, to_dict
from rmvpe.errors import UserError
from rmvpe.reading import reading
from rmvpe.training.state import RunState, Tensors
from rmvpe_jax import checkpoint
from rmvpe_jax.params import ConversionError, nnx_to_torch, torch_to_nnx

FORMAT = "rmvpe-state-1"
NAME = "state-{step:08d}"
PATTERN = re.compile(r"state-(\d{8,})")
RAW, MU, NU, RANDOM, RUN = "raw", "adam_mu", "adam_nu", "random", "run"
NUMBERS = ("step", "examples", "updates")
TEXTS = ("scaler", "about")
ITEMS = "items"  # in `run`: the names of the items of arrays

RESUME_FROM_ANOTHER = "resume from another state"
NO_STATE = (
    "{path} is not a training state of this version of rmvpe: start from the run's last.safetensors with --initial "
    "instead"
)


def save(folder: Path, state: RunState) -> Path:
    """Write `folder`/state-<step> and return its path. An older state of the same step is replaced.

    Raises UserError if it cannot be written, for example because the disk is full; earlier states stay as they are.
    Unfinished folders of a killed process are deleted.
    """
    path = (folder / NAME.format(step=state.step)).absolute()
    clear_leftovers(folder)
    checkpoint.replace(path, items(state), f"cannot write {path}", "free some space or choose another --logdir")
    return path


def items(state: RunState) -> dict[str, Any]:
    """The Orbax items of a state."""
    import orbax.checkpoint as ocp

    model = state.config.model
    run: dict[str, Any] = {"format": FORMAT, "config": to_dict(state.config)}
    run |= {name: getattr(state, name) for name in NUMBERS}
    run |= {name: dict(getattr(state, name)) for name in TEXTS}
    arrays: dict[str, Tensors] = {
        MU: torch_to_nnx(state.first_moment, model, parameters_only=True),
        NU: torch_to_nnx(state.second_moment, model, parameters_only=True),
    }
    if state.average:
        arrays[RAW] = torch_to_nnx(state.weights, model)
    if state.generators:
        arrays[RANDOM] = {name: np.asarray(array) for name, array in state.generators.items()}
    run[ITEMS] = list(arrays)
    run[CONTENT_HASH] = hash_of_arrays(run, all_arrays(arrays))
    metadata = {**state.about, "step": str(state.step)}
    published = checkpoint.items(torch_to_nnx(state.published, model), model, metadata)
    ours = {name: checkpoint.save_arrays(tree) for name, tree in arrays.items()}
    return published | ours | {RUN: ocp.args.JsonSave(run)}


def load(path: Path) -> RunState:
    """Read what `save` wrote. Raises UserError if the folder is missing, damaged or no state of this version."""
    if not path.is_dir():
        raise UserError(f"{path} does not exist: give the --logdir of an earlier run")
    if not (path / RUN).is_dir():
        raise UserError(NO_STATE.format(path=path))
    run = checkpoint.read_items(path, [], [RUN])[1][RUN]
    if run.get("format") != FORMAT:
        raise UserError(NO_STATE.format(path=path))
    with reading(path, RESUME_FROM_ANOTHER):
        return _load(path, run)


def _load(path: Path, run: dict[str, Any]) -> RunState:
    try:
        config = from_dict(TrainConfig, run["config"])
        limit = checkpoint.most_bytes(config.model)
        arrays, _ = checkpoint.read_items(path, run.get(ITEMS, []), [], limit)
        published = checkpoint.load(path)
        checkpoint.check_hash(path, run, all_arrays(arrays))
        first, second = (nnx_to_torch(arrays[name], config.model, parameters_only=True) for name in (MU, NU))
        raw = nnx_to_torch(arrays[RAW], config.model) if RAW in arrays else None
        return RunState(
            config=config,
            weights=published.tensors if raw is None else raw,
            average={} if raw is None else published.tensors,
            first_moment=first,
            second_moment=second,
            generators=arrays.get(RANDOM, {}),
            **{name: run[name] for name in (*NUMBERS, *TEXTS)},
        )
    except KeyError as error:
        raise UserError(f"{path} lacks {error}: {RESUME_FROM_ANOTHER}") from error
    except (ConfigError, ConversionError) as error:
        raise UserError(f"{path}: {error}; use the version of rmvpe that wrote it") from error


def all_arrays(items: Mapping[str, Tensors]) -> Tensors:
    """The arrays of several items in one table, for their hash."""
    return {f"{item}/{name}": array for item, arrays in items.items() for name, array in arrays.items()}


def find(folder: Path) -> dict[int, Path]:
    """The states in `folder` by step, lowest first; a folder that is being written or removed has another name."""
    matches = ((PATTERN.fullmatch(path.name), path) for path in folder.glob("state-*"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match and checkpoint.is_checkpoint(path)))


def remove(path: Path) -> None:
    """Delete one state. It is renamed first, so that `find` never returns a half-deleted one."""
    hidden = path.with_name(f".{path.name}-removed")
    path.rename(hidden)
    shutil.rmtree(hidden)


def clear_leftovers(folder: Path) -> None:
    """Delete what `save` and `remove` left behind when they were killed."""
    for path in folder.glob(".state-*-*"):
        if PATTERN.match(path.name[1:]) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
