"""The arrays of an Orbax item, read one at a time: each is in memory only while it is converted.

Orbax restores all arrays of an item at once, beside each other. What our `save` writes (zarr 2 in OCDBT, each array one
record without compression) is read here from its records; items in other forms are left to Orbax.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from rmvpe.json_text import MAX_BYTES, NotJson, parse_json

DESCRIPTION = "/.zarray"  # how the key of an array's description ends
TREE = "_METADATA"  # the file in which Orbax describes an item
NODES_BYTES = 100_000_000  # a cache for OCDBT's tree, as large as Orbax's: without it each read begins at its root


class Kind(NamedTuple):
    """Type and shape of an array."""

    dtype: np.dtype
    shape: tuple[int, ...]


class Item(Protocol):
    """Named arrays, each of which can be taken once."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What they are, before any is read."""
        ...

    def take(self, names: Sequence[str]) -> Iterator[np.ndarray]:
        """The arrays of these names, in this order. Raises ValueError if one cannot be read."""
        ...


class ItemInMemory:
    """An item whose arrays have been read; one that is taken is let go of."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self.kinds: Mapping[str, Kind] = {name: Kind(array.dtype, array.shape) for name, array in arrays.items()}

    def take(self, names: Sequence[str]) -> Iterator[np.ndarray]:
        """See `Item`."""
        return (self._arrays.pop(name) for name in names)


class ItemOnDisk:
    """An item whose arrays are records of an OCDBT store; while one is used the next is read."""

    def __init__(self, records: Any, kinds: Mapping[str, Kind]) -> None:
        self._records, self.kinds = records, kinds

    def take(self, names: Sequence[str]) -> Iterator[np.ndarray]:
        """See `Item`. The arrays cannot be written to."""
        futures = (self._records.read(_record(name, self.kinds[name])) for name in names)
        coming: Any = next(futures, None)
        for name in names:
            found, kind = coming.result().value, self.kinds[name]
            coming = next(futures, None)
            if len(found) != math.prod(kind.shape) * kind.dtype.itemsize:
                raise ValueError(f"{name} has {len(found):,} bytes")
            yield np.frombuffer(found, kind.dtype).reshape(kind.shape)


def open_item(item: Path, limit: int) -> ItemOnDisk | None:
    """The item in folder `item`, or None if it is in another form or damaged: Orbax reads the one and names the other.

    Raises ValueError if the arrays have more than `limit` bytes in all.
    """
    names = _names(item / TREE)
    if not names or not (item / "manifest.ocdbt").is_file():
        return None
    records = open_records(item)
    try:
        keys = {bytes(key).decode() for key in records.list().result()}
        futures = {name: records.read(name + DESCRIPTION) for name in names}
        found = {name: parse_json(bytes(future.result().value)) for name, future in futures.items()}
    except ValueError:
        return None
    claimed = sum(claimed_bytes(about) for about in found.values())
    check_claim(item, claimed, limit)
    kinds = {name: kind for name, about in found.items() if (kind := _kind(about)) is not None}
    expected = {name + DESCRIPTION for name in names} | {_record(name, kind) for name, kind in kinds.items()}
    return ItemOnDisk(records, kinds) if expected == keys and kinds.keys() == set(names) else None


def open_records(item: Path) -> Any:
    """The records of an Orbax item, as a tensorstore KvStore. Raises ValueError."""
    import tensorstore

    # Not a URL: in one, a space, a "#" or Windows' backslashes would need to be quoted
    base = {"driver": "file", "path": f"{item.as_posix()}/"}
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": NODES_BYTES}})
    return tensorstore.KvStore.open({"driver": "ocdbt", "base": base}, context=context).result()


def check_claim(item: Path, claimed: int, limit: int) -> None:
    """Raise ValueError if the arrays that an item describes, of `claimed` bytes, need more than `limit`."""
    if claimed > limit:
        raise ValueError(f"{item} describes arrays of {claimed:,} bytes, more than its network has")


def claimed_bytes(about: Mapping[str, Any]) -> int:
    """The memory for an array of this description (zarr's, https://zarr-specs.readthedocs.io): it, or one chunk."""
    return max(math.prod(about["shape"]), math.prod(about["chunks"])) * np.dtype(about["dtype"]).itemsize


def _names(path: Path) -> list[str]:
    """The names of the arrays in an item whose tree is one table of arrays in zarr 2; else none."""
    try:
        table = parse_json(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, NotJson):
        return []
    if not isinstance(table, dict) or table.get("use_zarr3") is not False or table.get("use_ocdbt") is not True:
        return []
    tree = table.get("tree_metadata")
    keys = [entry.get("key_metadata") for entry in tree.values()] if isinstance(tree, dict) else []
    return [key[0]["key"] for key in keys] if all(_is_name(key) for key in keys) else []


def _is_name(key: Any) -> bool:
    """Whether a path in the tree of an item is one name."""
    return isinstance(key, list) and len(key) == 1 and isinstance(key[0], dict) and isinstance(key[0].get("key"), str)


def _kind(about: Any) -> Kind | None:
    """The kind of an array that is one record of plain bytes; None for one in another form."""
    plain = {"compressor": None, "filters": None, "order": "C", "dimension_separator": ".", "zarr_format": 2}
    if any(about.get(key) != value for key, value in plain.items()) or about["chunks"] != about["shape"]:
        return None
    dtype = np.dtype(about["dtype"])
    return Kind(dtype, tuple(about["shape"])) if dtype.kind in "fiu" and dtype.isnative else None


def _record(name: str, kind: Kind) -> str:
    """The key of the record that holds an array."""
    return f"{name}/{'.'.join('0' for _ in kind.shape) or '0'}"
