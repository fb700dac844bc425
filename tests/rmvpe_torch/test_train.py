"""The torch trainer by hand: losses, gradients, norms, averages, precision, and states that continue to the bit."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmvpe.checkpoint.architecture import expected_tensors  # noqa: E402
from rmvpe.checkpoint.store import Checkpoint  # noqa: E402
from rmvpe.chunked_gru import salience  # noqa: E402
from rmvpe.config import ModelConfig, TrainConfig  # noqa: E402
from rmvpe.data.pipeline import Batch  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe.training import losses as definition  # noqa: E402
from rmvpe_torch import state  # noqa: E402
from rmvpe_torch.checkpoint import load_model  # noqa: E402
from rmvpe_torch.losses import LOSSES  # noqa: E402
from rmvpe_torch.train import TorchTrainer  # noqa: E402
from tests.helpers.batches import made_up  # noqa: E402
from tests.helpers.threads import one_torch_thread  # noqa: E402

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=16, dropout=0.0)
CONFIG = TrainConfig(model=TINY, excerpt_frames=32, batch_size=4, clip_grad_norm=1e9)
FEATURES = TrainConfig(  # everything that a state must carry
    model=dataclasses.replace(TINY, dropout=0.25),
    excerpt_frames=32,
    batch_size=2,
    grad_accumulation=2,
    ema_decay=0.9,
    optimizer="adamw",
    loss="focal",
    seed=5,
)
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch's defaults for Adam, which optax shares


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with one_torch_thread():
        yield


def batch(number: int, count: int = 4) -> Batch:
    rng = np.random.default_rng(number)
    log_mel = rng.normal(-5, 2, (count, 32, 128)).astype(np.float32)
    return made_up(log_mel, rng.random((count, 32, 360)).astype(np.float32) ** 8)


def steps(trainer: TorchTrainer, first: int, last: int, rate: float = 1e-3) -> list[dict[str, float]]:
    parts, size = trainer.config.grad_accumulation, trainer.config.batch_size
    return [
        trainer.train_step([batch(step * parts + part, size) for part in range(parts)], rate)
        for step in range(first, last)
    ]


def gradients(start: Checkpoint, batches: list[Batch], kind: str = "bce") -> tuple[float, dict[str, np.ndarray]]:
    """Mean loss and mean gradient of the batches, each with its own batch norm, without the trainer."""
    model = load_model(start).train()
    loss = torch.stack(
        [LOSSES[kind](model.logits(torch.tensor(b.log_mel)), torch.tensor(b.target)) for b in batches]
    ).mean()
    loss.backward()
    return float(loss.detach()), {
        name: value.grad.numpy() for name, value in model.named_parameters() if value.grad is not None
    }


def norm(arrays) -> float:
    return float(np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in arrays)))


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_are_those_of_the_definition(kind):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 6, (2, 8, 360)).astype(np.float32)  # sure and unsure, right and wrong
    for values in (rng.random(logits.shape), rng.integers(0, 2, logits.shape), np.zeros(logits.shape)):
        target = values.astype(np.float32)
        found = LOSSES[kind](torch.from_numpy(logits), torch.from_numpy(target))
        # A mean of 5760 float32 terms; the definition is in float64
        assert float(found) == pytest.approx(definition.loss(kind, logits, target), rel=2e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_have_gradients_even_where_the_network_is_sure(kind):
    logits = torch.tensor([[[-200.0, 200.0, 0.0, 30.0]]], requires_grad=True)
    LOSSES[kind](logits, torch.tensor([[[1.0, 0.0, 0.0, 1.0]]])).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0, 0] < -0.1  # sure and wrong: a push upward
    assert logits.grad[0, 0, 1] > 0.1


@pytest.mark.parametrize("kind", LOSSES)
def test_one_update_by_hand(kind):
    trainer = TorchTrainer(dataclasses.replace(CONFIG, grad_accumulation=2, loss=kind))
    start = trainer.checkpoint({})
    loss, gradient = gradients(start, [batch(0), batch(1)], kind)
    record = trainer.train_step([batch(0), batch(1)], 1e-3)
    end = trainer.capture()
    # float32 sums in another order
    assert record["loss"] == pytest.approx(loss, rel=1e-6)
    assert record["grad_norm"] == pytest.approx(norm(gradient.values()), rel=1e-4)
    assert record["param_norm"] == pytest.approx(norm(end.weights[name] for name in gradient), rel=1e-5)
    changes = [end.weights[name] - start.tensors[name] for name in gradient]
    assert record["update_norm"] == pytest.approx(norm(changes), rel=1e-5)
    for name, value in gradient.items():
        scale = np.abs(value).max() + 1e-9
        np.testing.assert_allclose(end.first_moment[name], (1 - BETA1) * value, atol=1e-4 * scale, err_msg=name)
        squared = end.second_moment[name]
        np.testing.assert_allclose(squared, (1 - BETA2) * value**2, atol=1e-3 * scale**2, err_msg=name)
        # Adam's first update: both moments divided by their share, from the moments themselves
        expected = 1e-3 * (end.first_moment[name] / (1 - BETA1)) / (np.sqrt(squared / (1 - BETA2)) + EPSILON)
        moved = start.tensors[name] - end.weights[name]
        np.testing.assert_allclose(moved, expected, atol=2e-7, err_msg=name)  # rounding of weights around 1
    assert (trainer.step, trainer.updates, end.updates) == (1, 1, 1)


def test_the_gradient_is_clipped_and_its_norm_is_from_before():
    free = TorchTrainer(CONFIG)
    clipped = TorchTrainer(dataclasses.replace(CONFIG, clip_grad_norm=1e-3))
    a, b = (trainer.train_step([batch(0)], 1e-3) for trainer in (free, clipped))
    assert a["grad_norm"] == b["grad_norm"] > 0.01
    # The first moment is a tenth of the gradient that was used
    assert norm(clipped.capture().first_moment.values()) == pytest.approx(0.1 * 1e-3, rel=1e-3)  # torch adds 1e-6


def test_a_limit_of_0_switches_clipping_off():
    """Torch's own clipping would make every gradient 0."""
    free, unlimited = TorchTrainer(CONFIG), TorchTrainer(dataclasses.replace(CONFIG, clip_grad_norm=0.0))
    assert free.train_step([batch(0)], 1e-3) == unlimited.train_step([batch(0)], 1e-3)
    first = free.capture().first_moment
    for name, moment in unlimited.capture().first_moment.items():
        np.testing.assert_array_equal(moment, first[name])


