"""Checkpoints: names and shapes from the config alone, every wrapper in circulation, strictness, damage, names."""

import dataclasses
import hashlib
import json
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from rmvpe.checkpoint import store
from rmvpe.checkpoint import store as checkpoints
from rmvpe.checkpoint.architecture import expected_tensors, infer_config, timbre_filter_tensors
from rmvpe.checkpoint.published import KNOWN_FILES
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.config import PRESETS, ModelConfig, preset
from rmvpe.config_check import to_json
from rmvpe.errors import UserError

TINY = ModelConfig(name="custom", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=4, dropout=0.0)


def random_checkpoint(config: ModelConfig = TINY, metadata: dict[str, str] | None = None) -> Checkpoint:
    rng = np.random.default_rng(0)
    tensors = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in expected_tensors(config).items()}
    return Checkpoint(config, tensors, metadata or {})


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    assert found.config == wanted.config
    assert list(found.tensors) == list(wanted.tensors)
    for name, tensor in wanted.tensors.items():
        assert found.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(found.tensors[name], tensor, err_msg=name)


def shapes_only(config: ModelConfig) -> dict[str, Any]:
    return {name: SimpleNamespace(shape=shape) for name, shape in expected_tensors(config).items()}


def parameters(config: ModelConfig) -> int:
    return sum(math.prod(shape) for name, shape in expected_tensors(config).items() if ".running_" not in name)


# --- names and shapes


def test_e2e0_has_the_published_networks_parameters() -> None:
    dead = sum(
        math.prod(shape) for name, shape in timbre_filter_tensors(ModelConfig.e2e0()).items() if ".running_" not in name
    )
    # The reference's class, which holds the TimbreFilter unused, counts 91,996,477 (n_params of the golden files)
    assert parameters(ModelConfig.e2e0()) + dead == 91_996_477
    assert expected_tensors(ModelConfig.e2e0())["unet.decoder.layers.0.conv1.0.weight"] == (512, 256, 3, 3)


@pytest.mark.parametrize(
    "config",
    [
        *(make() for make in PRESETS.values()),
        TINY,
        dataclasses.replace(TINY, timbre_filter=True, gru_layers=2, blocks=2, head_channels=1, inter_layers=3),
    ],
    ids=lambda config: config.name,
)
def test_names_shapes_and_order_are_those_of_the_torch_network(config: ModelConfig) -> None:
    torch = pytest.importorskip("torch")
    from rmvpe_torch.model import RMVPE

    with torch.device("meta"):
        state = RMVPE(config).state_dict()
    wanted = [(name, tuple(value.shape)) for name, value in state.items() if not name.endswith("num_batches_tracked")]
    assert list(expected_tensors(config).items()) == wanted


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_recognised_by_its_shapes(name: str) -> None:
    assert infer_config(shapes_only(preset(name))) == preset(name)


def test_another_size_is_recognised_as_custom() -> None:
    assert infer_config(shapes_only(TINY)) == TINY


def test_the_timbre_filter_counts_with_256_bands_only() -> None:
    unused = dataclasses.replace(ModelConfig.e2e0(), timbre_filter=True)
    assert infer_config(shapes_only(unused)) == ModelConfig.e2e0()
    without = infer_config(shapes_only(dataclasses.replace(ModelConfig.e2e(), timbre_filter=False)))
    assert not without.timbre_filter
    assert without.mel == ModelConfig.e2e().mel


def test_an_unknown_number_of_mel_bands_is_refused() -> None:
    odd = dataclasses.replace(TINY, mel=dataclasses.replace(TINY.mel, n_mels=64))
    with pytest.raises(UserError, match=r"64 mel bands.* 128 and 256"):
        infer_config(shapes_only(odd))


# --- the canonical file


def test_float32_round_trip_is_exact(tmp_path: Path) -> None:
    original = random_checkpoint(metadata={"step": "300", "threshold": "0.4", "licence": "CC0"})
    save(tmp_path / "a.safetensors", original)
    found = load(tmp_path / "a.safetensors")
    assert_same(found, original)
    assert found.metadata == original.metadata
    assert found.threshold == 0.4


def test_to_ask_for_a_name_reads_no_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = random_checkpoint()
    save(tmp_path / "a.safetensors", checkpoint)
    with checkpoints.opened(tmp_path / "a.safetensors") as found:
        monkeypatch.setattr(checkpoints, "_read_float32", None)  # a call would fail
        assert all(name in found.tensors for name in checkpoint.tensors)
        assert "another" not in found.tensors


