"""Checkpoints: a set of weights, the config that rebuilds its network, and metadata about its origin.

The canonical file is safetensors with the tensor names of the published checkpoints. Files in circulation (rmvpe.pt of
RVC and yxlllc) are read too, without torch. Loading is strict in both directions: a tensor is used, or ignored for a
reason, or it is a problem; one error lists all problems.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmvpe.checkpoint.architecture import compare_shapes, expected_tensors, infer_config, summarize
from rmvpe.checkpoint.content_hash import CONTENT_HASH
from rmvpe.checkpoint.folders import is_orbax, load_orbax, weights_in
from rmvpe.checkpoint.hub import PREFIX as HUB_PREFIX
from rmvpe.checkpoint.hub import fetched_from_hub
from rmvpe.checkpoint.published import PUBLISHED, fetched
from rmvpe.checkpoint.safetensors_file import write_safetensors
from rmvpe.checkpoint.tensor_file import FORMAT, StoredTensor, TensorFile, open_tensors
from rmvpe.config import PRESETS, ModelConfig
from rmvpe.config_check import ConfigError, from_json, to_json
from rmvpe.errors import UserError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

WEIGHTS = resources.files("rmvpe") / "weights"  # the bundled weights
DTYPES = ("float32", "float16")  # that are written
FLOAT_DTYPES = ("float64", "float32", "float16", "bfloat16")  # that are read, and converted to float32

NOT_METADATA = ("config", "format", CONTENT_HASH)  # what a file holds beside its tensors and belongs to that file


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one network: `tensors` are float32 by official torch name, in the order of `expected_tensors`."""

    config: ModelConfig
    tensors: dict[str, np.ndarray]
    metadata: dict[str, str] = field(default_factory=dict)  # git_commit, step, seed, licence, threshold, source, ...

    @property
    def threshold(self) -> float | None:
        """The recommended voicing threshold, 0 to 1; None if the metadata has none. Raises UserError for a bad one."""
        text = self.metadata.get("threshold")
        if text is None:
            return None
        (value,) = _numbers(text, 1)
        if not 0.0 <= value <= 1.0:
            raise UserError(
                f"the checkpoint recommends the voicing threshold {text!r}: it must be a number from 0 to 1"
            )
        return value

    @property
    def calibration(self) -> tuple[float, float] | None:
        """Slope and offset of `rmvpe.calibration`, or None if the metadata has none. Raises UserError for bad ones."""
        text = self.metadata.get("calibration")
        if text is None:
            return None
        slope, offset = _numbers(text, 2)
        if not (0.0 < slope < math.inf and abs(offset) < math.inf):
            raise UserError(f"the checkpoint's calibration {text!r} is not a slope above 0 and an offset: SLOPE,OFFSET")
        return slope, offset


def _numbers(text: str, count: int) -> list[float]:
    """The numbers of a comma-separated text; all NaN if it has another count or something else."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    return values if len(values) == count else [math.nan] * count


@dataclass(frozen=True)
class Selection:
    """The tensors of a file, sorted: `used` builds the network; with `problems` the file cannot be loaded."""

    config: ModelConfig
    declared: bool  # whether the file contains its config; otherwise it was inferred from the shapes
    used: dict[str, StoredTensor]
    ignored: dict[str, str]  # name -> reason
    problems: list[str]


def load(name_or_path: str | os.PathLike[str], *, folder: "Traversable" = WEIGHTS) -> Checkpoint:
    """Load weights by name ("small", "rvc", "hf:OWNER/REPO"), or a checkpoint by path, as float32.

    "small" is bundled; `rmvpe fetch` brings "rvc" and "yxlllc", the published weights; `hf:OWNER/REPO[/FILE][@REV]` is
    a safetensors file on the Hugging Face hub, which needs the package huggingface_hub. A checkpoint is
    a .safetensors or torch .pt file, a training state, an Orbax folder (which needs JAX), or the folder of a training
    run: its best.safetensors, else its newest state. Of a run that averages, a state gives the averaged weights.
    `folder` holds the bundled weights. A name has priority over a file of that name: give `./small` for the
    file. Raises UserError if there is no such weight or file, if it is not fetched yet, damaged, contains code, or has
    another network.
    """
    with opened(name_or_path, folder=folder) as checkpoint:
        return in_memory(checkpoint)


@contextmanager
def opened(name_or_path: str | os.PathLike[str], *, folder: "Traversable" = WEIGHTS) -> Iterator[Checkpoint]:
    """As `load`, but a tensor is read, and found to be damaged, when it is asked for, inside the `with` block.

    Nothing keeps it: for callers who need each tensor once and hold it in another form. Of an Orbax folder all are in
    memory.
    """
    with locate(name_or_path, folder=folder) as path:
        if is_orbax(path):
            yield load_orbax(path)
        else:
            with opened_file(path) as checkpoint:
                yield checkpoint


def in_memory(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with all its tensors read."""
    if isinstance(checkpoint.tensors, dict):
        return checkpoint
    return replace(checkpoint, tensors=dict(checkpoint.tensors))


