"""The conversion table: it names every tensor of both networks, moves values and nothing else, and is strict."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import nnx

import rmvpe_jax.checkpoint
import rmvpe_torch.checkpoint
import rmvpe_torch.model
from rmvpe.config import PRESETS, ModelConfig
from rmvpe.errors import UserError
from rmvpe_jax.model import RMVPE
from rmvpe_jax.params import TRANSFORMS, ConversionError, nnx_shape, nnx_to_torch, row_major, table, torch_to_nnx
from tests.helpers import golden

TINY = ModelConfig(levels=2, blocks=2, inter_layers=2, channels=3, gru_hidden=8, gru_layers=2, timbre_filter=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_names_every_tensor_of_both_networks(preset):
    config = PRESETS[preset]()
    with torch.device("meta"):
        state = rmvpe_torch.model.RMVPE(config).state_dict()
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items() if "num_batches_tracked" not in name}
    assert {row.torch_name: row.shape for row in table(config)} == theirs

    abstract = nnx.eval_shape(lambda: RMVPE(config, seed=None))
    leaves = nnx.to_flat_state(nnx.state(abstract, (nnx.Param, nnx.BatchStat)))
    ours = {rmvpe_jax.checkpoint.dotted(path): variable.shape for path, variable in leaves}
    assert {row.nnx_path: nnx_shape(row) for row in table(config)} == ours


def test_modules_have_the_same_paths_on_both_sides():
    for row in table(TINY):
        assert row.nnx_path.rpartition(".")[0] == row.torch_name.rpartition(".")[0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_round_trips_give_back_the_same_bits(dtype):
    tensors = {name: tensor.astype(dtype) for name, tensor in golden.checkpoint(TINY).tensors.items()}
    flat = torch_to_nnx(tensors, TINY)
    back = nnx_to_torch(flat, TINY)
    again = torch_to_nnx(back, TINY)
    for before, after in ((tensors, back), (flat, again)):
        assert list(before) == list(after)
        for name, tensor in before.items():
            assert tensor.dtype == after[name].dtype == dtype
            assert after[name].flags.c_contiguous
            assert tensor.tobytes() == after[name].tobytes(), name


@pytest.mark.parametrize("name", TRANSFORMS)
def test_large_tensors_are_copied_without_an_error_in_any_strip(name):
    shape = {"linear": (70, 45), "conv_1x1": (70, 45, 1, 1)}.get(name, (70, 45, 3, 3))
    tensor = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    there = TRANSFORMS[name].to_nnx(tensor)
    back = TRANSFORMS[name].to_torch(row_major(there))
    for view in (there, back):
        copy = row_major(view)
        assert copy.flags.c_contiguous
        assert not np.shares_memory(copy, view)
        assert np.array_equal(copy, view)
    assert np.array_equal(back, tensor)


def test_weights_and_statistics_survive_both_frameworks_to_the_bit():
    start = golden.checkpoint(TINY)
    there = rmvpe_jax.checkpoint.to_checkpoint(rmvpe_jax.checkpoint.load_model(start), {})
    state = rmvpe_torch.checkpoint.load_model(there).state_dict()
    for name, tensor in start.tensors.items():
        assert state[name].numpy().tobytes() == tensor.tobytes(), name


def test_converted_tensors_share_no_memory():
    tensors = golden.checkpoint(TINY).tensors
    flat = torch_to_nnx(tensors, TINY)
    for row in table(TINY):
        assert not np.shares_memory(flat[row.nnx_path], tensors[row.torch_name])


@pytest.mark.parametrize(
    ("transform", "shape", "expected"),
    [
        ("identity", (4, 3), (4, 3)),
        ("linear", (4, 3), (3, 4)),
        ("conv_1x1", (4, 3, 1, 1), (3, 4)),
        ("conv", (4, 3, 5, 7), (5, 7, 3, 4)),
        ("conv_transpose", (4, 3, 5, 7), (5, 7, 4, 3)),
    ],
)
def test_each_transform_and_its_inverse(transform, shape, expected):
    forth, back = TRANSFORMS[transform]
    array = np.arange(np.prod(shape)).reshape(shape)
    assert forth(array).shape == expected
    np.testing.assert_array_equal(back(forth(array)), array)


def test_the_transforms_of_convolutions_agree_with_their_definition():
    weight = np.arange(4 * 3 * 5 * 7).reshape(4, 3, 5, 7)
    o, i, h, w = 2, 1, 3, 5
    assert TRANSFORMS["conv"].to_nnx(weight)[h, w, i, o] == weight[o, i, h, w]
    assert TRANSFORMS["conv_transpose"].to_nnx(weight)[h, w, o, i] == weight[o, i, 5 - 1 - h, 7 - 1 - w]


def test_every_problem_is_told_at_once():
    tensors = golden.checkpoint(TINY).tensors
    del tensors["cnn.bias"]
    tensors["stray"] = np.zeros(1, np.float32)
    tensors["fc.1.bias"] = np.zeros(7, np.float32)
    with pytest.raises(ConversionError) as error:
        torch_to_nnx(tensors, TINY)
    for part in ("cnn.bias is missing", "stray is unexpected", "fc.1.bias has shape [7], not [360]"):
        assert part in str(error.value)
    assert isinstance(error.value, UserError)

    flat = torch_to_nnx(golden.checkpoint(TINY).tensors, TINY)
    flat["unet.encoder.bn.scaling"] = flat.pop("unet.encoder.bn.scale")
    with pytest.raises(ConversionError, match=r"bn\.scale is missing; unet\.encoder\.bn\.scaling is unexpected"):
        nnx_to_torch(flat, TINY)


def test_another_networks_weights_are_refused():
    with pytest.raises(ConversionError, match="in all"):
        torch_to_nnx(golden.checkpoint(TINY).tensors, replace(TINY, channels=4))


def test_what_comes_out_is_numpy_whatever_goes_in():
    tensors: dict[str, Any] = {name: jax.numpy.asarray(t) for name, t in golden.checkpoint(TINY).tensors.items()}
    flat = torch_to_nnx(tensors, TINY)
    assert all(type(array) is np.ndarray for array in flat.values())
