"""Checkpoints for JAX: a model from a checkpoint, and checkpoints as Orbax folders.

A folder holds two Orbax items: `weights` (parameters and batch statistics, as numpy arrays under dotted NNX paths) and
`about` (JSON: format, config, metadata). A training state (`rmvpe_jax.state`) holds more items; `load` reads these two
only. A folder is complete or absent: it is written under a temporary name and then renamed.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.content_hash import CONTENT_HASH, check_content, hash_of_arrays, hash_of_pieces
from rmvpe.checkpoint.folders import is_only_orbax
from rmvpe.checkpoint.store import FORMAT, Checkpoint
from rmvpe.config import ModelConfig
from rmvpe.config_check import ConfigError, from_dict, to_dict
from rmvpe.errors import UserError
from rmvpe.files import output_folder
from rmvpe.json_text import MAX_BYTES, parse_json
from rmvpe.memory import give_back
from rmvpe.parallel import Beside
from rmvpe.reading import first_line, reading
from rmvpe_jax.arrays_on_disk import (
    DESCRIPTION,
    Item,
    ItemInMemory,
    check_claim,
    claimed_bytes,
    open_item,
    open_records,
)
from rmvpe_jax.model import RMVPE
from rmvpe_jax.params import ConversionError, check_nnx, converters, nnx_shape, nnx_to_torch, table, to_torch

WEIGHTS, ABOUT = "weights", "about"  # names of the items
MARGIN, SPARE_BYTES = 1.05, 1 << 18  # an upper bound for what Orbax writes beside the arrays

DATA_FILE_BYTES = 32 << 20  # several files are written, and waited for, at the same time; with one, one thread does it
JSON_FILE = "metadata"  # that Orbax writes a JSON item into
GIVE_ANOTHER = "give another one"

Arrays = dict[str, np.ndarray]  # under dotted NNX paths


def load_model(checkpoint: Checkpoint, conv_dtype: DTypeLike = jnp.float32, axis_name: str | None = None) -> RMVPE:
    """The checkpoint's network in evaluation mode; for `conv_dtype` and `axis_name` see `RMVPE`.

    Raises ConversionError if the tensors do not fit the config.
    """
    model = RMVPE(checkpoint.config, seed=None, conv_dtype=conv_dtype, axis_name=axis_name)
    load_tensors(model, checkpoint)
    model.eval()
    return model


def load_tensors(model: RMVPE, checkpoint: Checkpoint) -> None:
    """Put the checkpoint's weights into the model. Raises ConversionError if they do not fit its config."""
    convert = converters(checkpoint.tensors, model.config)
    for path, variable in nnx.iter_graph(model):  # one after the other: what it replaces is freed
        if isinstance(variable, (nnx.Param, nnx.BatchStat)):
            variable.set_value(jax.device_put(convert[dotted(path)]()))
    give_back()


def get_weights(model: RMVPE) -> Arrays:
    """The model's parameters and batch statistics."""
    return flatten([nnx.state(model, (nnx.Param, nnx.BatchStat))])


def flatten(states: Iterable[nnx.State]) -> Arrays:
    """The arrays of several NNX states, such as parameters and batch statistics, in one dict."""
    leaves = (leaf for state in states for leaf in nnx.to_flat_state(state))
    return {dotted(path): np.asarray(variable[...]) for path, variable in leaves}


def dotted(path: tuple[Any, ...]) -> str:
    """An NNX path as one name: ("fc", 1, "kernel") -> "fc.1.kernel"."""
    return ".".join(map(str, path))


def to_checkpoint(model: RMVPE, metadata: Mapping[str, str]) -> Checkpoint:
    """The model's weights under the official names, with its config."""
    return Checkpoint(model.config, nnx_to_torch(get_weights(model), model.config), dict(metadata))


def save(
    directory: str | os.PathLike[str],
    weights: RMVPE | Mapping[str, np.ndarray],
    config: ModelConfig,
    metadata: Mapping[str, str] | Callable[[], Mapping[str, str]],
) -> None:
    """Write an Orbax folder of a model, or of tensors under the official names (`Checkpoint.tensors`).

    Tensors are asked for once each. metadata: a function is called beside that, in a thread. An older checkpoint in
    `directory` is replaced once the new one is complete. Raises UserError if the folder holds something else or cannot
    be written, ConversionError if the tensors do not fit the config.
    """
    if isinstance(weights, RMVPE):
        flat = get_weights(weights)
        convert: Mapping[str, Callable[[], np.ndarray]] = {name: partial(flat.pop, name) for name in [*flat]}
    else:
        convert = converters(weights, config)
    target = Path(directory).absolute()
    content = _converted_items(convert, config, metadata)
    if os.path.lexists(target) and not (target.is_dir() and (not any(target.iterdir()) or is_only_orbax(target))):
        raise UserError(f"{directory} holds something else than a checkpoint: choose a new or empty folder")
    replace(target, content, f"cannot write {directory}", "choose another folder")