def test_float16_is_rounded_once_and_widened(tmp_path: Path) -> None:
    original = random_checkpoint()
    save(tmp_path / "a.safetensors", original, "float16")
    rounded = {name: t.astype(np.float16).astype(np.float32) for name, t in original.tensors.items()}
    assert_same(load(str(tmp_path / "a.safetensors")), Checkpoint(TINY, rounded))


def test_a_config_that_shapes_do_not_show_is_kept(tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY, name="mine", dropout=0.1, timbre_filter=True, mel=dataclasses.replace(TINY.mel, n_mels=64, f_min_hz=50.0)
    )
    save(tmp_path / "a.safetensors", random_checkpoint(config))
    assert load(tmp_path / "a.safetensors").config == config


def test_the_safetensors_package_reads_what_we_write(tmp_path: Path) -> None:
    original = random_checkpoint(metadata={"step": "1"})
    save(tmp_path / "a.safetensors", original, "float16")
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        metadata = dict(file.metadata())
        assert metadata.pop("content_hash").startswith("sha256:")
        assert metadata == {"step": "1", "format": "rmvpe-1", "config": to_json(TINY)}
        assert set(file.keys()) == set(original.tensors)
        name = "fc.1.weight"
        np.testing.assert_array_equal(file.get_tensor(name), original.tensors[name].astype(np.float16))


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, metadata in (("a", {"x": "1", "y": "2"}), ("b", {"y": "2", "x": "1"})):
        save(tmp_path / f"{name}.safetensors", random_checkpoint(metadata=metadata))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_what_would_not_load_is_not_written(tmp_path: Path) -> None:
    broken = random_checkpoint()
    del broken.tensors["fc.1.bias"]
    broken.tensors["extra"] = np.zeros(1, np.float32)
    broken.tensors["cnn.bias"] = np.zeros(7, np.float32)
    broken.tensors["fc.1.weight"][0, 0] = np.nan
    broken.tensors["cnn.weight"][0, 0] = 1e6
    with pytest.raises(UserError) as caught:
        save(tmp_path / "a.safetensors", broken, "float16")
    for part in (
        "fc.1.bias is missing",
        "extra is unexpected",
        r"cnn.bias has shape [7], not [3]",
        "fc.1.weight holds NaN or infinity",
        "cnn.weight exceeds the largest float16, 65504",
    ):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="unknown dtype 'int8': choose one of float32, float16"):
        save(tmp_path / "a.safetensors", random_checkpoint(), "int8")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_threshold_is_reported() -> None:
    assert random_checkpoint().threshold is None
    for text in ("loud", "1.5", "nan"):
        with pytest.raises(UserError, match=f"threshold.*'{text}'"):
            assert random_checkpoint(metadata={"threshold": text}).threshold


# --- strictness and damage


