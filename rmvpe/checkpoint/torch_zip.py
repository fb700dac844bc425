"""Reads PyTorch's zip checkpoints (.pt, .pth, .ckpt since torch 1.6), without torch and without running code in them.

Such a file is a zip of one pickle (`data.pkl`, see `rmvpe.checkpoint.torch_pickle`) and one record of raw bytes per
storage (`data/0`, `data/1`, ...). Tensors stay on disk until they are read.
"""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rmvpe.checkpoint.torch_pickle import RefusedName, Storage, TorchTensor, load_pickle
from rmvpe.errors import UserError
from rmvpe.reading import COPY_AGAIN, check_regular, reading

PIECE_BYTES = 1 << 20  # read at a time: a larger piece leaves the CPU's cache before its checksum is computed
MAX_RECORD_BYTES = 16 << 20  # of records that are no tensors: a state of the largest network has a pickle of 1 MB
MAX_DIRECTORY_BYTES = 16 << 20  # of the zip's list of records: 200,000 of them
MOST_SPARSE = 16  # the stored items that a tensor may skip, in multiples of its own
SPARE_ITEMS = 1 << 24  # and how many more


class TorchFile:
    """An open torch zip file: `content` is the object that was saved, with a `TorchTensor` for each tensor.

    `remedy` ends the message about a damaged file. Raises UserError if the file is damaged, is a TorchScript archive,
    or holds anything but containers, numbers, strings and tensors.
    """

    def __init__(self, path: str | os.PathLike[str], remedy: str = COPY_AGAIN):
        self.path, self._remedy = str(path), remedy
        check_regular(path, "give a checkpoint file")
        self._file = Path(path).open("rb")  # noqa: SIM115 (closed by __exit__)
        try:
            with reading(path, remedy):
                _check_directory(self._file)
                self._zip = zipfile.ZipFile(self._file)
                self._entries = self._list_entries()
                self._prefix = self._find_prefix()
                self.content = self._unpickle()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "TorchFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()
        self._file.close()

    def read(self, tensor: TorchTensor) -> np.ndarray:
        """The tensor's values [`tensor.shape`], as a copy; bfloat16, which numpy does not have, becomes float32.

        Raises UserError if the record is missing, damaged or shorter than the tensor needs.
        """
        with reading(self.path, self._remedy):
            if 0 in tensor.shape:
                return np.zeros(tensor.shape, np_dtype(tensor.dtype))
            last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
            count = int(np.prod(tensor.shape, dtype=np.int64))
            if last + 1 > MOST_SPARSE * count + SPARE_ITEMS:
                raise ValueError(f"a tensor of shape {list(tensor.shape)} is scattered over its storage")
            items = self._read_items(tensor.storage, tensor.offset, last + 1)
            strides = [step * items.itemsize for step in tensor.stride]
            view = np.lib.stride_tricks.as_strided(items, tensor.shape, strides)
            if tensor.dtype == "bfloat16":
                return widen_bfloat16(view)
            # A transposed view must be copied
            return view.copy() if view.size != items.size or not view.flags.c_contiguous else view

    def record(self, name: str) -> bytes | None:
        """The bytes of another record of the archive, at most 16 MB, or None if there is none.

        Raises UserError if it is damaged or longer.
        """
        entry = self._entries.get(f"{self._prefix}{name}")
        if entry is None:
            return None
        with reading(self.path, self._remedy):
            # The length that the zip claims is not to be trusted
            with self._zip.open(entry) as source:
                data = b"" if entry.file_size > MAX_RECORD_BYTES else source.read(MAX_RECORD_BYTES + 1)
            if max(entry.file_size, len(data)) > MAX_RECORD_BYTES:
                raise ValueError(f"its record {name} is longer than {MAX_RECORD_BYTES >> 20} MB")
            return data

    def _list_entries(self) -> dict[str, zipfile.ZipInfo]:
        entries = {entry.filename: entry for entry in self._zip.infolist()}
        if len(entries) != len(self._zip.infolist()):
            raise zipfile.BadZipFile("two of its records have one name")
        return entries

    def _find_prefix(self) -> str:
        names = list(self._entries)
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
        try:
            return load_pickle(self.record("data.pkl") or b"")
        except RefusedName as error:
            raise UserError(
                f"{self.path} holds a pickled Python object ({error}), which can run any code when it is "
                "loaded: it was refused, nothing in it was run; in the program that made it, save "
                "model.state_dict() with torch.save and give that file"
            ) from error

    def _read_items(self, storage: Storage, first: int, count: int) -> np.ndarray:
        """`count` items of a storage from item `first` on. All of it is read, because of the checksum."""
        name, dtype = f"{self._prefix}data/{storage.key}", np_dtype(storage.dtype)
        entry = self._entries.get(name)
        if entry is None:
            raise zipfile.BadZipFile(f"there is no item named {name!r} in the archive")
        n_bytes = storage.n_items * dtype.itemsize
        if entry.file_size != n_bytes:  # before memory is allocated
            raise zipfile.BadZipFile(f"record {name} has {entry.file_size} bytes, not {n_bytes}")
        data = np.empty(count * dtype.itemsize, np.uint8)
        start, position = first * dtype.itemsize, 0
        for piece in self._pieces(entry):  # to need no second copy
            low, high = max(start, position), min(start + len(data), position + len(piece))
            if low < high:
                data[low - start : high - start] = np.frombuffer(piece, np.uint8, high - low, low - position)
            position += len(piece)
        return data.view(dtype)

    def _pieces(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes of a record, piece by piece; at the end zipfile compares its checksum."""
        if entry.compress_type != zipfile.ZIP_STORED and entry.file_size > MAX_RECORD_BYTES:
            raise zipfile.BadZipFile(f"record {entry.filename} is compressed, which torch.save never does")
        length = 0
        with self._zip.open(entry) as source:
            while piece := source.read(PIECE_BYTES):
                length += len(piece)
                yield piece
        if length != entry.file_size:
            raise zipfile.BadZipFile(f"record {entry.filename} ends after {length} of {entry.file_size} bytes")


def _check_directory(file: BinaryIO) -> None:
    """Raise BadZipFile if the zip's list of records, which zipfile reads as a whole, is too long."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22 - 76))  # the longest comment, and the records at the end
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise zipfile.BadZipFile("its end is missing")
    n_bytes = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(b"PK\x06\x06", 0, end)
    if large >= 0 and len(tail) >= large + 48:  # zip64
        n_bytes = max(n_bytes % 0xFFFFFFFF, int.from_bytes(tail[large + 40 : large + 48], "little"))
    if n_bytes > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(f"its list of records has {n_bytes:,} bytes")


def np_dtype(dtype: str) -> np.dtype:
    """The little-endian numpy type for a stored type; uint16 for the bits of bfloat16."""
    return np.dtype("<u2" if dtype == "bfloat16" else dtype).newbyteorder("<")


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Float32 [...] of bfloat16 values given as bits, uint16 [...]. Exact: they are the upper half of a float32."""
    # numpy 1 would make a single number 64 bits wide if the shift were a Python int
    return np.asarray(np.left_shift(bits.astype(np.uint32), np.uint32(16))).view(np.float32)
