"""The safetensors format, read and written: a header in JSON, then the bytes of the tensors.

Source: https://github.com/huggingface/safetensors#format. We read it ourselves because the package maps the file into
memory, where a file that is cut while it is open ends the program, and does not say which of two equal names it took;
and we write it ourselves because the package orders metadata differently in every process.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from rmvpe.checkpoint.content_hash import CONTENT_HASH, check_content, hash_of
from rmvpe.checkpoint.torch_zip import np_dtype, widen_bfloat16
from rmvpe.files import atomic_path
from rmvpe.json_text import parse_json

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
OTHER_DTYPES = {"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8}  # bytes of an item; numpy or we do not have them
MAX_HEADER_BYTES = 16 << 20  # that of the largest network has 0.1 MB
MAX_AXES = 32
PIECE_BYTES = 1 << 20  # read at a time: a larger piece leaves the CPU's cache before it is hashed


@dataclass(frozen=True)
class Entry:
    """One tensor: its type ("float32", ...), and where its bytes are, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a file holds. `data_start`: where the tensors' bytes begin."""

    metadata: dict[str, str]
    entries: dict[str, Entry]
    data_start: int


def read_header(file: BinaryIO, path: object) -> Header:
    """The header of an open file, checked against its length and, if it holds one, its content hash.

    Raises ValueError for a file of another form, UserError for another hash.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError("it ends inside its header")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length:,} bytes")
    table = parse_json(file.read(length))
    if not isinstance(table, dict):
        raise ValueError("its header is no table")
    metadata = _metadata(table.get("__metadata__", {}))
    entries = {name: _entry(name, value) for name, value in table.items() if name != "__metadata__"}
    _check_places(entries, size - 8 - length)
    header = Header(metadata, entries, 8 + length)
    if CONTENT_HASH in metadata:
        check_content(path, metadata[CONTENT_HASH], hash_of(_without_hash(table), _pieces(file, header.data_start)))
    return header


def read_tensor(file: BinaryIO, header: Header, name: str) -> np.ndarray:
    """The values of a tensor, as stored; bfloat16 as float32. Raises ValueError if the file has become shorter."""
    entry = header.entries[name]
    if entry.dtype in OTHER_DTYPES:
        raise ValueError(f"{name} has the type {entry.dtype}")
    dtype = np_dtype(entry.dtype)
    data = bytearray(entry.end - entry.start)
    file.seek(header.data_start + entry.start)
    if file.readinto(data) != len(data):  # type: ignore[attr-defined]
        raise ValueError(f"it ends inside {name}")
    items = np.frombuffer(data, dtype).reshape(entry.shape)
    return widen_bfloat16(items) if entry.dtype == "bfloat16" else items


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], dtype: str
) -> None:
    """Write `tensors` [any shape] as `dtype` ("float32" or "float16") with `metadata`; on an error the old file stays.

    The metadata get a hash of the content. Bundled weights are named by the hash of their file, so the same checkpoint
    always gives the same bytes. Raises UserError if the file cannot be written.
    """
    kind, item_bytes = {"float32": ("F32", 4), "float16": ("F16", 2)}[dtype]
    about = {key: value for key, value in metadata.items() if key != CONTENT_HASH}
    header: dict[str, Any] = {"__metadata__": about}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.size * item_bytes
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}

    def data() -> Iterator[bytes]:
        for tensor in tensors.values():
            yield np.ascontiguousarray(tensor, dtype="<f" + str(item_bytes)).tobytes()

    about[CONTENT_HASH] = hash_of(_without_hash(header), data())
    header["__metadata__"] = dict(sorted(about.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts on a multiple of 8 bytes
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for piece in data():
            out.write(piece)


def _without_hash(table: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in table["__metadata__"].items() if key != CONTENT_HASH}
    return {**table, "__metadata__": metadata}


def _pieces(file: BinaryIO, start: int) -> Iterator[bytes]:
    file.seek(start)
    while piece := file.read(PIECE_BYTES):
        yield piece


def _metadata(table: Any) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise ValueError("its metadata are no table of texts")
    return table


def _entry(name: str, value: Any) -> Entry:
    known = isinstance(value, dict) and set(value) == {"dtype", "shape", "data_offsets"}
    if not known or not _counts(value["shape"], MAX_AXES) or not _counts(value["data_offsets"], 2):
        raise ValueError(f"its header describes the tensor {name[:80]!r} in an unknown way")
    kind, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES | OTHER_DTYPES:
        raise ValueError(f"the tensor {name[:80]!r} has the unknown type {str(kind)[:20]!r}")
    n_bytes = OTHER_DTYPES[kind] if kind in OTHER_DTYPES else np_dtype(DTYPES[kind]).itemsize
    for size in shape:
        n_bytes *= size
    if len(offsets) != 2 or offsets[1] - offsets[0] != n_bytes:
        raise ValueError(f"the tensor {name[:80]!r} of shape {shape} needs {n_bytes} bytes and has others")
    return Entry(DTYPES.get(kind, kind), tuple(shape), offsets[0], offsets[1])


def _counts(value: Any, most: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(type(number) is int and 0 <= number < 1 << 48 for number in value)
    )


def _check_places(entries: Mapping[str, Entry], data_bytes: int) -> None:
    """Raise ValueError unless the tensors lie one after the other and fill the rest of the file."""
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != end:
            raise ValueError("its tensors overlap, or there is a gap between them")
        end = entry.end
    if end != data_bytes:
        raise ValueError(f"its tensors have {end:,} bytes, but {data_bytes:,} follow the header")
