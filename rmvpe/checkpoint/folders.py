"""Folders that are given where weights are wanted: of a training run, of a training state, of an Orbax checkpoint."""

import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rmvpe.backends import INSTALL, check_numpy, python_too_old
from rmvpe.errors import UserError

BEST, LAST = "best.safetensors", "last.safetensors"  # that training writes
STATE = re.compile(r"state-(\d{8,18})(\.pt)?")  # a file of PyTorch, a folder of JAX
ITEMS = ("weights", "about")  # the parts of an Orbax checkpoint, each a folder
# What Orbax writes beside and inside the items; the names of 32 digits are its data
ORBAX_NAME = re.compile(
    r"_[A-Z_]+|_sharding|commit_success\.txt|metadata|array_metadatas|manifest\.ocdbt|d|(ocdbt\.)?process_\d+|[0-9a-f]{32}"
)
STEP = re.compile(r"(?:[A-Za-z]+[-_]?)?(\d{1,18})")  # the folder of one step: "1000", "step_1000"


def weights_in(folder: str | os.PathLike[str]) -> Path:
    """The file or Orbax folder that holds the weights of a folder.

    Of a training run: best.safetensors, else the newest state, else last.safetensors. Of an Orbax checkpoint: the
    folder itself, or that of its highest step. Raises UserError if there is none.
    """
    folder = Path(folder)
    if is_orbax(folder):
        return folder
    if (folder / BEST).is_file():
        return folder / BEST
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; give the path of a checkpoint") from error
    states = _by_step(inside, STATE, _is_state)
    if states:
        return states[max(states)]
    if (folder / LAST).is_file():
        return folder / LAST
    steps = _by_step(inside, STEP, is_orbax)
    if steps:
        return steps[max(steps)]
    raise UserError(
        f"{folder} is a folder without a checkpoint: give a .safetensors or .pt file, the folder of a training run, "
        "or an Orbax checkpoint"
    )


def _by_step(paths: Iterable[Path], pattern: re.Pattern[str], wanted: Callable[[Path], bool]) -> dict[int, Path]:
    matches = ((pattern.fullmatch(path.name), path) for path in paths)
    return {int(match[1]): path for match, path in matches if match and wanted(path)}


def is_orbax(folder: Path) -> bool:
    """Whether a folder is an Orbax checkpoint of ours."""
    return all((folder / item).is_dir() for item in ITEMS)


def is_only_orbax(folder: Path, items: Iterable[str] = ITEMS) -> bool:
    """Whether a folder is an Orbax checkpoint of ours, with no other items than `items` and no foreign file in it."""
    names = {*items}
    return is_orbax(folder) and all(
        (path.parent == folder and path.name in names) or ORBAX_NAME.fullmatch(path.name) for path in walk(folder)
    )


def walk(folder: Path) -> Iterator[Path]:
    """Everything in a folder and in the folders in it; links are not followed. Raises OSError."""
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from walk(path)


def load_orbax(folder: Path) -> Any:
    """The `Checkpoint` (`rmvpe.checkpoint.store`) of an Orbax folder. Raises UserError if JAX is not installed."""
    purpose = f"reading the Orbax folder {folder}"
    if why := python_too_old("jax"):
        raise UserError(f"{purpose} is not possible: {why}")
    check_numpy("jax")
    try:
        module: Any = importlib.import_module("rmvpe_jax.checkpoint")
        importlib.import_module("orbax.checkpoint")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rmvpe"):
            raise
        raise UserError(
            f"{purpose} needs {error.name}, which is not installed: run pip install {INSTALL['jax']}, or make a file "
            "of it with rmvpe convert jax2torch where JAX is"
        ) from error
    return module.load(folder)


def _is_state(path: Path) -> bool:
    return path.is_file() if path.suffix else is_orbax(path)
