"""Each runtime against the reference's outputs, and three training steps of torch and JAX against the reference's.

The training steps run in float64. The reference ran in float32, and so do ours, but Adam's first step is the sign of
each gradient, and some of these gradients are nothing but rounding: in float32 the third gradient norm moves by 2.5e-4
with torch's number of threads. In float64 every machine gives one answer, which is the reference's to 1e-6.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import rmvpe_jax.checkpoint
import rmvpe_jax.infer
import rmvpe_ort.infer
import rmvpe_torch.checkpoint
import rmvpe_torch.infer
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.chunked_gru import salience
from tests.helpers import golden

# float32 sums in another order; the outputs lie in 0 to 1 after some fifty layers
OUTPUT_TOLERANCE = 5e-5
RELATIVE_TOLERANCE = 1e-5  # of the reference's own float32
LEARNING_RATE, CLIP_NORM, STEPS = 5e-4, 3.0, 3
WATCHED = "unet.encoder.layers.0.conv.0.conv.1"  # the batch norm whose statistics the golden files hold

BACKENDS: dict[str, Any] = {
    "torch": rmvpe_torch.infer.Backend,
    "jax": rmvpe_jax.infer.Backend,
    "onnx": rmvpe_ort.infer.Backend,
}


class Trained(NamedTuple):
    losses: list[float]
    norms: list[float]
    first_output: np.ndarray
    checkpoint: Checkpoint


def train_torch(checkpoint: Checkpoint, log_mel: np.ndarray, target: np.ndarray) -> Trained:
    model = rmvpe_torch.checkpoint.load_model(checkpoint).double().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    losses, norms, outputs = [], [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits = model.logits(torch.from_numpy(log_mel))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(target))
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM).item())
        optimizer.step()
        losses.append(loss.item())
        outputs.append(logits.detach().sigmoid().numpy())
    state = {name: model.state_dict()[name].numpy().astype(np.float32) for name in checkpoint.tensors}
    return Trained(losses, norms, outputs[0], Checkpoint(checkpoint.config, state))


def train_jax(checkpoint: Checkpoint, log_mel: np.ndarray, target: np.ndarray) -> Trained:
    model = rmvpe_jax.checkpoint.load_model(checkpoint)
    model.train()
    graph, params, statistics, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)  # type: ignore[misc]
    params, statistics = jax.tree.map(lambda leaf: leaf.astype("float64"), (params, statistics))
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE, eps=1e-8))

    def loss_of(params, statistics):
        model = nnx.merge(graph, params, statistics, rest, copy=True)
        logits = model.logits(log_mel)
        loss = optax.sigmoid_binary_cross_entropy(logits, target).mean()
        return loss, (nnx.state(model, nnx.BatchStat), nnx.sigmoid(logits))

    @partial(jax.jit, compiler_options=golden.QUICK_COMPILE)
    def step(params, statistics, state):
        (loss, (statistics, output)), gradients = jax.value_and_grad(loss_of, has_aux=True)(params, statistics)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), statistics, state, loss, optax.tree.norm(gradients), output

    losses, norms, outputs, state = [], [], [], optimizer.init(params)
    for _ in range(STEPS):
        params, statistics, state, loss, norm, output = step(params, statistics, state)
        losses.append(float(loss))
        norms.append(float(norm))
        outputs.append(np.asarray(output))
    params, statistics = jax.tree.map(lambda leaf: leaf.astype("float32"), (params, statistics))
    nnx.update(model, params, statistics)
    return Trained(losses, norms, outputs[0], rmvpe_jax.checkpoint.to_checkpoint(model, {}))


@pytest.mark.parametrize("framework", BACKENDS)
@pytest.mark.parametrize("kind", golden.KINDS)
def test_the_full_network_gives_the_reference_output(kind, framework):
    arrays = golden.load(f"{kind}_full")
    checkpoint = golden.checkpoint(golden.config(kind, "full"), int(arrays["seed"]))
    found = salience(BACKENDS[framework](checkpoint, "cpu"), golden.log_mel(arrays))
    assert np.abs(found - arrays["out_eval"]).max() < OUTPUT_TOLERANCE


@pytest.mark.parametrize("framework", BACKENDS)
@pytest.mark.parametrize("kind", golden.KINDS)
def test_the_small_network_gives_the_reference_outputs(kind, framework):
    arrays = golden.load(f"{kind}_small")
    checkpoint = golden.checkpoint(golden.config(kind, "small"), int(arrays["seed"]))
    log_mel = golden.log_mel(arrays)
    found = salience(BACKENDS[framework](checkpoint, "cpu"), log_mel)
    assert np.abs(found - arrays["out_eval"]).max() < OUTPUT_TOLERANCE
    if framework in TRAINS:
        assert np.abs(TRAINS[framework](checkpoint, log_mel) - arrays["out_train"]).max() < OUTPUT_TOLERANCE


def torch_training_forward(checkpoint: Checkpoint, log_mel: np.ndarray) -> np.ndarray:
    return rmvpe_torch.checkpoint.load_model(checkpoint).train()(torch.from_numpy(log_mel)).detach().numpy()


def jax_training_forward(checkpoint: Checkpoint, log_mel: np.ndarray) -> np.ndarray:
    model = rmvpe_jax.checkpoint.load_model(checkpoint)
    model.train()
    return np.asarray(nnx.jit(lambda model, x: model(x))(model, log_mel))


TRAINS = {"torch": torch_training_forward, "jax": jax_training_forward}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("train", [train_torch, train_jax])
@pytest.mark.parametrize("kind", golden.KINDS)
def test_three_training_steps_are_the_references(kind, train):
    arrays = golden.load(f"{kind}_small")
    checkpoint = golden.checkpoint(golden.config(kind, "small"), int(arrays["seed"]))
    log_mel = golden.log_mel(arrays)
    trained = train(checkpoint, log_mel.astype(np.float64), arrays["target"].astype(np.float64))
    assert np.abs(trained.first_output - arrays["out_train"]).max() < OUTPUT_TOLERANCE
    np.testing.assert_allclose(trained.losses, [arrays[f"loss_{i}"] for i in range(STEPS)], rtol=RELATIVE_TOLERANCE)
    np.testing.assert_allclose(trained.norms, [arrays[f"grad_norm_{i}"] for i in range(STEPS)], rtol=RELATIVE_TOLERANCE)

    after = salience(rmvpe_torch.infer.Backend(trained.checkpoint, "cpu"), log_mel)
    assert np.abs(after - arrays["out_eval_after_3_steps"]).max() < OUTPUT_TOLERANCE
    for statistic in ("running_mean", "running_var"):
        found = trained.checkpoint.tensors[f"{WATCHED}.{statistic}"]
        np.testing.assert_allclose(found, arrays[f"{statistic}_after"], rtol=RELATIVE_TOLERANCE, atol=1e-6)


@pytest.mark.parametrize("kind", golden.KINDS)
def test_names_shapes_and_size_are_the_references(kind):
    arrays = golden.load(f"{kind}_full")
    config = golden.config(kind, "full")
    tensors = golden.checkpoint(config, int(arrays["seed"])).tensors
    reference = {
        key: tuple(int(length) for length in shape.strip("()").split(",") if length.strip())
        for key, shape in zip(arrays["keys"], arrays["shapes"])
        if not key.endswith("num_batches_tracked")
    }
    unused = {} if config.timbre_filter else {key for key in reference if key.startswith("unet.tf.")}
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        key: shape for key, shape in reference.items() if key not in unused
    }