def _converted_items(
    convert: Mapping[str, Callable[[], np.ndarray]],
    config: ModelConfig,
    metadata: Mapping[str, str] | Callable[[], Mapping[str, str]],
) -> dict[str, Any]:
    """The items of float32 arrays that `convert` makes, one after the other, while those that are there are hashed."""
    kinds = {row.nnx_path: (np.dtype(np.float32), nnx_shape(row)) for row in table(config)}

    def describe(arrays: Iterator[np.ndarray]) -> dict[str, Any]:
        about = _about(config, metadata() if callable(metadata) else metadata)
        return about | {CONTENT_HASH: hash_of_pieces(about, kinds, arrays)}

    weights = {}
    with Beside(describe, ahead=0) as about:
        for name in sorted(convert):
            weights[name] = convert[name]().astype(np.float32, copy=False)
            about.add(weights[name])
    return _items(weights, about.result())


def replace(target: Path, content: Mapping[str, Any], message: str, fix: str) -> None:
    """Write an Orbax folder beside `target`, then rename it to `target`. Raises UserError "`message`: reason; `fix`".

    At any moment `target` is the complete old folder, the complete new one, or absent.
    """
    import orbax.checkpoint as ocp

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with output_folder(target) as folder, checkpointer(content) as writer:
            reserve(folder / "space", content)
            writer.save(folder, args=ocp.args.Composite(**content), force=True)  # Orbax makes the folder itself
    except UserError:
        raise
    except (OSError, ValueError) as error:  # tensorstore has no error class of its own
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{message}: {reason}; {fix}") from error


def reserve(path: Path, content: Mapping[str, Any]) -> None:
    """Raise OSError if the disk has no room for `content`.

    Orbax would fail too, but its threads would then be writing hundreds of arrays, and each would print a traceback.
    """
    arrays = (array for item in content.values() for array in jax.tree.leaves(item.item))
    size = sum(array.nbytes if isinstance(array, np.ndarray) else 0 for array in arrays)
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):  # on Linux; elsewhere the write itself fails
            os.posix_fallocate(file.fileno(), 0, int(size * MARGIN) + SPARE_BYTES)
    path.unlink()