def test_adamw_also_pulls_towards_zero():
    rate, decay = 1e-3, 0.1
    plain = TorchTrainer(CONFIG)
    decayed = TorchTrainer(dataclasses.replace(CONFIG, optimizer="adamw", weight_decay=decay))
    start = plain.capture().weights
    for trainer in (plain, decayed):
        trainer.train_step([batch(0)], rate)
    a, b = plain.capture(), decayed.capture()
    for name in a.first_moment:  # every parameter, biases and batch norms too
        np.testing.assert_allclose(a.weights[name] - b.weights[name], rate * decay * start[name], atol=2e-7)


def test_averaged_weights_by_hand():
    trainer = TorchTrainer(dataclasses.replace(CONFIG, ema_decay=0.5))
    expected = trainer.capture().weights
    for step in range(1, 8):
        steps(trainer, step, step + 1)
        decay = min(0.5, (1 + step) / (10 + step))  # the ramp reaches 0.5 at step 8
        latest = trainer.capture().weights
        expected = {name: decay * old + (1 - decay) * latest[name] for name, old in expected.items()}
    end = trainer.capture()
    for name, array in expected.items():
        np.testing.assert_allclose(end.average[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(trainer.checkpoint({}).tensors[name], end.average[name])
    log_mel = batch(9).log_mel
    predicted = load_model(trainer.checkpoint({}))(torch.from_numpy(log_mel)).detach().numpy()
    np.testing.assert_allclose(salience(trainer.network(trainer.checkpoint({})), log_mel), predicted, atol=1e-6)


def test_a_capture_has_the_official_names_and_memory_of_its_own():
    trainer = TorchTrainer(CONFIG)
    at_start = trainer.capture()
    assert set(at_start.weights) == set(expected_tensors(TINY))
    assert set(at_start.first_moment) == {name for name in at_start.weights if ".running_" not in name}
    assert not any(array.any() for array in at_start.second_moment.values())
    assert at_start.average == {}
    assert (at_start.updates, at_start.examples, at_start.about) == (0, 0, {})
    before = {name: array.copy() for name, array in at_start.weights.items()}
    steps(trainer, 0, 1)
    for name, array in before.items():
        assert array.dtype == np.float32
        assert at_start.weights[name].flags.c_contiguous
        np.testing.assert_array_equal(at_start.weights[name], array)


def low_precision(dtype: str) -> TrainConfig:
    return dataclasses.replace(FEATURES, conv_dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_twenty_steps_are_ten_and_a_restart_and_ten(dtype, tmp_path):
    config = low_precision(dtype)
    if dtype == "float16":
        need_float16()
    whole, first = TorchTrainer(config), TorchTrainer(config)
    expected = steps(whole, 0, 20)
    steps(first, 0, 10)
    captured = dataclasses.replace(first.capture(), about={"framework": "torch"})
    torch.rand(7)  # other code's use of torch's random numbers changes nothing
    second = TorchTrainer(config)
    steps(second, 100, 101)  # nor does what it was before
    second.restore(state.load(state.save(tmp_path, captured)))
    assert second.step == 10
    assert steps(second, 10, 20) == expected[10:]
    a, b = whole.capture(), second.capture()
    assert (a.step, a.updates, a.scaler) == (b.step, b.updates, b.scaler)
    for field in ("weights", "average", "first_moment", "second_moment"):
        for name, array in getattr(a, field).items():
            np.testing.assert_array_equal(array, getattr(b, field)[name], err_msg=f"{field} {name}")


def need_float16() -> None:
    if not hasattr(torch.amp, "GradScaler"):
        pytest.skip("this torch has no gradient scaling on CPUs")


def test_a_state_of_another_network_is_refused():
    other = TorchTrainer(dataclasses.replace(CONFIG, model=dataclasses.replace(TINY, name="other", gru_hidden=8)))
    with pytest.raises(UserError, match=r"iteration 0 is of network 'other', not of this run's 'tiny'.*--model_name"):
        TorchTrainer(CONFIG).restore(other.capture())


def test_a_run_may_begin_or_end_averaging_when_it_resumes():
    plain, averaging = CONFIG, dataclasses.replace(CONFIG, ema_decay=0.9)
    first = TorchTrainer(plain)
    steps(first, 0, 2)
    captured = first.capture()
    begun = TorchTrainer(averaging)
    begun.restore(captured)
    for name, array in begun.capture().average.items():
        np.testing.assert_array_equal(array, captured.weights[name])
    ended = TorchTrainer(plain)
    ended.restore(begun.capture())
    assert ended.capture().average == {}


def test_another_framework_s_scaler_stays_behind():
    need_float16()
    config = low_precision("float16")
    trainer = TorchTrainer(config)
    foreign = dataclasses.replace(trainer.capture(), scaler={"loss_scale": 8.0}, about={"framework": "jax"})
    trainer.restore(foreign)
    assert steps(trainer, 0, 1)[0]["loss_scale"] == 65536.0  # torch's own start


def test_bfloat16_lowers_the_convolutions_alone():
    full, low = (TorchTrainer(dataclasses.replace(CONFIG, conv_dtype=dtype)) for dtype in ("float32", "bfloat16"))
    a, b = (steps(trainer, 0, 3) for trainer in (full, low))
    assert [row["loss"] for row in a] == pytest.approx([row["loss"] for row in b], rel=1e-2)  # 8 bits of mantissa
    assert a[0]["loss"] != b[0]["loss"]
    assert "loss_scale" not in b[0]
    assert all(array.dtype == np.float32 for array in low.capture().weights.values())


def test_float16_that_overflows_skips_the_update_and_lowers_the_scale():
    need_float16()
    trainer = TorchTrainer(dataclasses.replace(CONFIG, conv_dtype="float16"))
    first = steps(trainer, 0, 1)[0]
    assert first["loss_scale"] == 65536.0
    captured = trainer.capture()
    scaler = {**captured.scaler, "scale": 2.0**100}  # more than float16 holds: the next gradient is infinite
    trainer.restore(dataclasses.replace(captured, scaler=scaler, about={"framework": "torch"}))
    skipped, after = steps(trainer, 1, 3)
    assert np.isfinite(skipped["loss"])
    assert not np.isfinite(skipped["grad_norm"])
    assert skipped["loss_scale"] == 2.0**100
    assert skipped["update_norm"] == 0.0
    assert after["loss_scale"] == 2.0**99
    end = trainer.capture()
    assert (end.step, end.updates) == (3, 1)
    again = TorchTrainer(trainer.config)
    again.restore(end)  # Adam's bias correction goes by its own count
    assert (again.step, again.updates) == (3, 1)
    for name, array in captured.first_moment.items():
        np.testing.assert_array_equal(array, end.first_moment[name])


def test_float16_learns_as_float32_does():
    need_float16()
    full, low = (TorchTrainer(dataclasses.replace(CONFIG, conv_dtype=dtype)) for dtype in ("float32", "float16"))
    a, b = ([row["loss"] for row in steps(trainer, 0, 5)] for trainer in (full, low))
    assert a == pytest.approx(b, rel=2e-3)  # 11 bits of mantissa
    assert a != b
