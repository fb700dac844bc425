"""Checkpoints and PyTorch: files that other programs' strict loads take, and models that own their weights."""

import dataclasses
import inspect
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmvpe.checkpoint.architecture import expected_tensors  # noqa: E402
from rmvpe.checkpoint.store import Checkpoint, load  # noqa: E402
from rmvpe.config import ModelConfig  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe_torch.checkpoint import load_model, save_torch  # noqa: E402
from rmvpe_torch.model import RMVPE  # noqa: E402

TINY = ModelConfig(name="tiny", levels=2, blocks=2, inter_layers=2, channels=2, gru_hidden=4, gru_layers=2)


def random_checkpoint(config: ModelConfig = TINY) -> Checkpoint:
    rng = np.random.default_rng(0)
    tensors = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in expected_tensors(config).items()}
    tensors |= {
        name: np.abs(tensor) + np.float32(0.5) for name, tensor in tensors.items() if name.endswith("running_var")
    }
    return Checkpoint(config, tensors, {"step": "12", "threshold": "0.4"})


@pytest.mark.parametrize("layout", ["rvc", "yxlllc"])
def test_round_trip_is_exact_and_keeps_config_and_metadata(tmp_path: Path, layout: str) -> None:
    original = random_checkpoint()
    save_torch(tmp_path / "a.pt", original, layout)
    found = load(tmp_path / "a.pt")
    assert found.config == TINY
    assert found.metadata == original.metadata
    assert list(found.tensors) == list(original.tensors)
    assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in original.tensors.items())


@pytest.mark.parametrize("layout", ["rvc", "yxlllc"])
def test_float16_is_float16_in_the_file(tmp_path: Path, layout: str) -> None:
    original = random_checkpoint()
    save_torch(tmp_path / "a.pt", original, layout, "float16")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state = state["model"] if layout == "yxlllc" else state
    floats = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert {value.dtype for value in floats.values()} == {torch.float16}
    rounded = {name: tensor.astype(np.float16).astype(np.float32) for name, tensor in original.tensors.items()}
    found = load(tmp_path / "a.pt").tensors
    assert all(np.array_equal(found[name], tensor) for name, tensor in rounded.items())


# torch 2.0 cannot map a file into memory
MMAP: dict[str, bool] = {"mmap": True} if "mmap" in inspect.signature(torch.load).parameters else {}


@pytest.mark.parametrize("options", [{}, MMAP], ids=["read", "mapped"])
def test_rvc_layout_loads_into_a_network_without_timbre_filter(tmp_path: Path, options: dict[str, bool]) -> None:
    save_torch(tmp_path / "a.pt", random_checkpoint(), "rvc")
    state = torch.load(str(tmp_path / "a.pt"), weights_only=True, **options)
    RMVPE(TINY).load_state_dict(state, strict=True)
    assert not any(name.startswith("unet.tf.") for name in state)


def test_yxlllc_layout_loads_where_the_timbre_filter_is_held_and_it_changes_nothing(tmp_path: Path) -> None:
    original = random_checkpoint()
    save_torch(tmp_path / "a.pt", original, "yxlllc")
    # yxlllc's classes all hold unet.tf.*; one of them (E2E) even applies it
    holder = RMVPE(dataclasses.replace(TINY, timbre_filter=True)).eval()
    holder.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True)["model"], strict=True)
    log_mel = torch.randn(1, 8, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(holder(log_mel), load_model(original)(log_mel))


def test_a_used_timbre_filter_is_kept_in_both_layouts(tmp_path: Path) -> None:
    original = random_checkpoint(dataclasses.replace(TINY, timbre_filter=True))
    for layout in ("rvc", "yxlllc"):
        save_torch(tmp_path / "a.pt", original, layout)
        found = load(tmp_path / "a.pt")
        assert found.config.timbre_filter
        assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in original.tensors.items())


def test_published_layouts_have_the_published_number_of_entries(tmp_path: Path) -> None:
    zeros = {name: np.zeros(shape, np.float32) for name, shape in expected_tensors(ModelConfig.e2e0()).items()}
    for layout, entries in (("rvc", 741), ("yxlllc", 801)):  # 801: `keys` of the golden e2e0_full.npz; 60 are unet.tf.*
        save_torch(tmp_path / "a.pt", Checkpoint(ModelConfig.e2e0(), zeros), layout, "float16")
        state = torch.load(str(tmp_path / "a.pt"), weights_only=True, **MMAP)
        assert len(state.get("model", state)) == entries


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        save_torch(tmp_path / name, random_checkpoint())
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_file_that_torch_saved_again_still_loads(tmp_path: Path) -> None:
    original = random_checkpoint(dataclasses.replace(TINY, gru_layers=1))
    save_torch(tmp_path / "a.pt", original)
    torch.save(torch.load(tmp_path / "a.pt", weights_only=True), tmp_path / "b.pt")  # our own record is lost
    found = load(tmp_path / "b.pt")
    assert found.config == dataclasses.replace(original.config, name="custom", dropout=0.0)
    assert found.metadata == {}


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    original = random_checkpoint()
    with pytest.raises(UserError, match="unknown layout 'onnx': choose one of rvc, yxlllc"):
        save_torch(tmp_path / "a.pt", original, "onnx")
    with pytest.raises(UserError, match="unknown dtype 'int8'"):
        save_torch(tmp_path / "a.pt", original, dtype="int8")
    original.tensors["cnn.bias"][0] = 1e5
    with pytest.raises(UserError, match=r"cnn.bias exceeds the largest float16"):
        save_torch(tmp_path / "a.pt", original, dtype="float16")
    assert os.listdir(tmp_path) == []


def test_a_model_owns_its_weights() -> None:
    original = random_checkpoint()
    before = original.tensors["fc.1.weight"].copy()
    model = load_model(original)
    assert not model.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(original.tensors["fc.1.weight"], before)


def test_a_model_computes_what_load_state_dict_would_give() -> None:
    original = random_checkpoint()
    usual = RMVPE(TINY).eval()
    state = {name: torch.tensor(tensor) for name, tensor in original.tensors.items()}
    assert not usual.load_state_dict(state, strict=False).unexpected_keys
    log_mel = torch.randn(2, 8, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(load_model(original)(log_mel), usual(log_mel))


def test_a_model_can_be_trained_and_moved() -> None:
    model = load_model(random_checkpoint()).train().double()  # what training and the float64 parity tests do
    loss = model(torch.randn(1, 8, 128, dtype=torch.float64)).mean()
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    counter = model.state_dict()["unet.encoder.bn.num_batches_tracked"]
    assert counter.dtype == torch.int64
    assert counter.item() == 1


def test_read_only_weights_are_taken() -> None:
    original = random_checkpoint()
    for tensor in original.tensors.values():
        tensor.setflags(write=False)  # as arrays from JAX are
    load_model(original)


def test_a_wrong_tensor_is_refused() -> None:
    original = random_checkpoint()
    del original.tensors["cnn.bias"]
    with pytest.raises(RuntimeError, match=r"cnn\.bias"):
        load_model(original)


def test_conv_dtype_reaches_the_model() -> None:
    assert load_model(random_checkpoint(), torch.bfloat16).conv_dtype == torch.bfloat16