@contextmanager
def locate(name_or_path: str | os.PathLike[str], *, folder: "Traversable" = WEIGHTS) -> Iterator[Path]:
    """The file of weights with a name (`is_name`), its hash verified, or the given file or Orbax folder.

    `folder` holds the bundled weights. Of the folder of a run it is what `rmvpe.checkpoint.folders.weights_in`
    finds. Raises UserError if there is neither, or if the hash is another one.
    """
    bundled = bundled_weights(folder)
    if isinstance(name_or_path, str) and name_or_path in bundled:
        with resources.as_file(folder / bundled[name_or_path]) as path:
            check_hash(path)
            yield path
        return
    if isinstance(name_or_path, str) and name_or_path in PUBLISHED:
        yield fetched(name_or_path)
        return
    if isinstance(name_or_path, str) and name_or_path.startswith(HUB_PREFIX):
        yield fetched_from_hub(name_or_path)
        return
    if not os.path.exists(name_or_path):
        raise UserError(_no_such_weights(os.fspath(name_or_path), sorted(bundled)))
    path = Path(name_or_path)
    yield weights_in(path) if path.is_dir() else path


def load_file(path: str | os.PathLike[str]) -> Checkpoint:
    """Load a .safetensors or torch .pt file, or a torch state, as float32. Raises UserError as `load` does."""
    with opened_file(path) as checkpoint:
        return in_memory(checkpoint)


@contextmanager
def opened_file(path: str | os.PathLike[str]) -> Iterator[Checkpoint]:
    """As `load_file`, but a tensor is read when it is asked for; see `opened`."""
    with open_tensors(path) as file:
        selection = select(file)
        if selection.problems:
            raise UserError(
                f"{path} does not fit the network {selection.config.name!r}: {summarize(selection.problems)}; "
                "`rmvpe convert inspect` lists its tensors"
            )
        metadata = {key: value for key, value in file.metadata.items() if key not in NOT_METADATA}
        tensors: Any = StoredTensors(path, selection.used)  # reads as a dict does
        yield Checkpoint(selection.config, tensors, metadata)


class StoredTensors(Mapping[str, np.ndarray]):
    """The tensors of an open file as float32, each read whenever it is asked for.

    Raises UserError for one that is damaged, NaN or infinity.
    """

    def __init__(self, path: str | os.PathLike[str], stored: Mapping[str, StoredTensor]):
        self._path, self._stored = path, stored

    def __getitem__(self, name: str) -> np.ndarray:
        return _read_float32(self._path, name, self._stored[name])

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def save(path: str | os.PathLike[str], checkpoint: Checkpoint, dtype: str = "float32") -> None:
    """Write the canonical safetensors file in "float32" or "float16"; on an error the old file, if any, stays.

    The same checkpoint always gives the same bytes. Raises UserError if the tensors do not fit the config, hold NaN
    or infinity, overflow float16, or the file cannot be written.
    """
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    check_writable(checkpoint, dtype)
    metadata = {**checkpoint.metadata, "config": to_json(checkpoint.config), "format": FORMAT}
    write_safetensors(
        path, {name: checkpoint.tensors[name] for name in expected_tensors(checkpoint.config)}, metadata, dtype
    )


