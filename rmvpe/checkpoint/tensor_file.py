"""Files of named tensors: safetensors, or torch's zip format with any of the usual wrappers.

The content decides what a file is, not its suffix. Opening a file lists its tensors; `StoredTensor.read` reads one at a
time, so that a checkpoint of 368 MB needs no more memory than its size.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rmvpe.checkpoint.safetensors_file import Header, read_header, read_tensor
from rmvpe.checkpoint.torch_state import check_state, is_state, published, state_metadata
from rmvpe.checkpoint.torch_zip import TorchFile, TorchTensor
from rmvpe.errors import UserError
from rmvpe.json_text import parse_json
from rmvpe.reading import check_regular, reading

FORMAT = "rmvpe-1"  # of our checkpoints, in their metadata

# An extra record in our torch files, which torch ignores: config and metadata as one JSON table
TORCH_METADATA_RECORD = "rmvpe.json"

WRAPPERS = ("model", "state_dict")
DDP_PREFIX = "module."  # what DistributedDataParallel puts before every name
GIVE_A_FILE = "give the path of a checkpoint file"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in an open file. `read` returns its values [`shape`]: bfloat16 as float32, all others as stored."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class TensorFile:
    """The content of an open file: its tensors, where they were found, and what was ignored for which reason."""

    path: Path
    container: str  # "safetensors" or "torch zip"
    wrapper: str  # where in the container, e.g. "flat" or "under 'model', prefix 'module.'"
    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]
    ignored: dict[str, str]  # name -> reason


@contextmanager
def open_tensors(path: str | os.PathLike[str]) -> Iterator[TensorFile]:
    """List the tensors of a safetensors or torch zip file; they can be read inside the `with` block.

    Raises UserError if the file does not exist, is damaged, is of another kind, or holds pickled objects.
    """
    path = Path(path)
    with ExitStack() as stack:
        with reading(path):
            file = _open(path, stack)
        yield file


def _open(path: Path, stack: ExitStack) -> TensorFile:
    head = _read_head(path)
    if head[:4] == b"PK\x03\x04":
        return _list_torch(path, stack.enter_context(TorchFile(path)))
    other = _known_other(head)
    if other is None and (path.suffix == ".safetensors" or head[8:9] == b"{"):
        return _list_safetensors(path, stack.enter_context(path.open("rb")))
    reason = other or "it is neither safetensors nor a torch zip file; give a .safetensors or .pt file instead"
    raise UserError(f"{path} is not a checkpoint: {reason}")


def _read_head(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path} is a folder: {GIVE_A_FILE}")
    if not path.exists():
        raise UserError(f"{path} does not exist: {GIVE_A_FILE}")
    with reading(path, GIVE_A_FILE):
        check_regular(path, GIVE_A_FILE)
        with path.open("rb") as source:
            return source.read(64)


def _known_other(head: bytes) -> str | None:
    """What a file that begins with `head` is, if it is one of the usual mistakes, and what to do; else None."""
    if not head:
        return "it is empty; copy or download it again"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the real file with `git lfs pull` or from the project's page"
    if head.lstrip()[:1] == b"<":
        return "it is a web page; the download failed, download the file itself"
    if head[:1] == b"\x80" and head[8:9] != b"{":
        return (
            "it is a bare pickle or torch's format from before 1.6, which can run any code when it is loaded, so it "
            "was refused; in the program that made it, save model.state_dict() with a current torch.save"
        )
    return None


def _list_torch(path: Path, file: TorchFile) -> TensorFile:
    content, ignored = file.content, {}
    if is_state(content):
        return _list_state(path, file)
    found = next((key for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)), None)
    if found is not None:
        ignored = {str(key): "not part of the weights" for key in content if key != found}
        content = content[found]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a table of tensors: give a saved state_dict")
    tensors = {}
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, TorchTensor):
            tensors[name] = _stored(file, value)
        else:
            ignored[str(name)] = f"not a tensor but a {type(value).__name__}"
    tensors, prefix = _strip_prefix(tensors)
    wrapper = ("flat" if found is None else f"under {found!r}") + prefix
    return TensorFile(path, "torch zip", wrapper, tensors, _torch_metadata(path, file), ignored)


def _list_state(path: Path, file: TorchFile) -> TensorFile:
    check_state(path, file.content)
    where, found = published(file.content)
    tensors = {name: _stored(file, tensor) for name, tensor in found.items()}
    ignored = {name: "a part of the training state, which prediction does not use" for name in file.content}
    for name in (where, "config", "format", "about", "step"):
        del ignored[name]
    metadata = state_metadata(file.content, FORMAT)
    return TensorFile(path, "training state, torch zip", f"under {where!r}", tensors, metadata, ignored)


def _stored(file: TorchFile, tensor: TorchTensor) -> StoredTensor:
    return StoredTensor(tensor.shape, tensor.dtype, partial(file.read, tensor))


def _torch_metadata(path: Path, file: TorchFile) -> dict[str, str]:
    record = file.record(TORCH_METADATA_RECORD)
    with reading(f"{path}: its record {TORCH_METADATA_RECORD}"):
        table = parse_json(record) if record else {}
        if not isinstance(table, dict):
            raise ValueError("no table")
        return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in table.items()}


def _strip_prefix(tensors: dict[str, StoredTensor]) -> tuple[dict[str, StoredTensor], str]:
    """The tensors without the prefix `module.` if all names have it, and how to describe that."""
    if tensors and all(name.startswith(DDP_PREFIX) for name in tensors):
        return {name.removeprefix(DDP_PREFIX): tensor for name, tensor in tensors.items()}, f", prefix {DDP_PREFIX!r}"
    return tensors, ""


def _list_safetensors(path: Path, file: BinaryIO) -> TensorFile:
    header = read_header(file, path)
    tensors = {
        name: StoredTensor(entry.shape, entry.dtype, partial(_read_safetensors, path, file, header, name))
        for name, entry in header.entries.items()
    }
    tensors, prefix = _strip_prefix(tensors)
    return TensorFile(path, "safetensors", "flat" + prefix, tensors, header.metadata, {})


def _read_safetensors(path: Path, file: BinaryIO, header: Header, name: str) -> np.ndarray:
    with reading(path):
        return read_tensor(file, header, name)
