"""Files of named tensors: safetensors, or torch's zip format with any of the usual wrappers.

The content decides what a file is, not its suffix. Opening a file lists its tensors; `StoredTensor.read` reads one at a
time, so that a checkpoint of 368 MB needs no more memory than its size.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.checkpoint.torch_zip import TorchFile, TorchTensor, widen_bfloat16
from rmvpe.errors import UserError
from rmvpe.files import atomic_path

# An extra record in our torch files, which torch ignores: config and metadata as one JSON table
TORCH_METADATA_RECORD = "rmvpe.json"

WRAPPERS = ("model", "state_dict")
DDP_PREFIX = "module."  # what DistributedDataParallel puts before every name

SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


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
    head = _read_head(path)
    if head[:4] == b"PK\x03\x04":
        with TorchFile(path) as file:
            yield _list_torch(path, file)
        return
    other = _known_other(head)
    if other is None and (path.suffix == ".safetensors" or head[8:9] == b"{"):
        with _open_safetensors(path) as file:
            yield file
        return
    reason = other or "it is neither safetensors nor a torch zip file; give a .safetensors or .pt file instead"
    raise UserError(f"{path} is not a checkpoint: {reason}")


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], dtype: str
) -> None:
    """Write `tensors` [any shape] as `dtype` ("float32" or "float16") with `metadata`; on an error the old file stays.

    The safetensors package orders metadata differently in every process. Bundled weights are named by their hash, so
    the same checkpoint must give the same bytes: the format is written here. Source:
    https://github.com/huggingface/safetensors#format. Raises UserError if the file cannot be written.
    """
    kind, item_bytes = {"float32": ("F32", 4), "float16": ("F16", 2)}[dtype]
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.size * item_bytes
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts on a multiple of 8 bytes
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            out.write(np.ascontiguousarray(tensor, dtype="<f" + str(item_bytes)).tobytes())


def _read_head(path: Path) -> bytes:
    if (best := path / "best.safetensors").is_file():
        raise UserError(f"{path} is the folder of a training run: give {best}")
    if path.is_dir():
        raise UserError(f"{path} is a folder: convert an Orbax checkpoint with `rmvpe convert jax2torch {path}` first")
    try:
        with path.open("rb") as source:
            return source.read(64)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give the path of a checkpoint file") from error


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
    found = next((key for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)), None)
    if found is not None:
        ignored = {str(key): "not part of the weights" for key in content if key != found}
        content = content[found]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a table of tensors: give a saved state_dict")
    tensors = {}
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, TorchTensor):
            tensors[name] = StoredTensor(value.shape, value.dtype, partial(file.read, value))
        else:
            ignored[str(name)] = f"not a tensor but a {type(value).__name__}"
    tensors, prefix = _strip_prefix(tensors)
    wrapper = ("flat" if found is None else f"under {found!r}") + prefix
    return TensorFile(path, "torch zip", wrapper, tensors, _torch_metadata(path, file), ignored)


def _torch_metadata(path: Path, file: TorchFile) -> dict[str, str]:
    record = file.record(TORCH_METADATA_RECORD)
    try:
        table = json.loads(record) if record else {}
        return {str(key): str(value) for key, value in table.items()}
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: its record {TORCH_METADATA_RECORD} is not JSON ({error}): copy the file again"
        ) from error


def _strip_prefix(tensors: dict[str, StoredTensor]) -> tuple[dict[str, StoredTensor], str]:
    """The tensors without the prefix `module.` if all names have it, and how to describe that."""
    if tensors and all(name.startswith(DDP_PREFIX) for name in tensors):
        return {name.removeprefix(DDP_PREFIX): tensor for name, tensor in tensors.items()}, f", prefix {DDP_PREFIX!r}"
    return tensors, ""


@contextmanager
def _open_safetensors(path: Path) -> Iterator[TensorFile]:
    from safetensors import SafetensorError, safe_open

    try:
        source = safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or damaged ({error}): copy or download it again") from error
    with source as file:
        tensors = {}
        for name in file.keys():  # noqa: SIM118 (a safetensors handle is not a dict)
            view = file.get_slice(name)
            dtype = SAFETENSORS_DTYPES.get(view.get_dtype(), view.get_dtype())
            read = partial(_read_bfloat16, path, name) if dtype == "bfloat16" else partial(file.get_tensor, name)
            tensors[name] = StoredTensor(tuple(view.get_shape()), dtype, read)
        tensors, prefix = _strip_prefix(tensors)
        yield TensorFile(path, "safetensors", "flat" + prefix, tensors, file.metadata() or {}, {})


def _read_bfloat16(path: Path, name: str) -> np.ndarray:
    """One bfloat16 tensor as float32. The safetensors package returns it as numpy only if ml_dtypes is installed."""
    with path.open("rb") as source:
        header_bytes = int.from_bytes(source.read(8), "little")
        entry = json.loads(source.read(header_bytes))[name]
        start, end = entry["data_offsets"]
        bits = np.fromfile(source, "<u2", (end - start) // 2, offset=start)
    return widen_bfloat16(bits).reshape(entry["shape"])
