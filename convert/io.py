"""What the commands read and where they write: any checkpoint by its path, and outputs that may be replaced."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rmvpe.backends import INSTALL, check_numpy, python_too_old
from rmvpe.checkpoint.folders import is_orbax, weights_in
from rmvpe.checkpoint.store import Checkpoint, bundled_weights, load, sha256
from rmvpe.errors import UserError


def load_any(path: str) -> Checkpoint:
    """Load a file, an Orbax folder (with JAX), a training state or run, or bundled weights. Raises UserError."""
    return load(path)


def is_folder(path: str) -> bool:
    """Whether `path` names a folder; a bundled name wins over a folder of that name, as in `store.load`."""
    return Path(path).is_dir() and path not in bundled_weights()


def orbax_folder(path: str) -> Path | None:
    """The Orbax folder that holds the weights of `path`; None if they are in a file. Raises UserError for neither."""
    if not is_folder(path):
        return None
    found = weights_in(path)
    return found if is_orbax(found) else None


def with_source(checkpoint: Checkpoint, path: str) -> Checkpoint:
    """The checkpoint with the file it was converted from in its metadata, unless it already says where it came from."""
    if "source" in checkpoint.metadata or not Path(path).is_file():
        return checkpoint
    return replace(checkpoint, metadata={**checkpoint.metadata, "source": f"{Path(path).name} sha256 {sha256(path)}"})


def default_output(checkpoint: str, suffix: str) -> Path:
    """Beside the input: `ckpt` and `ckpt.safetensors` -> `ckpt.pt`; `rmvpe.pt` -> `rmvpe`. Bundled names: here."""
    path = Path(checkpoint)
    if path.is_dir():
        if path.name in ("", ".."):  # "." and "ckpt/.." have no name of their own
            path = path.resolve()
        return path.with_name(path.name + suffix)  # a folder's dots are part of its name: step.100
    if not suffix and not path.suffix:
        return path.with_name(path.name + "-orbax")  # not the input's own name
    return path.with_suffix(suffix)


def check_output(output: Path, checkpoint: str | Path, *, force: bool) -> None:
    """Raise UserError if `output` is the input itself, or exists and `force` is off."""
    if not output.exists():
        return
    if Path(checkpoint).exists() and output.samefile(checkpoint):
        raise UserError(f"{output} is the input itself: give another output with -o")
    if not force:
        raise UserError(f"{output} exists: give another output with -o, or --force to replace it")


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
