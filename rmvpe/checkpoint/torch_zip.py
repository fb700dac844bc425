"""Reads PyTorch's zip checkpoints (.pt, .pth, .ckpt since torch 1.6), without torch and without running code in them.

Such a file is a zip of one pickle (`data.pkl`) and one record of raw bytes per storage (`data/0`, `data/1`, ...). A
pickle can name any Python callable, which is called when it is loaded. The unpickler here knows only the few names that
a `state_dict` needs and refuses all others before anything is called. Tensors stay on disk until they are read.
"""

import collections
import io
import math
import os
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmvpe.errors import UserError

# Torch's storage classes -> the type of their items: strings, which a pickle cannot change
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

# What the unpickler raises for a damaged pickle. A refused name is a UserError instead.
PICKLE_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
)

PIECE_BYTES = 1 << 24  # read at a time

# What zipfile raises for a damaged zip, in which any offset, size, flag, method or name may be wrong
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class Storage:
    """One record of the zip: `n_items` values of `dtype`."""

    key: str
    dtype: str
    n_items: int


@dataclass(frozen=True)
class TorchTensor:
    """A tensor that has not been read: a view of a storage. `offset` and `stride` count items, as in torch."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """The type as stored, such as "float16" or "bfloat16"."""
        return self.storage.dtype


class TorchFile:
    """An open torch zip file: `content` is the object that was saved, with a `TorchTensor` for each tensor.

    Raises UserError if the file is damaged, is a TorchScript archive, or holds anything but containers, numbers,
    strings and tensors.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (FileNotFoundError, PermissionError):
            raise
        except ZIP_ERRORS as error:
            raise self._damaged(error) from error
        try:
            self._prefix = self._find_prefix()
            self.content = self._unpickle()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "TorchFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()

    def read(self, tensor: TorchTensor) -> np.ndarray:
        """The tensor's values [`tensor.shape`], as a copy; bfloat16, which numpy does not have, becomes float32.

        Raises UserError if the record is missing, damaged or shorter than the tensor needs.
        """
        last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, np_dtype(tensor.dtype))
        # The size is compared too, because a stride of 0 could repeat one item into terabytes
        size = math.prod(tensor.shape)
        if min(tensor.offset, *tensor.shape, *tensor.stride, 0) < 0 or max(last + 1, size) > tensor.storage.n_items:
            raise self._damaged(f"a tensor of shape {list(tensor.shape)} reaches outside its storage")
        items = self._read_storage(tensor.storage)
        view = np.lib.stride_tricks.as_strided(
            items[tensor.offset :], tensor.shape, [step * items.itemsize for step in tensor.stride]
        )
        if tensor.dtype == "bfloat16":
            return widen_bfloat16(view)
        # A storage that several tensors share, or a transposed view, must be copied
        return view.copy() if view.size != items.size or not view.flags.c_contiguous else view

    def record(self, name: str) -> bytes | None:
        """The bytes of another record of the archive, or None if there is none. Raises UserError if it is damaged."""
        if f"{self._prefix}{name}" not in self._zip.namelist():
            return None
        try:
            return self._zip.read(f"{self._prefix}{name}")
        except ZIP_ERRORS as error:
            raise self._damaged(error) from error

    def _find_prefix(self) -> str:
        names = self._zip.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise UserError(
                f"{self.path} is a TorchScript archive, which is a program and no checkpoint: "
                "give a file that was written with torch.save(model.state_dict(), path)"
            )
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError(f"{self.path} is a zip file but not one that torch.save wrote (it has no data.pkl)")
        return pickles[0].removesuffix("data.pkl")

    def _unpickle(self) -> Any:
        if (self.record("byteorder") or b"little").strip() != b"little":
            raise UserError(f"{self.path} was written on a big-endian machine: save it again on a little-endian one")
        data = self.record("data.pkl") or b""
        try:
            return _Unpickler(data, self.path).load()
        except UserError:
            raise
        except PICKLE_ERRORS as error:
            raise self._damaged(error) from error

    def _read_storage(self, storage: Storage) -> np.ndarray:
        name, dtype = f"{self._prefix}data/{storage.key}", np_dtype(storage.dtype)
        n_bytes = storage.n_items * dtype.itemsize
        try:
            entry = self._zip.getinfo(name)
            if entry.file_size != n_bytes:  # before memory is allocated
                raise zipfile.BadZipFile(f"record {name} has {entry.file_size} bytes, not {n_bytes}")
            data = bytearray(n_bytes)
            with self._zip.open(entry) as source:
                for start in range(0, n_bytes, PIECE_BYTES):  # in pieces, to need no second copy
                    piece = source.read(PIECE_BYTES)
                    data[start : start + len(piece)] = piece
                source.read(1)  # zipfile compares the checksum at the end of the record
            return np.frombuffer(data, dtype)
        except ZIP_ERRORS as error:
            raise self._damaged(error) from error

    def _damaged(self, detail: object) -> UserError:
        return UserError(f"{self.path} is truncated or damaged ({detail}): copy or download it again")


class _Unpickler(pickle.Unpickler):
    """Knows the names of a `state_dict` only. The unpickler in C looks up every global through `find_class`."""

    def __init__(self, data: bytes, path: str):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """What stands for `module.name`. Raises UserError for every name that is not known."""
        if module == "torch" and name in STORAGES:
            return name
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if (module, name) not in known:
            raise UserError(
                f"{self._path} holds a pickled Python object ({module}.{name}), which can run any code when it is "
                "loaded: it was refused, nothing in it was run; in the program that made it, save "
                "model.state_dict() with torch.save and give that file"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a tensor refers to."""
        kind, storage, key, _device, n_items = pid
        if kind != "storage" or not isinstance(key, str) or not isinstance(n_items, int) or n_items < 0:
            raise pickle.UnpicklingError(f"unknown reference {kind!r}")
        return Storage(key, STORAGES[storage], n_items)


def _rebuild_tensor(
    storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> TorchTensor:
    """Replaces torch._utils._rebuild_tensor_v2; the arguments after the strides are for autograd."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(isinstance(n, int) for n in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor is described in an unknown way")
    return TorchTensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: TorchTensor, *_: Any) -> TorchTensor:
    """Replaces torch._utils._rebuild_parameter: a parameter is its tensor."""
    return data


def np_dtype(dtype: str) -> np.dtype:
    """The little-endian numpy type for a stored type; uint16 for the bits of bfloat16."""
    return np.dtype("<u2" if dtype == "bfloat16" else dtype).newbyteorder("<")


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Float32 [...] of bfloat16 values given as bits, uint16 [...]. Exact: they are the upper half of a float32."""
    # numpy 1 would make a single number 64 bits wide if the shift were a Python int
    return np.asarray(np.left_shift(bits.astype(np.uint32), np.uint32(16))).view(np.float32)
