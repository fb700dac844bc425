"""The reader of torch's zip files: reads what torch.save writes, refuses other objects, reports damage."""

import collections
import contextlib
import io
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmvpe.checkpoint.torch_zip import TorchFile, TorchTensor
from rmvpe.errors import UserError
from tests.helpers.paths import FIXTURES

# Written by tests/fixtures/make_tiny_torch.py with torch 2.13.0: {"model": {...}, "epoch": 3}, see there
TINY = FIXTURES / "tiny_torch.pt"


def with_pickle(path: Path, data: bytes) -> Path:
    """A copy of TINY in which `data` stands in the place of its pickle."""
    with zipfile.ZipFile(TINY) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, data if name.endswith("data.pkl") else source.read(name))
    return path


def read_all(path: Path) -> dict[str, np.ndarray]:
    with TorchFile(path) as file:
        content = file.content
        table = content.get("model", content) if isinstance(content, dict) else {}
        return {name: file.read(value) for name, value in table.items() if isinstance(value, TorchTensor)}


def test_a_file_of_torchs_reads_without_torch() -> None:
    with TorchFile(TINY) as file:
        assert file.content["epoch"] == 3
        model = file.content["model"]
        assert isinstance(model, collections.OrderedDict)
        assert model["half"].dtype == "float16"
        assert model["half"].shape == (2, 3)
        np.testing.assert_array_equal(file.read(model["half"]), np.arange(6, dtype=np.float16).reshape(2, 3))
        np.testing.assert_array_equal(file.read(model["transposed"]), np.arange(6, dtype=np.float32).reshape(2, 3).T)
        np.testing.assert_array_equal(file.read(model["slice"]), np.arange(10, 14, dtype=np.float32))
        np.testing.assert_array_equal(file.read(model["brain"]), np.array([1.0, -2.5, 2.0**100], dtype=np.float32))
        np.testing.assert_array_equal(file.read(model["parameter"]), np.ones(2))
        assert file.read(model["count"]) == 7
        assert file.read(model["count"]).dtype == np.int64
        assert file.read(model["empty"]).shape == (0, 4)
        assert file.record("nothing.json") is None


