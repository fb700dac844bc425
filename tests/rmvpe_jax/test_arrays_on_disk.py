"""Items as we write them are read without Orbax, others by Orbax; Orbax itself reads what we write."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, opened, save
from rmvpe.config import MelConfig, ModelConfig
from rmvpe.errors import UserError
from rmvpe_jax import checkpoint as orbax
from rmvpe_jax.arrays_on_disk import ItemOnDisk, open_item
from rmvpe_jax.checkpoint import WEIGHTS
from rmvpe_jax.params import table
from tests.rmvpe_jax.test_checkpoint import METADATA, TINY, assert_same, tensors

__all__ = ["tensors"]  # a fixture
LIMIT = 1 << 20


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, np.ndarray]) -> Path:
    orbax.save(tmp_path / "ckpt", tensors, TINY, METADATA)
    return tmp_path / "ckpt"


def rewrite(folder: Path, handler: ocp.PyTreeCheckpointHandler) -> None:
    """Write the weights of `folder` again, as Orbax does with other options."""
    arrays = orbax.read_items(folder, [WEIGHTS], [], LIMIT)[0][WEIGHTS]
    with ocp.Checkpointer(handler) as writer:
        writer.save(folder / WEIGHTS, args=ocp.args.PyTreeSave(arrays), force=True)


def test_what_we_write_is_read_without_orbax(folder, tensors, monkeypatch):
    monkeypatch.setattr(ocp, "Checkpointer", None)  # a use would fail
    assert_same(orbax.load(folder), tensors)


def test_plain_orbax_reads_what_we_write(folder):
    item = open_item(folder / WEIGHTS, LIMIT)
    assert isinstance(item, ItemOnDisk)
    names = sorted(item.kinds)
    with ocp.StandardCheckpointer() as reader:
        found = reader.restore(folder / WEIGHTS)
    assert sorted(found) == names == sorted(row.nnx_path for row in table(TINY))
    for name, array in zip(names, item.take(names), strict=True):
        assert np.asarray(found[name]).tobytes() == array.tobytes(), name


@pytest.mark.parametrize("options", [{}, {"use_zarr3": True}], ids=str)
def test_other_forms_of_orbax_are_read_by_orbax(folder, tensors, options):
    rewrite(folder, ocp.PyTreeCheckpointHandler(**options))  # compressed, as is Orbax's default
    assert open_item(folder / WEIGHTS, LIMIT) is None
    assert_same(orbax.load(folder), tensors)


def test_arrays_in_several_pieces_are_read_by_orbax(folder, tensors):
    arrays = orbax.read_items(folder, [WEIGHTS], [], LIMIT)[0][WEIGHTS]
    pieces = {name: ocp.SaveArgs(chunk_byte_size=4 * (1 + array.size // 2)) for name, array in arrays.items()}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False)) as writer:
        writer.save(folder / WEIGHTS, args=ocp.args.PyTreeSave(arrays, save_args=pieces), force=True)
    assert open_item(folder / WEIGHTS, LIMIT) is None
    assert_same(orbax.load(folder), tensors)


def test_arrays_that_claim_too_much_are_refused(folder):
    with pytest.raises(ValueError, match="more than its network has"):
        open_item(folder / WEIGHTS, 1000)


def test_a_flipped_bit_is_found(folder):
    largest = max((folder / WEIGHTS).glob("**/d/*"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises(UserError, match=r"has changed since it was written|is truncated or damaged"):
        orbax.load(folder)


def test_an_array_that_the_tree_does_not_name_is_left_to_orbax(folder):
    path = folder / WEIGHTS / "_METADATA"
    about = json.loads(path.read_text())
    about["tree_metadata"].popitem()
    path.write_text(json.dumps(about))
    assert open_item(folder / WEIGHTS, LIMIT) is None
    with pytest.raises(UserError):
        orbax.load(folder)


def test_each_tensor_is_asked_for_once(tmp_path, tensors):
    asked: list[str] = []

    class Counting(dict):
        def __getitem__(self, name: str) -> np.ndarray:
            asked.append(name)
            return super().__getitem__(name)

    orbax.save(tmp_path / "ckpt", Counting(tensors), TINY, lambda: METADATA)
    assert sorted(asked) == sorted(tensors)
    assert orbax.load(tmp_path / "ckpt").metadata == METADATA
    assert_same(orbax.load(tmp_path / "ckpt"), tensors)


def test_an_error_of_the_metadata_leaves_nothing(tmp_path, tensors):
    def metadata() -> dict[str, str]:
        raise UserError("the source is gone")

    with pytest.raises(UserError, match="the source is gone"):
        orbax.save(tmp_path / "ckpt", tensors, TINY, metadata)
    assert not list(tmp_path.iterdir())


def test_weights_are_in_memory_once(tmp_path):
    """Beside the result there is room for the few tensors that are on the way, not for all of them in the old form."""
    config = ModelConfig(name="deep", mel=MelConfig(n_mels=64), levels=3, blocks=3, inter_layers=3, channels=24)
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape, np.float32) for name, shape in expected_tensors(config).items()}
    size = sum(tensor.nbytes for tensor in weights.values())
    on_the_way = 6 * max(tensor.nbytes for tensor in weights.values())
    assert on_the_way < size / 2
    save(tmp_path / "a.safetensors", Checkpoint(config, weights))
    orbax.save(tmp_path / "warm up", weights, config, {})
    orbax.load(tmp_path / "warm up")

    def convert() -> None:
        with opened(tmp_path / "a.safetensors") as found:
            orbax.save(tmp_path / "ckpt", found.tensors, config, {})

    for work in (convert, lambda: orbax.load(tmp_path / "ckpt")):
        tracemalloc.start()  # numpy's arrays and Python's bytes
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size < peak < size + on_the_way + 2e6  # and Python's own objects
