"""Both trainers on one stream: the same losses, the same files, runs that resume, and runs that change framework."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("grain")

from convert.program import main as convert  # noqa: E402
from rmvpe.checkpoint.store import load  # noqa: E402
from rmvpe.chunked_gru import salience  # noqa: E402
from rmvpe.config import ModelConfig, TrainConfig  # noqa: E402
from rmvpe.data.pipeline import training_batches, training_dataset  # noqa: E402
from rmvpe.data.readers.base import Item  # noqa: E402
from rmvpe.data.readers.hybrid import Hybrid  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe.evaluation.agreement import compare_salience  # noqa: E402
from rmvpe.evaluation.recommend import NAMES  # noqa: E402
from rmvpe.training.folder import FAILED_BATCH  # noqa: E402
from rmvpe.training.loop import Trainer, fit, resume  # noqa: E402
from rmvpe.training.run_log import read_log  # noqa: E402
from rmvpe.training.schedule import learning_rate  # noqa: E402
from rmvpe.training.state import changes, fingerprint  # noqa: E402
from rmvpe_jax import checkpoint as jax_checkpoint  # noqa: E402
from rmvpe_jax.train import JaxTrainer  # noqa: E402
from rmvpe_torch.train import TorchTrainer  # noqa: E402
from tests.helpers.batches import mapped  # noqa: E402
from tests.helpers.hybrid import make_hybrid  # noqa: E402
from tests.helpers.settings import decoding  # noqa: E402
from tests.helpers.states import assert_same_state  # noqa: E402

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


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_log(run) if "loss" in row]


def test_twenty_steps_give_the_same_losses_and_the_same_f0(hybrid):
    """In float32, as users train. What differs is rounding (see the test below), which training amplifies: other
    seeds of this small network drift by 3e-6 to 2e-4 in twenty steps."""
    config = dataclasses.replace(CONFIG, ema_decay=0.0)
    data = training_dataset(Hybrid(hybrid, "train"), config)
    torch_side = trainer("torch", config)
    jax_side = trainer("jax", config, torch_side.checkpoint({}))
    for step in range(20):
        batch = data[step]
        a, b = (side.start_step([batch], 5e-4).record() for side in (torch_side, jax_side))
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4), step
        # Adam divides by the gradient's size: weights whose gradient is rounding noise drift apart within a few steps.
        # How far depends on the processor: 2 % of the gradient was seen. The test below is the exact one.
        for name in ("grad_norm", "param_norm", "update_norm"):
            assert a[name] == pytest.approx(b[name], rel=0.1), (step, name)
    log_mel = data[0].log_mel
    x, y = (salience(side.network(side.checkpoint({})), log_mel).reshape(-1, 360) for side in (torch_side, jax_side))
    assert compare_salience(x, y, decoding(threshold=0.0)).max_cents < 1.0


def test_the_arithmetic_of_twenty_steps_is_the_same(hybrid):
    """In float64, where rounding cannot hide or cause anything: the losses differ by no more than the learning rate
    does, which JAX takes as float32 (5e-8 of it)."""
    config = dataclasses.replace(CONFIG, ema_decay=0.0)
    data = training_dataset(Hybrid(hybrid, "train"), config)
    with jax.enable_x64(True):
        torch_side = trainer("torch", config)
        jax_side = trainer("jax", config, torch_side.checkpoint({}))
        assert isinstance(torch_side, TorchTrainer)
        assert isinstance(jax_side, JaxTrainer)
        torch_side.model.double()
        jax_side.state = jax.tree.map(
            lambda leaf: leaf.astype(np.float64) if leaf.dtype == np.float32 else leaf, jax_side.state
        )
        for step in range(20):
            batch = mapped(data[step], lambda a: a.astype(np.float64) if a.dtype == np.float32 else a)
            a, b = (side.start_step([batch], 5e-4).record() for side in (torch_side, jax_side))
            for name in a:
                assert a[name] == pytest.approx(b[name], rel=1e-6), (step, name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_writes_weights_that_load_and_a_log(framework, hybrid, tmp_path):
    side = trainer(framework)
    scores = fit(side, CONFIG, Hybrid(hybrid, "train"), Hybrid(hybrid, "valid"), tmp_path)
    assert scores is not None
    assert set(scores.pooled) == {"clean", "0 dB"}
    assert side.step == 4
    published = side.checkpoint({})
    for name in ("last", "best"):
        assert load(tmp_path / f"{name}.safetensors").config == TINY
    last = load(tmp_path / "last.safetensors")
    for name, tensor in last.tensors.items():
        np.testing.assert_array_equal(tensor, published.tensors[name], err_msg=name)
    assert last.metadata["step"] == "4"
    log = read_log(tmp_path)
    steps = [row for row in log if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert all(row["loss_net"] == row["loss"] for row in steps)  # no dropout, no floor
    assert all(row["param_norm"] > row["update_norm"] > 0 for row in steps)
    assert all(0 <= row["data_wait"] <= 1 and row["examples_per_s"] > 0 for row in steps)
    assert [row["step"] for row in log if "validation" in row] == [2, 4]
    assert json.loads((tmp_path / "config.json").read_text())["model"]["name"] == "tiny"
    if framework == "jax":  # the training state is a checkpoint that inference and `convert` read
        folder = jax_checkpoint.load(tmp_path)
        for name, tensor in folder.tensors.items():
            np.testing.assert_array_equal(tensor, published.tensors[name], err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_last_states_and_the_best_are_kept(framework, hybrid, tmp_path):
    config = dataclasses.replace(CONFIG, validation_interval=1, iterations=6, keep=2)
    side = trainer(framework, config)
    fit(side, config, Hybrid(hybrid, "train"), Hybrid(hybrid, "valid"), tmp_path)
    best = int(load(tmp_path / "best.safetensors").metadata["step"])
    assert set(side.states.find(tmp_path)) == {5, 6, best}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_resumed_run_continues_to_the_bit(framework, hybrid, tmp_path):
    source = Hybrid(hybrid, "train")
    whole, part = tmp_path / "whole", tmp_path / "part"
    fit(trainer(framework), CONFIG, source, None, whole)
    half = dataclasses.replace(CONFIG, iterations=2)
    fit(trainer(framework, half), half, source, None, part)
    resumed = trainer(framework)
    state = resume(resumed, part, "latest")
    assert resumed.step == state.step == 2
    assert state.examples == 8
    fit(resumed, CONFIG, source, None, part, state)
    assert losses(whole) == losses(part)
    a, b = (load(run / "last.safetensors").tensors for run in (whole, part))
    for name, tensor in a.items():
        np.testing.assert_array_equal(tensor, b[name], err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_earlier_state_is_resumed_and_later_ones_set_aside(framework, hybrid, tmp_path):
    source = Hybrid(hybrid, "train")
    fit(trainer(framework), CONFIG, source, None, tmp_path)
    before = losses(tmp_path)
    side = trainer(framework)
    with pytest.raises(UserError, match="no state of iteration 3: choose latest or one of 2, 4"):
        resume(side, tmp_path, "3")
    state = resume(side, tmp_path, "2")
    assert list(side.states.find(tmp_path)) == [2]
    assert list(side.states.find(tmp_path / "set-aside-at-2")) == [4]
    fit(side, CONFIG, source, None, tmp_path, state)
    assert losses(tmp_path) == before


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_hops_frameworks(framework, hybrid, tmp_path):
    source = Hybrid(hybrid, "train")
    other = {"torch": "jax", "jax": "torch"}[framework]
    # A low learning rate: at 5e-4 the frameworks' roundings drift apart by 1e-4 in twenty steps without any hop
    config = dataclasses.replace(CONFIG, iterations=20, validation_interval=10, decay_steps=5, learning_rate=2e-4)
    start = trainer("torch", config).checkpoint({})
    whole = {name: tmp_path / f"whole-{name}" for name in FRAMEWORKS}
    for name in FRAMEWORKS:
        fit(trainer(name, config, start), config, source, None, whole[name])
    half = dataclasses.replace(config, iterations=10)
    fit(trainer(framework, half, start), half, source, None, tmp_path / "run")
    command = {"torch": "torch2jax", "jax": "jax2torch"}[framework]
    assert convert([command, str(tmp_path / "run")]) == 0
    hopped = tmp_path / f"run-{other}"
    side = trainer(other, config)
    state = resume(side, hopped, "latest")
    assert (state.step, state.updates, state.examples) == (10, 10, 40)
    fit(side, config, source, None, hopped, state)
    for name in FRAMEWORKS:
        np.testing.assert_allclose(losses(hopped), losses(whole[name]), rtol=1e-4)
    rates = [row["learning_rate"] for row in read_log(hopped) if "loss" in row]
    assert rates == [learning_rate(step, config) for step in range(20)]
    # Away and back again is the same state, bit for bit
    back = {"torch": "jax2torch", "jax": "torch2jax"}[framework]
    assert convert([back, str(hopped), "--iteration", "10", "-o", str(tmp_path / "back")]) == 0
    original = trainer(framework).states
    a, b = original.load(original.find(tmp_path / "run")[10]), original.load(original.find(tmp_path / "back")[10])
    assert dataclasses.replace(a.config) == b.config
    for part in ("weights", "average", "first_moment", "second_moment"):
        tensors, returned = getattr(a, part), getattr(b, part)
        assert tensors.keys() == returned.keys()
        assert tensors
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, returned[name], err_msg=f"{part} {name}")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_state_of_another_network_is_refused(framework, hybrid, tmp_path):
    fit(trainer(framework), dataclasses.replace(CONFIG, iterations=1), Hybrid(hybrid, "train"), None, tmp_path)
    other = dataclasses.replace(CONFIG, model=dataclasses.replace(TINY, name="other", gru_hidden=8))
    with pytest.raises(UserError, match=r"'tiny'.*'other'"):
        resume(trainer(framework, other), tmp_path, "latest")
    with pytest.raises(UserError, match="holds no training state"):
        resume(trainer(framework), tmp_path / "nothing", "latest")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_state(framework, hybrid, tmp_path):
    config = dataclasses.replace(CONFIG, iterations=2)
    side = trainer(framework, config)
    fit(side, config, Hybrid(hybrid, "train"), None, tmp_path)
    kept = (tmp_path / "last.safetensors").read_bytes()

    class Broken(Hybrid):
        def __getitem__(self, index: int) -> Item:
            item = super().__getitem__(index)
            spoiled = dataclasses.replace(item, voice=np.full_like(item.voice, np.nan))
            return spoiled if item.name == "glide-2" else item

    resumed = trainer(framework)
    state = resume(resumed, tmp_path, "latest")
    with pytest.raises(UserError, match=r"the loss became nan at iteration 3 on glide-2\S* at [\d.]+ s \(all in"):
        fit(resumed, CONFIG, Broken(hybrid, "train"), None, tmp_path, state)
    assert (tmp_path / "last.safetensors").read_bytes() == kept
    assert list(side.states.find(tmp_path)) == [2]
    failed = json.loads((tmp_path / FAILED_BATCH).read_text())
    assert failed["step"] == 3
    assert len(failed["batch"]) == 4
    assert {row["file"].startswith("glide-2") for row in failed["batch"]} == {True, False}


def test_the_loss_is_shown_net_of_the_dropout_floor(hybrid, tmp_path):
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(TINY, dropout=0.25), iterations=1)
    fit(trainer("torch", config), config, Hybrid(hybrid, "train"), None, tmp_path)
    (row,) = (row for row in read_log(tmp_path) if "loss" in row)
    assert row["loss"] - row["loss_net"] == pytest.approx(0.25 * np.log(2), rel=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_accumulated_batches_are_one_update(framework, hybrid):
    config = dataclasses.replace(CONFIG, grad_accumulation=2, batch_size=2)
    stream = training_batches(Hybrid(hybrid, "train"), config)
    side = trainer(framework, config)
    record = side.start_step([next(stream), next(stream)], 5e-4).record()
    assert side.step == 1
    assert np.isfinite(list(record.values())).all()


def test_bfloat16_convolutions_train_in_both(hybrid):
    low = dataclasses.replace(CONFIG, conv_dtype="bfloat16")
    batch = training_dataset(Hybrid(hybrid, "train"), low)[0]
    start = trainer("torch").checkpoint({})
    full = trainer("torch", CONFIG, start).start_step([batch], 5e-4).record()["loss"]
    for framework in FRAMEWORKS:
        side = trainer(framework, low, start)
        assert side.start_step([batch], 5e-4).record()["loss"] == pytest.approx(full, rel=2e-2)
        assert all(tensor.dtype == np.float32 for tensor in side.checkpoint({}).tensors.values())


class AllVoiced(Hybrid):
    """A validation split without an unvoiced frame, in which no threshold can be found."""

    def __getitem__(self, index: int) -> Item:
        item = super().__getitem__(index)
        return dataclasses.replace(item, f0_hz=np.full_like(item.f0_hz, 200.0))


OWN = {"threshold": "0.77", "calibration": "3.0000,1.0000"}


def recommended(path: Path) -> dict[str, str]:
    return {name: text for name, text in load(path).metadata.items() if name in NAMES}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_threshold_and_calibration_are_part_of_the_state(framework, hybrid, tmp_path):
    """A run that is stopped between two validations, or just after one, goes on as the one that was not."""
    source, valid = Hybrid(hybrid, "train"), Hybrid(hybrid, "valid")
    initial = dataclasses.replace(trainer(framework).checkpoint({}), metadata=dict(OWN))
    whole = tmp_path / "whole"
    whole_trainer = trainer(framework, CONFIG, initial)
    fit(whole_trainer, CONFIG, source, valid, whole, initial=initial)
    states = whole_trainer.states
    stored = states.load(states.find(whole)[4])
    assert recommended(whole / "last.safetensors") == {
        name: stored.about[name] for name in NAMES if name in stored.about
    }
    for stop in (1, 2, 3):
        part = tmp_path / f"part-{stop}"
        short = dataclasses.replace(CONFIG, iterations=stop, validation_interval=2)
        fit(trainer(framework, short, initial), short, source, None if stop == 1 else valid, part, initial=initial)
        # Step 3 was validated as the last one of the short run, which the whole run has not done
        wanted = "2" if stop == 3 else "latest"
        resumed = trainer(framework)
        state = resume(resumed, part, wanted)
        if stop == 1:
            assert {name: state.about[name] for name in NAMES} == OWN
        fit(resumed, CONFIG, source, valid, part, state)
        assert_same_state(states.load(states.find(part)[4]), stored)
        assert (part / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_where_nothing_can_be_fitted_the_last_ones_stay(framework, hybrid, tmp_path):
    source = Hybrid(hybrid, "train")
    initial = dataclasses.replace(trainer(framework).checkpoint({}), metadata=dict(OWN))
    for name, valid in (("voiced", AllVoiced(hybrid, "valid")), ("none", None)):
        run = tmp_path / name
        fit(trainer(framework, CONFIG, initial), CONFIG, source, valid, run, initial=initial)
        assert recommended(run / "last.safetensors") == OWN
        command = {"torch": "torch2jax", "jax": "jax2torch"}[framework]
        assert convert([command, str(run), "-o", str(run / "hopped")]) == 0
        store = trainer({"torch": "jax", "jax": "torch"}[framework]).states
        assert OWN.items() <= store.load(store.find(run / "hopped")[4]).about.items()
    fit(trainer(framework), CONFIG, source, AllVoiced(hybrid, "valid"), tmp_path / "new")
    assert recommended(tmp_path / "new" / "last.safetensors") == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_state_from_before_it_had_a_threshold_resumes(framework, hybrid, tmp_path):
    source, half = Hybrid(hybrid, "train"), dataclasses.replace(CONFIG, iterations=2)
    side = trainer(framework, half)
    fit(side, half, source, None, tmp_path)
    old = side.states.load(side.states.find(tmp_path)[2])
    about = {name: text for name, text in old.about.items() if name not in (*NAMES, "data")}
    side.states.save(tmp_path, dataclasses.replace(old, about=about))
    resumed = trainer(framework)
    state = resume(resumed, tmp_path, "latest")
    assert changes(state, half, fingerprint(source), 1) == []
    fit(resumed, CONFIG, source, None, tmp_path, state)
    assert recommended(tmp_path / "last.safetensors") == {}