class Attack:
    """Unpickling it with Python's own unpickler would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    data = pickle.dumps({"model": Attack(trap)}, protocol=2)
    with pytest.raises(UserError, match=r"pickled Python object \(_?io\.open\).* refused.*state_dict"):
        TorchFile(with_pickle(tmp_path / "evil.pt", data))
    assert not trap.exists()
    pickle.loads(data)["model"].close()
    assert trap.exists(), "the attack is a real one"


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "os system",
        "posix system",
        "collections defaultdict",
        "torch load",
        "torch.storage _load_from_bytes",
        "torch.nn.modules.linear Linear",
        "torch._utils _rebuild_tensor",
        "numpy.core.multiarray _reconstruct",
        "functools partial",
    ],
)
def test_every_other_name_is_refused(tmp_path: Path, name: str) -> None:
    module, attribute = name.split()
    data = f"c{module}\n{attribute}\n.".encode()  # the opcode GLOBAL, then STOP
    with pytest.raises(UserError, match=rf"{module}.{attribute}"):
        TorchFile(with_pickle(tmp_path / "evil.pt", data))


def test_names_of_newer_protocols_are_refused_too(tmp_path: Path) -> None:
    # Protocol 4 names things by STACK_GLOBAL; a dotted name there would walk into a permitted class
    data = b"\x80\x04\x8c\x0bcollections\x8c\x18OrderedDict.__init__.__g\x93."
    with pytest.raises(UserError, match=r"evil\.pt.*state_dict"):
        TorchFile(with_pickle(tmp_path / "evil.pt", data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        pickle.dumps(3)[:-1],
        b"\x80\x02X\x07\x00\x00\x00storageQ.",  # a persistent id that is no tuple
        b"ctorch._utils\n_rebuild_tensor_v2\n(tR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03K\x04tR.",
        b"ctorch\nFloatStorage\n(tR.",  # calling a storage class
        b"ccollections\nOrderedDict\nK\x05\x85R.",
    ],
)
def test_a_damaged_pickle_is_reported(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match=r"bad\.pt.*download it again"):
        TorchFile(with_pickle(tmp_path / "bad.pt", data))


PythonPickler: Any = pickle._Pickler  # the pickler in Python, which can be extended


def tensor_pickle(key: str, n_items: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """The pickle of {"x": tensor} in float32, with any numbers in it."""

    class Reference:
        pass

    class Pickler(PythonPickler):
        def persistent_id(self, item: object) -> object:
            return ("storage", Name("torch", "FloatStorage"), key, "cpu", n_items) if type(item) is Reference else None

        def save(self, item: Any, save_persistent_id: bool = True) -> None:
            if type(item) is Name:
                self.write(f"c{item.module}\n{item.name}\n".encode())
            elif type(item) is Call:
                self.save(item.function)
                self.save(item.arguments)
                self.write(b"R")
            else:
                super().save(item, save_persistent_id)

    rebuild = Name("torch._utils", "_rebuild_tensor_v2")
    out = io.BytesIO()
    Pickler(out, protocol=2).dump({"x": Call(rebuild, (Reference(), offset, size, stride, False, ()))})
    return out.getvalue()


Name = collections.namedtuple("Name", ["module", "name"])
Call = collections.namedtuple("Call", ["function", "arguments"])


def test_a_hand_made_tensor_reads(tmp_path: Path) -> None:
    key = "1"  # TINY's "transposed": 0..5 in float32
    path = with_pickle(tmp_path / "hand.pt", tensor_pickle(key, 6, 1, (2, 2), (2, 1)))
    np.testing.assert_array_equal(read_all(path)["x"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("key", "n_items", "offset", "size", "stride", "message"),
    [
        ("1", 6, 3, (2, 2), (2, 1), "reaches outside its storage"),
        ("1", 6, -1, (2,), (1,), "reaches outside its storage"),
        ("1", 6, 5, (2,), (-1,), "reaches outside its storage"),
        ("1", 6, 0, (1 << 40,), (0,), "reaches outside its storage"),
        ("1", 7, 0, (6,), (1,), "has 24 bytes, not 28"),
        ("1", 1 << 60, 0, (1 << 60,), (1,), "has 24 bytes, not"),
        ("99", 6, 0, (6,), (1,), "no item named"),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_reported(
    tmp_path: Path, key: str, n_items: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], message: str
) -> None:
    path = with_pickle(tmp_path / "hand.pt", tensor_pickle(key, n_items, offset, size, stride))
    with pytest.raises(UserError, match=message):
        read_all(path)


def test_a_flipped_byte_in_a_tensor_is_reported_by_its_checksum(tmp_path: Path) -> None:
    data = bytearray(TINY.read_bytes())
    position = data.find(np.arange(20, dtype=np.float32).tobytes())
    assert position > 0
    data[position] ^= 1
    (tmp_path / "bad.pt").write_bytes(data)
    with pytest.raises(UserError, match=r"bad\.pt.*CRC.*download it again"):
        read_all(tmp_path / "bad.pt")


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_reported(tmp_path: Path, fraction: float) -> None:
    data = TINY.read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(UserError, match=r"cut\.pt.*download it again"):
        read_all(tmp_path / "cut.pt")


def test_random_damage_never_gives_another_error(tmp_path: Path) -> None:
    original, path, rng = TINY.read_bytes(), tmp_path / "bad.pt", random.Random(0)
    for _ in range(300):
        data = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(UserError):  # most damage is reported; a changed byte that nothing uses does no harm
            read_all(path)


def test_a_zip_of_something_else_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match=r"other\.pt.*torch\.save"):
        TorchFile(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}))
        archive.writestr("x/constants.pkl", b"")
    with pytest.raises(UserError, match=r"other\.pt.*TorchScript.*state_dict"):
        TorchFile(path)


def test_a_real_module_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.linear\.Linear.*model\.state_dict\(\)"):
        TorchFile(tmp_path / "module.pt")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_every_type_reads_as_torch_reads_it(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    value = (torch.randn(3, 5, generator=generator) * 10).to(getattr(torch, dtype))
    torch.save({"x": value, "view": value[1:, ::2], "scalar": value[0, 0]}, tmp_path / "x.pt")
    wanted = value.float() if dtype == "bfloat16" else value
    found = read_all(tmp_path / "x.pt")
    np.testing.assert_array_equal(found["x"], wanted.numpy())
    np.testing.assert_array_equal(found["view"], wanted[1:, ::2].numpy())
    np.testing.assert_array_equal(found["scalar"], wanted[0, 0].numpy())