def write_raw(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> Path:
    safetensors.numpy.save_file(tensors, path, metadata)
    return path


def test_a_file_without_config_is_recognised(tmp_path: Path) -> None:
    original = random_checkpoint()
    path = write_raw(tmp_path / "a.safetensors", original.tensors, {"format": "pt"})
    assert_same(load(path), original)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    tensors = random_checkpoint().tensors
    del tensors["cnn.bias"]
    tensors["fc.1.bias"] = np.zeros(3, np.float32)
    tensors["surplus"] = np.zeros(3, np.float32)
    tensors["fc.0.gru.bias_ih_l0"] = np.zeros(12, np.int64)
    path = write_raw(tmp_path / "a.safetensors", tensors)
    with pytest.raises(UserError) as caught:
        load(path)
    for part in (
        "a.safetensors does not fit the network 'custom'",
        "cnn.bias is missing",
        "surplus is unexpected",
        "fc.1.bias has shape [3], not [360]",
        "fc.0.gru.bias_ih_l0 is int64, not a float",
    ):
        assert part in str(caught.value)


def test_a_long_list_of_problems_is_cut_with_a_count(tmp_path: Path) -> None:
    tensors = {name: t for name, t in random_checkpoint().tensors.items() if not name.startswith("unet.decoder")}
    with pytest.raises(UserError, match=r"; and \d+ more \(\d+ in all\)") as caught:
        load(write_raw(tmp_path / "a.safetensors", tensors))
    assert len(str(caught.value)) < 700


def test_another_network_is_named_by_what_it_holds(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.safetensors", {f"layer{i}.weight": np.zeros((2, 2), np.float32) for i in range(90)})
    with pytest.raises(UserError, match=r"a\.safetensors: .*90 tensors.*layer0\.weight"):
        load(path)


def test_no_tensors_at_all_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.safetensors: .*0 tensors.*give an RMVPE checkpoint"):
        load(write_raw(tmp_path / "a.safetensors", {}))


def test_a_u_net_too_deep_for_its_bands_is_no_network(tmp_path: Path) -> None:
    tensors = dict(random_checkpoint().tensors)
    tensors |= {f"unet.encoder.layers.{i}.x": np.zeros(1, np.float32) for i in range(12)}
    with pytest.raises(
        UserError, match=r"a\.safetensors: (n_mels 128 must be a multiple|levels must be from 1 to 10, not 12)"
    ):
        load(write_raw(tmp_path / "a.safetensors", tensors))


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    tensors = random_checkpoint().tensors
    tensors["cnn.bias"][1] = np.inf
    with pytest.raises(UserError, match=r"cnn.bias holds NaN or infinity"):
        load(write_raw(tmp_path / "a.safetensors", tensors))


@pytest.mark.parametrize("n_bytes", [1, 7, 8, 100, -1])
def test_a_truncated_safetensors_is_reported(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "cut.safetensors"
    save(path, random_checkpoint())
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(UserError, match=r"cut\.safetensors.*download it again"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"\n<!doctype html><html>", "it is a web page"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "torch's format from before 1.6.*model.state_dict"),
        (b"RIFF....WAVEfmt ", "neither safetensors nor a torch zip file"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(UserError, match=rf"model\.pt.*{message}"):
        load(tmp_path / "model.pt")


def test_a_config_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    tensors = random_checkpoint().tensors
    path = write_raw(tmp_path / "a.safetensors", tensors, {"config": "{}", "format": "rmvpe-2"})
    with pytest.raises(UserError, match=r"a.safetensors.*'rmvpe-2'.*install a newer rmvpe"):
        load(path)
    path = write_raw(tmp_path / "b.safetensors", tensors, {"config": '{"attention": 1}', "format": "rmvpe-1"})
    with pytest.raises(UserError, match=r"b\.safetensors: ModelConfig: unknown setting attention"):
        load(path)


def test_a_config_that_contradicts_the_tensors_is_refused(tmp_path: Path) -> None:
    other = to_json(dataclasses.replace(TINY, name="other", gru_hidden=8))
    path = write_raw(tmp_path / "a.safetensors", random_checkpoint().tensors, {"config": other, "format": "rmvpe-1"})
    with pytest.raises(UserError, match=r"does not fit the network 'other': .*has shape \[12, 384\], not \[24, 384\]"):
        load(path)


def test_bfloat16_safetensors_are_widened(tmp_path: Path) -> None:
    wanted = {  # the upper half of each float32
        name: (tensor.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        for name, tensor in random_checkpoint().tensors.items()
    }
    header, data, end = {}, b"", 0
    for name, tensor in wanted.items():
        start, end = end, end + 2 * tensor.size
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, end]}
        data += (tensor.view(np.uint32) >> 16).astype("<u2").tobytes()
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert_same(load(tmp_path / "a.safetensors"), Checkpoint(TINY, wanted))


# --- torch files


@pytest.mark.parametrize("wrap", ["flat", "model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_wrapper_in_circulation_reads(tmp_path: Path, wrap: str, prefix: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    original = random_checkpoint()
    state = {prefix + name: torch.tensor(tensor).to(getattr(torch, dtype)) for name, tensor in original.tensors.items()}
    state[f"{prefix}unet.encoder.bn.num_batches_tracked"] = torch.tensor(5)
    state[f"{prefix}unet.tf.layers.0.conv.0.weight"] = torch.zeros(2, 2, 3, 3)
    torch.save(state if wrap == "flat" else {wrap: state, "optimizer": {"lr": 1}, "epoch": 3}, tmp_path / "a.pt")
    wanted = {name: state[prefix + name].float().numpy() for name in original.tensors}
    assert_same(load(tmp_path / "a.pt"), Checkpoint(TINY, wanted))


def test_what_is_ignored_has_a_reason(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(tensor) for name, tensor in random_checkpoint().tensors.items()}
    state |= {"unet.encoder.bn.num_batches_tracked": torch.tensor(5), "unet.tf.layers.0.x": torch.zeros(1), "note": "x"}
    torch.save({"model": state, "epoch": 3}, tmp_path / "a.pt")
    with checkpoints.open_tensors(tmp_path / "a.pt") as file:
        selection = checkpoints.select(file)
    assert selection.problems == []
    assert not selection.declared
    assert selection.ignored == {
        "epoch": "not part of the weights",
        "note": "not a tensor but a str",
        "unet.encoder.bn.num_batches_tracked": "a counter of training batches, which prediction does not use",
        "unet.tf.layers.0.x": "the TimbreFilter, which this network does not use",
    }


def test_a_torch_file_of_something_else_is_reported(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(UserError, match=r"list\.pt.*state_dict"):
        load(tmp_path / "list.pt")
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "module.pt")
    with pytest.raises(UserError, match=r"module\.pt.*model\.state_dict"):
        load(tmp_path / "module.pt")


# --- names


def test_bundled_weights_are_found_by_name_and_their_hash_is_checked(tmp_path: Path) -> None:
    folder = tmp_path
    original = random_checkpoint()
    save(folder / "x.safetensors", original, "float32")
    digest = hashlib.sha256((folder / "x.safetensors").read_bytes()).hexdigest()
    (folder / "README.md").write_text("the model card")
    path = (folder / "x.safetensors").rename(folder / f"tiny-{digest[:8]}.safetensors")
    assert checkpoints.bundled_weights(folder) == {"tiny": path.name}
    assert_same(load("tiny", folder=folder), original)
    path.rename(folder / "tiny-00000000.safetensors")
    with pytest.raises(UserError, match=rf"tiny-00000000.*00000000.*{digest[:8]}.*install rmvpe again"):
        load("tiny", folder=folder)


def test_an_unknown_name_lists_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "tiny-01234567.safetensors").touch()
    with pytest.raises(UserError, match=r"'tinny'.* tiny;.*\.safetensors or \.pt file"):
        load("tinny", folder=tmp_path)
    with pytest.raises(UserError, match=r"'e2e0' is a network .*e2e0, e2e, small.* tiny;"):
        load("e2e0", folder=tmp_path)


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.pt.*give a \.safetensors or \.pt file"):
        load(tmp_path / "gone.pt")
    with pytest.raises(UserError, match=r"is a folder without a checkpoint.*Orbax checkpoint"):
        load(tmp_path)
    (tmp_path / "best.safetensors").touch()  # as in the folder of a training run
    with pytest.raises(UserError, match=r"best\.safetensors is not a checkpoint: it is empty"):
        load(tmp_path)


def test_the_folder_of_a_run_stands_for_its_best_weights_else_the_last(tmp_path: Path) -> None:
    best, last = random_checkpoint(metadata={"step": "1"}), random_checkpoint(metadata={"step": "2"})
    save(tmp_path / "last.safetensors", last)
    assert load(tmp_path).metadata == {"step": "2"}
    save(tmp_path / "best.safetensors", best)
    assert load(tmp_path).metadata == {"step": "1"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_or_device_as_weights_is_one_sentence_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.safetensors")
    for path in (tmp_path / "f.safetensors", Path("/dev/null")):
        with pytest.raises(UserError, match=rf"{path} is .*, not a regular file"):
            load(path)


def test_an_orbax_folder_without_jax_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for item in ("weights", "about"):
        (tmp_path / item).mkdir()
    for name in [name for name in sys.modules if name.split(".")[0] == "rmvpe_jax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(UserError, match=r"Orbax folder .*(pip install jax|needs Python 3\.11)"):
        load(tmp_path)


def test_known_files_are_identified_by_whole_hashes() -> None:
    assert len(KNOWN_FILES) == 4
    assert all(len(bytes.fromhex(digest)) == 32 for digest in KNOWN_FILES)


def test_an_opened_checkpoint_reads_a_tensor_when_it_is_asked_for(tmp_path: Path):
    original = random_checkpoint(metadata={"step": "3"})
    save(tmp_path / "a.safetensors", original)
    with store.opened(tmp_path / "a.safetensors") as found:
        assert (found.config, found.metadata) == (original.config, original.metadata)
        assert list(found.tensors) == list(original.tensors)
        first = found.tensors["cnn.weight"]
        assert np.array_equal(first, original.tensors["cnn.weight"])
        assert found.tensors["cnn.weight"] is not first  # nothing keeps it
        whole = store.in_memory(found)
    assert all(np.array_equal(whole.tensors[name], tensor) for name, tensor in original.tensors.items())
    assert store.in_memory(whole) is whole
