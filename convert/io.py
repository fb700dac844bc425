"""What the commands read and where they write: any checkpoint by its path, and outputs that may be replaced."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rmvpe.backends import INSTALL, check_numpy, python_too_old
from rmvpe.checkpoint.folders import BEST, LAST, is_orbax, weights_in
from rmvpe.checkpoint.hub import PREFIX as HUB_PREFIX
from rmvpe.checkpoint.hub import parse_address
from rmvpe.checkpoint.store import Checkpoint, bundled_weights, is_name, load, locate, sha256
from rmvpe.errors import UserError
from rmvpe.ownership import Output, check_outputs
from rmvpe.training.folder import CONFIG, check_unused


def load_any(path: str) -> Checkpoint:
    """Load a file, an Orbax folder (with JAX), a training state or run, or bundled weights. Raises UserError."""
    return load(path)


def is_folder(path: str) -> bool:
    """Whether `path` names a folder; a name of weights wins over a folder of that name, as in `store.load`."""
    return Path(path).is_dir() and not is_name(path)


def orbax_folder(path: str) -> Path | None:
    """The Orbax folder that holds the weights of `path`; None if they are in a file. Raises UserError for neither."""
    if not is_folder(path):
        return None
    found = weights_in(path)
    return found if is_orbax(found) else None


def with_source(checkpoint: Checkpoint, path: str) -> Checkpoint:
    """The checkpoint with the file it was converted from in its metadata, unless it already says where it came from."""
    named = is_name(path)
    if "source" in checkpoint.metadata or path in bundled_weights() or not (named or Path(path).is_file()):
        return checkpoint
    with locate(path) as file:
        source = f"{path if named else file.name} sha256 {sha256(file)}"
    return replace(checkpoint, metadata={**checkpoint.metadata, "source": source})


def default_output(checkpoint: str, suffix: str) -> Path:
    """Beside the input: `ckpt` and `ckpt.safetensors` -> `ckpt.pt`; `rmvpe.pt` -> `rmvpe`. Weights with a name: here.

    Those of the hub get the name of their repository.
    """
    if checkpoint.startswith(HUB_PREFIX):
        path = Path(parse_address(checkpoint).repository.split("/")[1])
        return path.with_name(path.name + (suffix or "-orbax"))
    path = Path(checkpoint)
    if is_folder(checkpoint):
        if path.name in ("", ".."):  # "." and "ckpt/.." have no name of their own
            path = path.resolve()
        return path.with_name(path.name + suffix)  # a folder's dots are part of its name: step.100
    if not suffix and not path.suffix:
        return path.with_name(path.name + "-orbax")  # not the input's own name
    return path.with_suffix(suffix)


def check_file(output: Path, kind: str, checkpoint: str, *, force: bool) -> None:
    """Raise UserError unless the file `output` may be written; see `rmvpe.ownership.check_outputs`.

    The weights that training has put into the folder of a run are no results of a conversion.
    """
    inputs = [] if is_name(checkpoint) else [Path(checkpoint)]
    if is_folder(checkpoint):
        inputs.append(weights_in(checkpoint))
    check_outputs([Output(output, kind)], inputs, force)
    if not force and output.exists() and output.name in (BEST, LAST) and (output.parent / CONFIG).is_file():
        raise UserError(f"{output} belongs to a run: choose another output, or add --force to replace it")


def check_folder(
    output: Path,
    checkpoint: str,
    is_ours: Callable[[Path], bool],
    what: str,
    *,
    force: bool,
    is_result: Callable[[Path], bool] | None = None,
) -> None:
    """Raise UserError unless the folder `output` may be written: it is missing, empty, or one that may be replaced.

    Even with `force` that is only `what`, a folder for which `is_ours` holds, which is not the input, does not contain
    it, and is not inside it. is_result: whether it may be replaced without `force`; None: always.
    """
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise UserError(f"{output} is no folder: choose another output")
    if not is_name(checkpoint) and Path(checkpoint).exists():
        source, target = Path(checkpoint).resolve(), output.resolve()
        if source.samefile(target):
            raise UserError(f"{output} is the input itself: choose another output")
        if any(parent.samefile(target) for parent in source.parents):
            raise UserError(f"{output} contains the input {checkpoint}: choose another output")
        if any(parent.samefile(source) for parent in target.parents):
            raise UserError(f"{output} is inside the input {checkpoint}: choose another output")
    try:
        known = not any(output.iterdir()) or is_ours(output)
    except OSError as error:
        raise UserError(f"cannot read {output}: {error.strerror}; choose another output") from error
    if not known:
        raise UserError(f"{output} holds something else than {what}: choose a new or empty folder")
    check_unused(output)
    if not force and is_result is not None and any(output.iterdir()) and not is_result(output):
        raise UserError(
            f"{output} is not known as a result of this command: choose another output, or add --force to replace it"
        )


@contextmanager
def needs(framework: str, purpose: str) -> Iterator[None]:
    """Around an import: a framework that is not installed becomes a UserError that says how to install it.

    So does one that needs a newer Python or another numpy.
    """
    if why := python_too_old(framework):
        raise UserError(f"{purpose} is not possible: {why}")
    check_numpy(framework)
    try:
        yield
    except ModuleNotFoundError as error:
        ours = (error.name or "").split(".")[0]
        if ours.startswith(("rmvpe", "convert")):
            raise
        raise UserError(
            f"{purpose} needs {error.name}, which is not installed: run {install_command(framework)}"
        ) from error


def install_command(framework: str) -> str:
    """The command that installs a framework."""
    return f"pip install {INSTALL[framework]}"
