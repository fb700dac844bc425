"""The safetensors format: a header that is not right, and a bit that flipped, are one sentence."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from rmvpe.checkpoint.safetensors_file import write_safetensors
from rmvpe.checkpoint.tensor_file import open_tensors
from rmvpe.errors import UserError

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.zeros(0, np.float32),
    "c": np.full((1, 1), 7.5, np.float32),
}
GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def with_header(path: Path, header: object, data: bytes = bytes(8)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def read_all(path: Path) -> dict[str, np.ndarray]:
    with open_tensors(path) as file:
        return {name: tensor.read() for name, tensor in file.tensors.items()}


def test_the_packages_files_read_as_the_package_reads_them(tmp_path: Path) -> None:
    kinds: list[Any] = [np.float64, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_, np.uint16]
    arrays = {kind.__name__: np.arange(12).reshape(3, 4).astype(kind) for kind in kinds} | ARRAYS
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors", {"who": "someone"})
    found = read_all(tmp_path / "x.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


HEADERS: dict[str, object] = {
    "no JSON": b"{",
    "deep": b"[" * 100_000,
    "deep inside": b'{"a":' * 50_000,
    "a list": [],
    "no UTF-8": b'{"\xff": 1}',
    "twice": b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "a":{"dtype":"F32","shape":[0]}}',
    "huge number": b'{"a": {"dtype":"F32","shape":[1' + b"0" * 5000 + b'],"data_offsets":[0,8]}}',
    "metadata no table": {"__metadata__": 3, **GOOD},
    "metadata no text": {"__metadata__": {"a": 1}, **GOOD},
    "no entry": {"a": 3},
    "unknown type": {"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}},
    "type no text": {"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}},
    "outside": {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
    "far outside": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [2**62, 2**62 + 8]}},
    "backwards": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
    "negative": {"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}},
    "bool": {"a": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}},
    "float": {"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}},
    "other size": {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
    "gap": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
    "rest": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
    "overlap": {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
    },
    "100 axes": {"a": {"dtype": "F32", "shape": [1] * 99 + [2], "data_offsets": [0, 8]}},
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_bad_header_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"bad\.safetensors .*copy or download it again"):
        read_all(with_header(tmp_path / "bad.safetensors", HEADERS[name]))


@pytest.mark.parametrize("length", [0, 1, 17 << 20, 2**40, 2**64 - 1])
def test_a_header_of_another_length_is_one_sentence(tmp_path: Path, length: int) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + bytes(100))
    with pytest.raises(UserError, match=r"bad\.safetensors .*copy or download it again"):
        read_all(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """In names, shapes, metadata, values and the hash; only in the hash's own key does one change nothing else."""
    path = tmp_path / "x.safetensors"
    write_safetensors(path, ARRAYS, {"threshold": "0.24", "config": "none"}, "float32")
    original = path.read_bytes()
    assert read_all(path)["c"] == 7.5
    rng = random.Random(1)
    for _ in range(300):
        data = bytearray(original)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if b'"content_hash"' not in data:
            continue
        with pytest.raises(UserError, match=r"x\.safetensors"):
            read_all(path)


def test_a_file_that_became_shorter_while_it_was_open_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, ARRAYS, {}, "float32")
    with open_tensors(path) as file:
        with path.open("r+b") as cut:
            cut.truncate(path.stat().st_size - 2)
        with pytest.raises(UserError, match=r"x\.safetensors .*ends inside c"):
            file.tensors["c"].read()


def test_a_file_without_hash_loads_as_before(tmp_path: Path) -> None:
    path = with_header(tmp_path / "x.safetensors", GOOD, np.array([1, 2], np.float32).tobytes())
    np.testing.assert_array_equal(read_all(path)["a"], [1, 2])
