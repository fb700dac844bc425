"""Both trainers on one stream: the same losses, the same files, and runs that resume."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("grain")

from rmvpe.checkpoint import load  # noqa: E402
from rmvpe.config import ModelConfig, TrainConfig  # noqa: E402
from rmvpe.data.pipeline import training_dataset  # noqa: E402
from rmvpe.data.sources import Hybrid  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe.training import Trainer, fit, read_log  # noqa: E402
from rmvpe_jax import checkpoint as jax_checkpoint  # noqa: E402
from rmvpe_jax.train import JaxTrainer  # noqa: E402
from rmvpe_torch.train import TorchTrainer  # noqa: E402
from tests.hybrid import make_hybrid  # noqa: E402

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=16, dropout=0.0)
CONFIG = TrainConfig(
    model=TINY, excerpt_frames=32, batch_size=4, iterations=4, validation_interval=2, ema_decay=0.9, warmup_steps=2
)
FRAMEWORKS = ("torch", "jax")


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory) -> Path:
    return make_hybrid(tmp_path_factory.mktemp("data") / "Hybrid")


def trainer(framework: str, config: TrainConfig = CONFIG, initial=None) -> Trainer:
    if framework == "torch":
        return TorchTrainer(config, "cpu", initial)
    return JaxTrainer(config, jax.local_devices(backend="cpu")[:1], initial)


def test_same_start_and_batches_give_the_same_losses_and_weights(hybrid):
    data = training_dataset(Hybrid(hybrid, "train"), CONFIG)
    torch_side = trainer("torch")
    jax_side = trainer("jax", initial=torch_side.checkpoint({}))
    for step in range(3):
        a, b = (side.train_step(data[step], 5e-4) for side in (torch_side, jax_side))
        # Adam divides by the gradient's size: weights whose gradient is rounding noise drift apart within a few steps
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-2)
    averages = [side.checkpoint({}).tensors for side in (torch_side, jax_side)]
    for name, tensor in averages[0].items():
        np.testing.assert_allclose(tensor, averages[1][name], atol=2e-3, err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_writes_weights_that_load_and_a_log(framework, hybrid, tmp_path):
    side = trainer(framework)
    scores = fit(side, CONFIG, Hybrid(hybrid, "train"), Hybrid(hybrid, "valid"), tmp_path)
    assert set(scores) == {"clean", "0 dB"}
    assert side.step == 4
    published = side.checkpoint({})
    for name in ("last", "best"):
        assert load(tmp_path / f"{name}.safetensors").config == TINY
    last = load(tmp_path / "last.safetensors")
    for name, tensor in last.tensors.items():
        np.testing.assert_array_equal(tensor, published.tensors[name], err_msg=name)
    assert last.metadata["step"] == "4"
    log = read_log(tmp_path)
    assert [row["step"] for row in log if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in log if "validation" in row] == [2, 4]
    assert json.loads((tmp_path / "config.json").read_text())["model"]["name"] == "tiny"
    if framework == "jax":  # the training state is a checkpoint that inference and `convert` read
        folder = jax_checkpoint.load(tmp_path)
        for name, tensor in folder.tensors.items():
            np.testing.assert_array_equal(tensor, published.tensors[name], err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_resumed_run_continues_to_the_bit(framework, hybrid, tmp_path):
    source = Hybrid(hybrid, "train")
    whole, first, second = tmp_path / "whole", tmp_path / "first", tmp_path / "first"
    fit(trainer(framework), CONFIG, source, None, whole)
    half = dataclasses.replace(CONFIG, iterations=2)
    fit(trainer(framework, half), half, source, None, first)
    resumed = trainer(framework, dataclasses.replace(CONFIG, seed=0))
    resumed.restore(second)
    assert resumed.step == 2
    fit(resumed, CONFIG, source, None, second)
    losses = [[row["loss"] for row in read_log(run) if "loss" in row] for run in (whole, second)]
    assert losses[0] == losses[1]
    a, b = (load(run / "last.safetensors").tensors for run in (whole, second))
    for name, tensor in a.items():
        np.testing.assert_array_equal(tensor, b[name], err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_state_of_another_network_is_refused(framework, hybrid, tmp_path):
    fit(trainer(framework), dataclasses.replace(CONFIG, iterations=1), Hybrid(hybrid, "train"), None, tmp_path)
    other = dataclasses.replace(CONFIG, model=dataclasses.replace(TINY, name="other", gru_hidden=8))
    with pytest.raises(UserError, match="'tiny', not of this run's 'other'"):
        trainer(framework, other).restore(tmp_path)
    with pytest.raises(UserError, match="holds no training state"):
        trainer(framework).restore(tmp_path / "nothing")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(framework, hybrid, tmp_path):
    side = trainer(framework)
    fit(side, dataclasses.replace(CONFIG, iterations=2), Hybrid(hybrid, "train"), None, tmp_path)
    kept = (tmp_path / "last.safetensors").read_bytes()

    class Broken(Hybrid):
        def __getitem__(self, index: int) -> dict:
            item = super().__getitem__(index)
            return item | {"voice": np.full_like(item["voice"], np.nan)}

    with pytest.raises(UserError, match="the loss became nan at step 3"):
        fit(side, CONFIG, Broken(hybrid, "train"), None, tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == kept


def test_one_device_and_two_see_the_same_losses(hybrid):
    devices = jax.local_devices(backend="cpu")
    if len(devices) < 2:
        pytest.skip("needs XLA_FLAGS=--xla_force_host_platform_device_count=2, which tests/conftest.py sets")
    start = trainer("torch").checkpoint({})
    data = training_dataset(Hybrid(hybrid, "train"), CONFIG)
    one, two = JaxTrainer(CONFIG, devices[:1], start), JaxTrainer(CONFIG, devices[:2], start)
    for step in range(3):
        a, b = (side.train_step(data[step], 5e-4)["loss"] for side in (one, two))
        assert a == pytest.approx(b, rel=1e-5)


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(UserError, match="batch_size 4 cannot be split over 3 devices"):
        JaxTrainer(CONFIG, jax.local_devices(backend="cpu")[:1] * 3)


def test_bfloat16_convolutions_train_in_both(hybrid):
    low = dataclasses.replace(CONFIG, conv_dtype="bfloat16")
    batch = training_dataset(Hybrid(hybrid, "train"), low)[0]
    start = trainer("torch").checkpoint({})
    full = trainer("torch", CONFIG, start).train_step(batch, 5e-4)["loss"]
    for framework in FRAMEWORKS:
        side = trainer(framework, low, start)
        assert side.train_step(batch, 5e-4)["loss"] == pytest.approx(full, rel=2e-2)
        assert all(tensor.dtype == np.float32 for tensor in side.checkpoint({}).tensors.values())
