"""Orbax folders: what is written is read, in the neutral form, and what is no checkpoint is refused in one sentence."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import MelConfig, ModelConfig
from rmvpe.errors import UserError
from rmvpe_jax import checkpoint as orbax
from rmvpe_jax.model import RMVPE
from rmvpe_jax.params import ConversionError

TINY = ModelConfig(
    name="tiny", mel=MelConfig(n_mels=8), levels=1, blocks=1, inter_layers=1, channels=2, gru_hidden=3, n_bins=5
)
METADATA = {"step": "1200", "licence": "Apache-2.0"}


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in expected_tensors(TINY).items()}


def assert_same(found: Checkpoint, tensors: dict[str, np.ndarray]) -> None:
    assert list(found.tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert found.tensors[name].tobytes() == tensor.tobytes(), name


@pytest.mark.parametrize("name", ["ckpt", "a #1, 100 % & ü"])  # what a URL would have to quote
def test_a_folder_gives_back_what_was_saved(tmp_path, tensors, name):
    orbax.save(tmp_path / name, tensors, TINY, METADATA)
    found = orbax.load(tmp_path / name)
    assert found.config == TINY
    assert found.metadata == METADATA
    assert_same(found, tensors)
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing temporary is left


def test_a_model_is_saved_and_filled(tmp_path, tensors):
    model = orbax.load_model(Checkpoint(TINY, tensors, {}))
    assert model.unet.encoder.bn.use_running_average  # in evaluation mode
    orbax.save(tmp_path / "ckpt", model, TINY, METADATA)
    assert_same(orbax.load(tmp_path / "ckpt"), tensors)
    other = RMVPE(TINY, seed=4)
    orbax.load_tensors(other, orbax.load(tmp_path / "ckpt"))
    assert_same(orbax.to_checkpoint(other, {}), tensors)


def test_an_older_checkpoint_is_replaced(tmp_path, tensors):
    orbax.save(tmp_path / "ckpt", tensors, TINY, {"step": "1"})
    orbax.save(tmp_path / "ckpt", tensors, TINY, {"step": "2"})
    assert orbax.load(tmp_path / "ckpt").metadata == {"step": "2"}


def test_training_state_beside_the_weights_is_left_alone(tmp_path, tensors):
    flat = orbax.get_weights(orbax.load_model(Checkpoint(TINY, tensors, {})))
    items = orbax.items(flat, TINY, METADATA) | {"optimizer": ocp.args.PyTreeSave({"mu": np.ones(3)})}
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(7, args=ocp.args.Composite(**items))
        manager.wait_until_finished()
    assert_same(orbax.load(tmp_path / "run" / "7"), tensors)
    assert_same(orbax.load(tmp_path / "run"), tensors)


def test_a_run_folder_stands_for_its_latest_step(tmp_path, tensors):
    for step in ("9", "10", "state-0000000011"):
        orbax.save(tmp_path / step, tensors, TINY, {"step": step})
    (tmp_path / "99").mkdir()  # an unfinished step
    (tmp_path / "logs").mkdir()
    assert orbax.load(tmp_path).metadata == {"step": "state-0000000011"}


def test_no_checkpoint_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist: give the folder of an Orbax checkpoint"):
        orbax.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file is a file: give the folder"):
        orbax.load(tmp_path / "file")
    with pytest.raises(UserError, match="holds no checkpoint: give a folder that"):
        orbax.load(tmp_path)


@pytest.mark.parametrize("harm", ["cut", "lost", "nameless", "garbled"])
def test_a_damaged_folder_is_a_users_mistake(tmp_path, tensors, harm, capfd):
    folder = tmp_path / "ckpt"
    orbax.save(folder, tensors, TINY, METADATA)
    if harm == "cut":
        for data in folder.glob("weights/**/d/*"):
            data.write_bytes(data.read_bytes()[:50])
    elif harm == "lost":
        (folder / "weights" / "manifest.ocdbt").unlink()
    elif harm == "nameless":
        (folder / "weights" / "_METADATA").unlink()
    else:
        (folder / "about" / "metadata").write_text("{")
    with pytest.raises(UserError, match=r"is truncated or damaged|cannot be read"):
        orbax.load(folder)
    assert "Traceback" not in capfd.readouterr().err


def test_other_formats_and_settings_are_refused(tmp_path, tensors):
    orbax.save(tmp_path / "ckpt", tensors, TINY, METADATA)
    path = tmp_path / "ckpt" / "about" / "metadata"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"format": "rmvpe-9"}))
    with pytest.raises(UserError, match="has format 'rmvpe-9', and this version reads 'rmvpe-1'"):
        orbax.load(tmp_path / "ckpt")
    path.write_text(json.dumps(about | {"config": about["config"] | {"depth": 3}}))
    with pytest.raises(UserError, match="unknown setting depth"):
        orbax.load(tmp_path / "ckpt")
    path.write_text(json.dumps(about | {"config": about["config"] | {"channels": 4}}))
    with pytest.raises(UserError, match="has shape"):
        orbax.load(tmp_path / "ckpt")


def test_a_folder_of_something_else_is_not_overwritten(tmp_path, tensors):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="choose a new or empty folder"):
        orbax.save(tmp_path, tensors, TINY, METADATA)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_path_that_cannot_be_written_is_a_users_mistake(tmp_path, tensors):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write .*: (Not a directory|File exists); choose another folder"):
        orbax.save(tmp_path / "file" / "ckpt", tensors, TINY, METADATA)


def test_tensors_of_another_network_are_not_written(tmp_path, tensors):
    del tensors["cnn.bias"]
    with pytest.raises(ConversionError, match=r"cnn\.bias is missing"):
        orbax.save(tmp_path / "ckpt", tensors, TINY, METADATA)
    assert not list(tmp_path.iterdir())
