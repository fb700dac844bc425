"""The JAX trainer by itself: devices, accumulation, optimizer, dropout, resuming. Parity with torch: tests/parity."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("optax")

from rmvpe.chunked_gru import salience
from rmvpe.config import TrainConfig
from rmvpe.errors import UserError
from rmvpe.processes import Ranks
from rmvpe.training.losses import loss as reference_loss
from rmvpe_jax import state as states
from rmvpe_jax.losses import LOSSES
from rmvpe_jax.train import AXIS, JaxTrainer, fold_in_device, make_optimizer
from tests.helpers.tiny_jax import CONFIG, MODEL, RATE, batch, devices, losses

# Few different programs, because each takes seconds to compile; those of this one are used by several tests
AVERAGED = dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, dropout=0.25), ema_decay=0.9, batch_size=2)
COMPILED = "/jax/core/compile/backend_compile_duration"


def change(config: TrainConfig = CONFIG, dropout: float = 0.0, **settings) -> TrainConfig:
    return dataclasses.replace(config, model=dataclasses.replace(MODEL, dropout=dropout), **settings)


@pytest.mark.parametrize("kind", ["bce", "weighted", "focal"])
def test_losses_are_those_that_numpy_defines(kind):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (2, 3, 5)).astype(np.float32)
    target = rng.random((2, 3, 5)).astype(np.float32)
    # float32 against float64
    assert float(LOSSES[kind](jnp.asarray(logits), jnp.asarray(target))) == pytest.approx(
        reference_loss(kind, logits, target), rel=1e-6
    )


def accumulating(count: int) -> JaxTrainer:
    """A trainer on `count` devices that takes two micro-batches of four examples, over all devices, per update."""
    return JaxTrainer(change(batch_size=4 // count, grad_accumulation=2), devices(count))


def test_the_number_of_devices_does_not_change_the_losses(quick_compiler):
    found = {}
    for count in (1, 2, 4):
        trainer = accumulating(count)
        found[count] = [trainer.train_step([batch(step), batch(step + 1)], RATE)["loss"] for step in range(5)]
    for count in (2, 4):
        # The sums over the batch are taken in another order
        np.testing.assert_allclose(found[count], found[1], rtol=1e-5)
    assert len(set(found[1])) == 5


def test_accumulated_micro_batches_follow_each_other_through_batch_norm(quick_compiler):
    trainer = accumulating(2)
    before = trainer.capture().weights
    parts = [batch(0), batch(1)]
    loss = trainer.train_step(parts, RATE)["loss"]
    alone = [JaxTrainer(change(), devices(1)).train_step([part], RATE)["loss"] for part in parts]
    # The same start, hence the mean of the two losses; sums in another order
    assert loss == pytest.approx(np.mean(alone), rel=1e-6)
    after = trainer.capture().weights
    name = "unet.encoder.bn.running_mean"  # of the input itself, so that it can be computed by hand
    expected, momentum = before[name], MODEL.bn_momentum
    for part in parts:
        expected = (1 - momentum) * expected + momentum * part.log_mel.mean()
    np.testing.assert_allclose(after[name], expected, rtol=1e-5)  # float32


def test_norms_are_those_of_the_weights(quick_compiler):
    trainer = JaxTrainer(change(), devices(2)[:1])
    before = trainer.capture()
    record = trainer.train_step([batch(0)], RATE)
    after = trainer.capture()
    names = list(after.first_moment)

    def norm(arrays) -> float:
        return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays)))

    assert record["param_norm"] == pytest.approx(norm(after.weights[name] for name in names), rel=1e-6)
    moved = norm(after.weights[name] - before.weights[name] for name in names)
    assert record["update_norm"] == pytest.approx(moved, rel=1e-3)  # the difference of rounded weights
    # Adam's first moment after one step is a tenth of the clipped gradient: the reported norm is that before clipping
    clipped = norm(after.first_moment[name] for name in names) / 0.1
    assert clipped == pytest.approx(min(record["grad_norm"], CONFIG.clip_grad_norm), rel=1e-4)
    assert record["grad_norm"] > CONFIG.clip_grad_norm


def test_a_limit_of_0_switches_clipping_off(quick_compiler):
    trainer = JaxTrainer(
        change(clip_grad_norm=0.0, seed=1145141919810), devices(2)[:1]
    )  # the SDAA port's seed, 41 bits
    record = trainer.train_step([batch(0)], RATE)
    moments = trainer.capture().first_moment.values()
    whole = float(np.sqrt(sum(np.square(moment, dtype=np.float64).sum() for moment in moments))) / 0.1
    assert record["grad_norm"] == pytest.approx(whole, rel=1e-4)


def test_adamw_takes_its_share_off_every_parameter():
    rng = np.random.default_rng(0)
    weights, gradient = (
        {"kernel": rng.standard_normal((2, 3)).astype(np.float32), "bias": rng.standard_normal(2).astype(np.float32)}
        for _ in range(2)
    )
    steps = {}
    for kind in ("adam", "adamw"):
        optimizer = make_optimizer(change(optimizer=kind, weight_decay=0.1))
        steps[kind], _ = optimizer.update(gradient, optimizer.init(weights), weights)
    for name, weight in weights.items():
        # Adam's first step is the gradient's sign, eps apart
        np.testing.assert_allclose(steps["adam"][name], np.sign(gradient[name]), rtol=1e-5)
        # torch: weight *= 1 - rate x decay, then the step, which is weight -= rate x (step + decay x weight)
        np.testing.assert_allclose(steps["adamw"][name], steps["adam"][name] + 0.1 * weight, rtol=1e-6, atol=1e-7)


def test_ten_steps_a_restart_and_ten_more_are_twenty(tmp_path):
    whole = JaxTrainer(AVERAGED, devices(2))
    expected = losses(whole, range(20))
    first = JaxTrainer(AVERAGED, devices(2))
    assert losses(first, range(10)) == expected[:10]
    about = {"framework": "jax"}
    path = states.save(tmp_path, dataclasses.replace(first.capture(), examples=40, about=about))
    second = JaxTrainer(dataclasses.replace(AVERAGED, seed=5), devices(2))
    second.restore(states.load(path))
    assert second.step == 10
    assert losses(second, range(10, 20)) == expected[10:]
    a, b = whole.capture(), second.capture()
    for field in ("weights", "average", "first_moment", "second_moment", "generators"):
        for name, array in getattr(a, field).items():
            np.testing.assert_array_equal(array, getattr(b, field)[name], err_msg=f"{field} {name}")
    assert (a.step, a.updates) == (b.step, b.updates) == (20, 20)


def test_generators_of_another_framework_stay_behind():
    config = change(dropout=0.25)
    state = JaxTrainer(config, devices(1)).capture()
    strange = dataclasses.replace(state, generators={"cpu": np.zeros(5, np.uint8)}, about={"framework": "torch"})
    trainer = JaxTrainer(config, devices(1))
    trainer.restore(strange)
    assert trainer.capture().generators.keys() == state.generators.keys()


def test_each_device_drops_other_places():
    trainer = JaxTrainer(change(dropout=0.5), devices(2))
    streams = jax.pmap(fold_in_device, axis_name=AXIS, devices=devices(2))(trainer.state.rng_state)
    keys = [leaf for leaf in jax.tree.leaves(streams) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    assert keys
    for key in keys:
        first, second = jax.random.key_data(key)
        assert not np.array_equal(first, second)


def test_a_step_is_compiled_once_and_not_again_after_a_restart():
    trainer = JaxTrainer(AVERAGED, devices(2))
    state = trainer.capture()
    batches = [batch(0)]
    trainer.train_step(batches, RATE)
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    trainer.train_step(batches, 2 * RATE)
    trainer.train_step(batches, RATE)
    assert not compiled
    trainer.restore(state)
    compiled.clear()  # placing a state costs small programs
    trainer.train_step(batches, RATE)
    assert not compiled
    jax.jit(lambda x: x * 3 + 1)(np.ones(7))  # the counter does notice compilations
    assert compiled


def test_averaged_weights_are_published_and_start_from_the_weights_of_a_run_without():
    plain = JaxTrainer(dataclasses.replace(AVERAGED, ema_decay=0.0, seed=3), devices(2))
    state = plain.capture()
    assert not state.average
    averaging = JaxTrainer(AVERAGED, devices(2))
    averaging.restore(state)
    for name, array in averaging.checkpoint({}).tensors.items():
        np.testing.assert_array_equal(array, state.weights[name], err_msg=name)
    log_mel = batch(9).log_mel
    found, expected = (salience(side.network(side.checkpoint({})), log_mel) for side in (averaging, plain))
    np.testing.assert_array_equal(found, expected)
    losses(averaging, [2])
    after = averaging.capture()
    share = 1 - min(0.9, (1 + 1) / (10 + 1))
    for name, array in after.average.items():
        expected = state.weights[name] + (after.weights[name] - state.weights[name]) * np.float32(share)
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6, err_msg=name)  # float32
    for name, array in averaging.checkpoint({}).tensors.items():
        np.testing.assert_array_equal(array, after.average[name], err_msg=name)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(UserError, match=r"float16 needs loss scaling.*choose bfloat16"):
        JaxTrainer(change(conv_dtype="float16"), devices(1))
    state = JaxTrainer(change(), devices(1)).capture()
    other = dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, name="other", gru_hidden=4))
    with pytest.raises(UserError, match="'tiny', not of this run's 'other'"):
        JaxTrainer(other, devices(1)).restore(state)
    with pytest.raises(UserError, match=r"the 2 processes have 4, 0 cpu devices, and this one uses 1"):
        JaxTrainer(change(), devices(1), ranks=Ranks(processes=2, process=0, local=1))