def checkpointer(content: Mapping[str, Any] | None = None) -> Any:
    """Orbax's reader, or its writer of the items `content`, for this process alone.

    Arrays are written as they are: compressing trained weights saves 8 % of the disk and takes most of the time.
    Of several processes that train together, one writes and all read, at any time and without waiting for the others.
    """
    import orbax.checkpoint as ocp

    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    handlers: dict[str, Any] = {}
    for name, item in (content or {}).items():
        if isinstance(item, ocp.args.JsonSave):
            handlers[name] = ocp.JsonCheckpointHandler(multiprocessing_options=alone)
        else:
            handlers[name] = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=alone)
    options = ocp.CompositeOptions(multiprocessing_options=alone)
    handler = ocp.CompositeCheckpointHandler(composite_options=options, **handlers)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def items(weights: Mapping[str, np.ndarray], config: ModelConfig, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The Orbax items of a model's weights (`get_weights`), as arguments of `ocp.args.Composite`."""
    about = _about(config, metadata)
    return _items(weights, about | {CONTENT_HASH: hash_of_arrays(about, weights)})


def _about(config: ModelConfig, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {"format": FORMAT, "config": to_dict(config), "metadata": dict(metadata)}


def _items(weights: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    return {WEIGHTS: save_arrays(weights), ABOUT: ocp.args.JsonSave(dict(about))}


class AsGiven(np.ndarray):
    """An array that nobody changes while it is saved: Orbax copies arrays first, for savers that do not wait."""

    def __deepcopy__(self, memo: Any) -> "AsGiven":
        return self


def save_arrays(arrays: Mapping[str, np.ndarray]) -> Any:
    """The argument of `ocp.args.Composite` that saves these arrays, under these names."""
    import orbax.checkpoint as ocp

    tree = {name: array.view(AsGiven) for name, array in arrays.items()}
    return ocp.args.PyTreeSave(tree, ocdbt_target_data_file_size=DATA_FILE_BYTES)


def load(directory: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint of an Orbax folder, or of the step folder with the highest number in a run folder.

    Raises UserError if there is none, or if it is damaged or of another network.
    """
    folder = latest(directory)
    about = read_items(folder, [], [ABOUT])[1][ABOUT]
    if about.get("format") != FORMAT:
        written = str(about.get("format"))[:40]
        raise UserError(f"{folder} has format {written!r}, and this version reads {FORMAT!r}: install a newer rmvpe")
    with reading(folder, GIVE_ANOTHER):
        try:
            config = from_dict(ModelConfig, about.get("config"))
            tensors = _read_tensors(folder, about, config)
        except ConfigError as error:
            raise UserError(f"{folder}: {error}") from error
        except ConversionError as error:
            raise UserError(f"{folder}: {error}") from error
        metadata = {str(key): str(value) for key, value in about.get("metadata", {}).items()}
        return Checkpoint(config, tensors, metadata)


def _read_tensors(folder: Path, about: Mapping[str, Any], config: ModelConfig) -> Arrays:
    """The weights of a folder as float32 under their official names; each array is freed once it is converted.

    Raises ConversionError if they do not fit `config`, UserError if they are not those that `about` has a hash of.
    """
    limit = most_bytes(config)
    plain_item = open_item(folder.absolute() / WEIGHTS, limit)
    item: Item = plain_item or ItemInMemory(read_items(folder, [WEIGHTS], [], limit)[0][WEIGHTS])
    rows = {row.nnx_path: row for row in table(config)}
    check_nnx(item.kinds, config)
    plain = {key: value for key, value in about.items() if key != CONTENT_HASH}
    names = sorted(rows)
    tensors = {}
    with Beside(partial(hash_of_pieces, plain, item.kinds)) as content:
        for name, array in zip(names, item.take(names), strict=True):
            content.add(array)
            tensors[rows[name].torch_name] = to_torch(rows[name], array).astype(np.float32, copy=False)
    if CONTENT_HASH in about:
        check_content(folder, about[CONTENT_HASH], content.result())
    return {name: tensors[name] for name in expected_tensors(config)}


def most_bytes(config: ModelConfig) -> int:
    """The most bytes that an item of a network's weights can have: all of them in float64, and a little more."""
    return 8 * sum(math.prod(shape) for shape in expected_tensors(config).values()) + (1 << 20)


def check_hash(folder: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise UserError if a JSON item holds a hash of itself and `arrays` that is another one now."""
    if CONTENT_HASH in about:
        plain = {key: value for key, value in about.items() if key != CONTENT_HASH}
        check_content(folder, about[CONTENT_HASH], hash_of_arrays(plain, arrays))


def read_items(
    folder: Path, arrays: Iterable[str], texts: Iterable[str], limit: int = 0
) -> tuple[dict[str, Arrays], dict[str, dict[str, Any]]]:
    """The items named `arrays`, each of at most `limit` bytes, and those named `texts` (JSON) of an Orbax folder.

    The arrays cannot be written to. Raises UserError if it is damaged.
    """
    import orbax.checkpoint as ocp

    folder = folder.absolute()  # Orbax refuses relative paths
    wanted: dict[str, Any] = {}
    trees: dict[str, Arrays] = {}
    with reading(folder, GIVE_ANOTHER):
        try:
            tables = {name: read_table(folder / name / JSON_FILE) for name in texts}
            for name in arrays:
                if item := open_item(folder / name, limit):
                    trees[name] = dict(zip(item.kinds, item.take([*item.kinds]), strict=True))
                else:
                    read_through(folder / name, limit)
                    wanted[name] = ocp.args.StandardRestore()
            if not wanted:
                return trees, tables
            with checkpointer() as reader:
                found = reader.restore(folder, args=ocp.args.Composite(**wanted))
        except FileNotFoundError as error:
            raise ValueError(f"a file is missing: {first_line(error)}") from error
        trees |= {name: {key: np.asarray(array) for key, array in found[name].items()} for name in wanted}
        return trees, tables


def read_table(path: Path) -> dict[str, Any]:
    """The table in the file of a JSON item. Raises ValueError, NotJson or FileNotFoundError if there is none."""
    table = parse_json(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
    if not isinstance(table, dict):
        raise ValueError(f"{path} holds no table")
    return table


def read_through(item: Path, limit: int) -> None:
    """Read every record of an Orbax item once. Raises ValueError if one cannot be read.

    Orbax reads all arrays at the same time; if several are damaged, each prints a traceback. It also reserves the
    memory that an array's description asks for: ValueError too if that is more than `limit` bytes in all.
    """
    if not (item / "manifest.ocdbt").is_file():
        raise ValueError(f"{item} has no manifest")
    records = open_records(item)
    claimed = 0
    for key in records.list().result():
        value = records.read(key).result().value
        if key.endswith(DESCRIPTION.encode()):
            claimed += claimed_bytes(parse_json(bytes(value)))
    check_claim(item, claimed, limit)


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
