"""Checkpoints for JAX: the model of one, and Orbax folders.

A folder holds Orbax items: `weights` (parameters and batch statistics, as numpy arrays under dotted NNX paths) and
`about` (JSON: format, config, metadata). A training run adds items of its own beside them (optimizer, random state):
`items` gives ours to whoever writes the folder, be it `save` here or an Orbax CheckpointManager, and `load` reads these
two only. Orbax writes a folder under a temporary name and renames it, so it is whole or absent.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from convert.apply import nnx_to_torch, torch_to_nnx
from rmvpe.checkpoint import FORMAT, Checkpoint
from rmvpe.config import ConfigError, ModelConfig, from_dict, to_dict
from rmvpe.errors import UserError
from rmvpe_jax.model import RMVPE

WEIGHTS, ABOUT = "weights", "about"  # the items' names


def load_model(checkpoint: Checkpoint, conv_dtype: DTypeLike = jnp.float32, axis_name: str | None = None) -> RMVPE:
    """The checkpoint's network in evaluation mode. Raises ConversionError if the tensors are not the config's."""
    model = RMVPE(checkpoint.config, seed=None, conv_dtype=conv_dtype, axis_name=axis_name)
    load_tensors(model, checkpoint)
    model.eval()
    return model


def load_tensors(model: RMVPE, checkpoint: Checkpoint) -> None:
    """Put the checkpoint's weights into the model. Raises ConversionError if they are not its config's."""
    flat = torch_to_nnx(checkpoint.tensors, model.config)
    state = nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    filled = {path: variable.replace(jnp.asarray(flat[dotted(path)])) for path, variable in state}
    nnx.update(model, nnx.from_flat_state(filled))


def get_weights(model: RMVPE) -> dict[str, np.ndarray]:
    """The model's parameters and batch statistics, as numpy arrays under dotted NNX paths."""
    return flatten([nnx.state(model, (nnx.Param, nnx.BatchStat))])


def flatten(states: Iterable[nnx.State]) -> dict[str, np.ndarray]:
    """The arrays of NNX states, such as parameters and batch statistics, under dotted paths."""
    leaves = (leaf for state in states for leaf in nnx.to_flat_state(state))
    return {dotted(path): np.asarray(variable[...]) for path, variable in leaves}


def dotted(path: tuple[Any, ...]) -> str:
    """An NNX path as one name: ("fc", 1, "kernel") -> "fc.1.kernel"."""
    return ".".join(map(str, path))


def to_checkpoint(model: RMVPE, metadata: Mapping[str, str]) -> Checkpoint:
    """The model's weights under the official names, with its config: what every other program reads."""
    return Checkpoint(model.config, nnx_to_torch(get_weights(model), model.config), dict(metadata))


def save(
    directory: str | os.PathLike[str],
    weights: RMVPE | Mapping[str, np.ndarray],
    config: ModelConfig,
    metadata: Mapping[str, str],
) -> None:
    """Write an Orbax folder of a model, or of tensors under the official names (`Checkpoint.tensors`).

    A checkpoint that is there already is replaced once the new one is complete. Raises UserError if the folder holds
    something else or cannot be written, ConversionError if the tensors are not the config's.
    """
    import orbax.checkpoint as ocp

    flat = get_weights(weights) if isinstance(weights, RMVPE) else torch_to_nnx(weights, config)
    target = Path(directory).absolute()
    if target.is_dir() and any(target.iterdir()) and not is_checkpoint(target):
        raise UserError(f"{directory} is a folder of something else: choose a new or empty folder for the checkpoint")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
            new = Path(beside) / target.name
            with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
                checkpointer.save(new, args=ocp.args.Composite(**items(flat, config, metadata)))
            if target.is_dir():
                shutil.rmtree(target)
            new.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {directory}: {error.strerror}; choose another folder") from error


def items(flat: Mapping[str, np.ndarray], config: ModelConfig, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The Orbax items of arrays under dotted NNX paths (`get_weights`), as arguments of `ocp.args.Composite`."""
    import orbax.checkpoint as ocp

    about = {"format": FORMAT, "config": to_dict(config), "metadata": dict(metadata)}
    return {WEIGHTS: ocp.args.StandardSave(dict(flat)), ABOUT: ocp.args.JsonSave(about)}


def load(directory: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint of an Orbax folder, or the latest one of a run folder of numbered step folders.

    Raises UserError if there is none, or if it is damaged or of another network.
    """
    import orbax.checkpoint as ocp

    folder = latest(directory)
    wanted = {WEIGHTS: ocp.args.StandardRestore(), ABOUT: ocp.args.JsonRestore()}
    try:
        read_through(folder / WEIGHTS)
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            found = checkpointer.restore(folder, args=ocp.args.Composite(**wanted))
        about, flat = found[ABOUT], {name: np.asarray(array) for name, array in found[WEIGHTS].items()}
    # Orbax and tensorstore have no error class of their own for a folder with missing or cut files
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} is a damaged checkpoint ({first_line(error)}): give another one") from error
    if about.get("format") != FORMAT:
        written = about.get("format")
        raise UserError(f"{folder} has format {written!r}, and this version reads {FORMAT!r}: install a newer rmvpe")
    try:
        config = from_dict(ModelConfig, about.get("config"))
        tensors = nnx_to_torch(flat, config)
    except (ConfigError, UserError) as error:
        raise UserError(f"{folder}: {error}") from error
    metadata = {str(key): str(value) for key, value in about.get("metadata", {}).items()}
    return Checkpoint(config, {name: tensor.astype(np.float32) for name, tensor in tensors.items()}, metadata)


def read_through(item: Path) -> None:
    """Read every record of an Orbax item once; raises ValueError if one cannot be read.

    Orbax reads all arrays at the same time, and when one fails the others go on to print a traceback each.
    """
    import tensorstore

    if not (item / "manifest.ocdbt").is_file():
        raise ValueError(f"{item} has no manifest")
    records = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{item}/"}).result()
    for key in records.list().result():
        records.read(key).result()


def latest(directory: str | os.PathLike[str]) -> Path:
    """`directory` itself if it is a checkpoint, else the one of its step folders with the highest number.

    Raises UserError if there is no checkpoint.
    """
    folder = Path(directory).absolute()
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{directory} {state}: give the folder of an Orbax checkpoint")
    if is_checkpoint(folder):
        return folder
    steps = {step_of(path): path for path in folder.iterdir() if is_checkpoint(path)}
    steps.pop(-1, None)
    if not steps:
        raise UserError(f"{directory} holds no checkpoint: give a folder that rmvpe_jax or `convert` has written")
    return steps[max(steps)]


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds our items."""
    return (folder / WEIGHTS).is_dir() and (folder / ABOUT).is_dir()


def step_of(folder: Path) -> int:
    """The step that a folder's name ends in ("1000", "step_1000"); -1 for others, such as unfinished ones."""
    match = re.fullmatch(r"(?:[A-Za-z]+[-_]?)?(\d+)", folder.name)
    return int(match[1]) if match else -1


def first_line(error: Exception) -> str:
    """The start of an error's message; tensorstore's go on for pages."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
