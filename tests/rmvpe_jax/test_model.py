"""What the JAX network promises beside torch's numbers: batch statistics, precision, dropout, functional style."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rmvpe.config import MelConfig, ModelConfig
from rmvpe_jax.layers import BatchNorm
from rmvpe_jax.model import RMVPE
from rmvpe_jax.train import split
from tests.helpers import golden

TINY = ModelConfig(
    mel=MelConfig(n_mels=16), levels=2, blocks=1, inter_layers=1, channels=3, gru_hidden=4, n_bins=12, dropout=0.0
)
LOG_MEL = np.random.default_rng(0).normal(-6.0, 3.0, (4, 16, 16)).astype(np.float32)


def batch_norm(axis_name: str | None = None) -> BatchNorm:
    return BatchNorm(3, momentum=0.01, epsilon=1e-5, axis_name=axis_name)


def test_batch_norm_normalises_by_the_biased_and_stores_the_unbiased_variance():
    x = np.random.default_rng(0).normal(2.0, 3.0, (2, 2, 3, 3)).astype(np.float32)
    norm = batch_norm()
    out = np.asarray(norm(jnp.asarray(x)))
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(out, (x - mean) / np.sqrt(var + 1e-5), rtol=0, atol=1e-5)
    count = 2 * 2 * 3
    np.testing.assert_allclose(norm.mean[...], 0.01 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.99 + 0.01 * var * count / (count - 1), rtol=1e-5)


def test_batch_norm_in_evaluation_uses_and_keeps_the_running_statistics():
    norm = batch_norm()
    norm.mean.set_value(jnp.full(3, 2.0))
    norm.var.set_value(jnp.full(3, 4.0))
    norm.eval()
    out = norm(jnp.full((1, 2, 2, 3), 6.0))
    np.testing.assert_allclose(out, 2.0, rtol=1e-5)
    np.testing.assert_array_equal(norm.var[...], 4.0)


def test_batch_norm_computes_in_float32_whatever_the_convolutions_do():
    # 0.01 beside 100 has no digits left in bfloat16; a mean in bfloat16 would be off by whole units
    x = jnp.asarray(np.random.default_rng(0).normal(100.0, 5.0, (4, 8, 8, 3)), jnp.bfloat16)
    norm = batch_norm()
    out = norm(x)
    assert out.dtype == jnp.bfloat16
    wide = np.asarray(x, np.float32)
    np.testing.assert_allclose(norm.mean[...], 0.01 * wide.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.99 + 0.01 * wide.var((0, 1, 2), ddof=1), rtol=1e-4)


def test_devices_of_an_axis_share_their_batch_statistics():
    x = np.random.default_rng(0).normal(2.0, 3.0, (4, 2, 3, 3)).astype(np.float32)
    whole = batch_norm()
    expected = whole(jnp.asarray(x))
    graph, state = nnx.split(batch_norm("devices"))

    def on_one_device(x):
        norm = nnx.merge(graph, state, copy=True)
        return norm(x), nnx.state(norm, nnx.BatchStat)

    # vmap stands for pmap: both give the axis a name
    out, statistics = jax.vmap(on_one_device, axis_name="devices")(jnp.asarray(x).reshape(2, 2, 2, 3, 3))
    np.testing.assert_allclose(out.reshape(x.shape), expected, rtol=0, atol=1e-5)
    for name in ("mean", "var"):
        for device in range(2):
            np.testing.assert_allclose(statistics[name][...][device], getattr(whole, name)[...], rtol=1e-5)


def test_initial_weights_are_drawn_like_torchs_and_by_the_seed_alone():
    model: Any = RMVPE(TINY, seed=1)  # nnx lists have no types
    same, other = RMVPE(TINY, seed=1), RMVPE(TINY, seed=2)
    kernel = model.unet.decoder.layers[0].conv1[0].kernel[...]  # 12 channels to 6, torch's bound: 1 / sqrt(6 * 9)
    assert float(jnp.abs(kernel).max()) == pytest.approx((6 * 9) ** -0.5, rel=0.05)
    assert float(jnp.abs(model.unet.decoder.layers[0].conv2[0].conv[0].kernel[...]).max()) == pytest.approx(
        (12 * 9) ** -0.5, rel=0.05
    )
    assert float(jnp.abs(model.fc[0].gru.weight_hh_l0[...]).max()) <= 0.5
    assert float(jnp.abs(model.fc[1].kernel[...]).max()) <= 8**-0.5
    leaves = [jax.tree.leaves(nnx.state(one, nnx.Param)) for one in (model, same, other)]
    assert all((a == b).all() for a, b in zip(leaves[0], leaves[1]))
    assert any((a != b).any() for a, b in zip(leaves[0], leaves[2]))


def test_a_model_without_seed_is_zeros_for_a_checkpoint_to_fill():
    params = nnx.state(RMVPE(TINY, seed=None), nnx.Param)
    assert not any(leaf.any() for path, leaf in nnx.to_flat_state(params) if path[-1] == "kernel")


@pytest.mark.parametrize(("conv_dtype", "short"), [("bfloat16", "bf16"), ("float16", "f16")])
def test_lower_precision_reaches_the_convolutions_alone(conv_dtype, short):
    model = RMVPE(TINY, conv_dtype=conv_dtype)
    weights = nnx.state(model, (nnx.Param, nnx.BatchStat))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(weights)} == {"float32"}
    graph, state = nnx.split(model)

    def merged(state) -> Any:  # nnx lists have no types
        return nnx.merge(graph, state, copy=True)

    def dtypes(state, log_mel):
        model = merged(state)
        return model.cnn(model.unet(log_mel[..., None])), model.features(log_mel), model.logits(log_mel), model(log_mel)

    image, features, logits, salience = jax.eval_shape(dtypes, state, LOG_MEL)
    assert image.dtype == conv_dtype
    assert features.dtype == logits.dtype == salience.dtype == jnp.float32
    # A jaxpr names the type of every value: f"{short}[shape]"
    assert f":{short}[" in str(jax.make_jaxpr(lambda state, x: merged(state).features(x))(state, LOG_MEL))
    recurrence = str(jax.make_jaxpr(lambda state, x: merged(state).fc[0](x))(state, jnp.zeros(features.shape)))
    assert "scan[" in recurrence
    assert f":{short}[" not in recurrence


def test_dropout_acts_on_the_logits_in_training_only():
    model = RMVPE(replace(TINY, dropout=0.25))
    run = nnx.jit(lambda model, x: model(x))
    first, second = (np.asarray(run(model, LOG_MEL)) for _ in range(2))
    # A dropped logit is 0, which the sigmoid makes 0.5; each call drops others
    assert (first == 0.5).mean() == pytest.approx(0.25, abs=0.06)  # of 768: four standard deviations
    assert ((first == 0.5) != (second == 0.5)).any()
    model.eval()
    evaluate = nnx.jit(lambda model, x: model(x))
    calm = np.asarray(evaluate(model, LOG_MEL))
    assert not (calm == 0.5).any()
    np.testing.assert_array_equal(calm, evaluate(model, LOG_MEL))


def test_a_functional_training_step_changes_weights_statistics_and_random_state():
    model = RMVPE(replace(TINY, dropout=0.25))
    graph, params, statistics, rng_state = split(model)

    def loss_of(params, statistics, rng_state):
        model = nnx.merge(graph, params, statistics, rng_state, copy=True)
        loss = jnp.square(model.logits(LOG_MEL) - 1.0).mean()
        _, _, statistics, rng_state = split(model)
        return loss, (statistics, rng_state)

    @partial(jax.jit, compiler_options=golden.QUICK_COMPILE)
    def step(params, statistics, rng_state):
        differentiate = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (statistics, rng_state)), gradients = differentiate(params, statistics, rng_state)
        return jax.tree.map(lambda p, g: p - 0.03 * g, params, gradients), statistics, rng_state, loss

    before = (params, statistics, rng_state)
    losses = []
    for _ in range(8):
        params, statistics, rng_state, loss = step(params, statistics, rng_state)
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    for old, new in zip(before, (params, statistics, rng_state)):
        assert str(jax.tree.structure(old)) == str(jax.tree.structure(new))
        assert any((a != b).any() for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new)))


def test_frames_that_do_not_fit_the_stride_are_the_callers_mistake():
    with pytest.raises(TypeError, match="concatenate"):
        jax.eval_shape(lambda: RMVPE(TINY)(jnp.zeros((1, 18, 16))))