def check_writable(checkpoint: Checkpoint, dtype: str) -> None:
    """Raise UserError, with all problems, unless the tensors fit the config, are finite and fit `dtype`."""
    problems = compare_shapes(checkpoint.tensors, expected_tensors(checkpoint.config))
    limit = float(np.finfo(dtype).max)
    for name, tensor in checkpoint.tensors.items():
        if not np.isfinite(tensor).all():
            problems.append(f"{name} holds NaN or infinity")
        elif dtype != tensor.dtype and tensor.size and float(np.abs(tensor).max()) > limit:
            problems.append(f"{name} exceeds the largest {dtype}, {limit:g}: write float32 instead")
    if problems:
        raise UserError(f"the checkpoint cannot be written: {summarize(problems)}")


def select(file: TensorFile) -> Selection:
    """Sort the tensors of an open file. Raises UserError if they are no network of the family."""
    try:
        config = _declared_config(file)
        declared = config is not None
        config = config or infer_config(file.tensors)
    except (ConfigError, UserError) as error:
        raise UserError(f"{file.path}: {error}") from error
    ignored, used = dict(file.ignored), {}
    for name, stored in file.tensors.items():
        reason = _why_ignored(name, config)
        if reason is None:
            used[name] = stored
        else:
            ignored[name] = reason
    expected = expected_tensors(config)
    problems = compare_shapes(used, expected)
    in_order = {name: used[name] for name in expected if name in used}
    problems += [
        f"{name} is {stored.dtype}, not a float"
        for name, stored in in_order.items()
        if stored.dtype not in FLOAT_DTYPES
    ]
    return Selection(config, declared, in_order, ignored, problems)


def is_name(text: str | os.PathLike[str], folder: "Traversable" = WEIGHTS) -> bool:
    """Whether `text` names weights, bundled in `folder`, published or on the hub, and is no path."""
    named = isinstance(text, str) and (text in bundled_weights(folder) or text in PUBLISHED)
    return named or (isinstance(text, str) and text.startswith(HUB_PREFIX))


def bundled_weights(folder: "Traversable" = WEIGHTS) -> dict[str, str]:
    """Name -> file name of the weights in `folder`, e.g. {"small": "small-0123abcd.safetensors"}."""
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    matches = [re.fullmatch(r"(.+)-[0-9a-f]{8}\.safetensors", name) for name in names]
    return {match[1]: match[0] for match in matches if match}


def sha256(path: str | os.PathLike[str]) -> str:
    """The file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        while piece := source.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def check_hash(path: Path) -> None:
    """Raise UserError unless the eight digits at the end of the file's name are the first of its SHA-256."""
    expected, actual = path.stem[-8:], sha256(path)[:8]
    if actual != expected:
        raise UserError(
            f"{path} has changed since it was published: its sha256 should begin with {expected} but begins with "
            f"{actual}; install rmvpe again"
        )


def _no_such_weights(name: str, bundled: list[str]) -> str:
    if os.sep in name or "/" in name or Path(name).suffix:
        return (
            f"{name} does not exist: give a .safetensors or .pt file, or a name ({', '.join((*bundled, *PUBLISHED))})"
        )
    known = (
        f"the bundled weights are: {_or_none(bundled)}; `rmvpe fetch` gets {' and '.join(PUBLISHED)}; or give the path "
        "of a .safetensors or .pt file"
    )
    if name.lower() in PRESETS:
        return f"{name!r} is a network (presets: {', '.join(PRESETS)}) without bundled weights; {known}"
    return f"there are no weights {name!r}; {known}"


def _or_none(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _declared_config(file: TensorFile) -> ModelConfig | None:
    text = file.metadata.get("config")
    if text is None:
        return None
    written = file.metadata.get("format")
    if written != FORMAT:
        raise UserError(f"its format is {written!r}, but this version of rmvpe reads {FORMAT!r}: install a newer rmvpe")
    return from_json(ModelConfig, text)


def _why_ignored(name: str, config: ModelConfig) -> str | None:
    if name.endswith(".num_batches_tracked"):
        return "a counter of training batches, which prediction does not use"
    if name.startswith("unet.tf.") and not config.timbre_filter:
        return "the TimbreFilter, which this network does not use"
    return None


def _read_float32(path: str | os.PathLike[str], name: str, stored: StoredTensor) -> np.ndarray:
    tensor = np.ascontiguousarray(stored.read(), dtype=np.float32)
    if not np.isfinite(tensor).all():
        raise UserError(
            f"{path}: {name} holds NaN or infinity, because its training diverged: give an earlier checkpoint"
        )
    return tensor
