"""The three runtimes agree layer by layer in float64, from random weights and random batch statistics.

Every module of the torch network that computes is run in a whole forward pass; what it received goes to the module of
the same path in the JAX network, whose answer must be torch's to 1e-10: then the two do the same arithmetic, and what
differs in float32 is rounding. ONNX's graph runs whole, in numpy (`onnx.reference`), and what it has at each path is
compared.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import rmvpe_jax.checkpoint
import rmvpe_torch.checkpoint
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ModelConfig
from rmvpe_jax.layers import ConvTranspose
from rmvpe_jax.model import RMVPE, chain, flatten_channels
from rmvpe_jax.params import nnx_to_torch
from rmvpe_jax.train import split
from rmvpe_ort.graph import Graph
from rmvpe_ort.layers import Layers
from rmvpe_ort.model import RMVPE as OnnxRMVPE
from tests.helpers import golden
from tests.helpers.networks import EVERY_LAYER

TOLERANCE = 1e-10
ONE_OF_EACH = replace(EVERY_LAYER, blocks=1, inter_layers=1, gru_layers=1)

pytestmark = pytest.mark.usefixtures("float64")


def torch_model(checkpoint: Checkpoint, training: bool) -> torch.nn.Module:
    return rmvpe_torch.checkpoint.load_model(checkpoint).double().train(training)


def jax_model(checkpoint: Checkpoint, training: bool) -> RMVPE:
    model = rmvpe_jax.checkpoint.load_model(checkpoint)
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    nnx.update(model, jax.tree.map(lambda leaf: leaf.astype("float64"), state))
    if training:
        model.train()
    return model


def random_input(config: ModelConfig, batch: int = 2, frames: int = 24) -> np.ndarray:
    # Of the mean and spread of a log-mel spectrogram
    return np.random.default_rng(5).normal(-6.0, 3.0, (batch, frames, config.mel.n_mels))


def calls(model: torch.nn.Module, log_mel: np.ndarray) -> Iterator[tuple[str, Any, Any]]:
    """Path, inputs and output of every module of a forward pass."""
    seen = []

    def remember(path: str):
        return lambda module, inputs, output: seen.append((path, inputs, output))

    for path, module in model.named_modules():
        if not isinstance(module, (torch.nn.ReLU, torch.nn.AvgPool2d, torch.nn.Dropout)):  # these are functions in JAX
            module.register_forward_hook(remember(path))
    with torch.no_grad():
        model(torch.from_numpy(log_mel))
    yield from seen


def channels_last(value: Any) -> Any:
    """Torch tensors as numpy arrays, images [B, C, T, F] as [B, T, F, C]."""
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy()
        return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
    return [channels_last(item) for item in value]


def at_path(model: Any, path: str) -> Any:
    for name in path.split(".") if path else []:
        model = model[int(name)] if name.isdecimal() else getattr(model, name)
    return model


@pytest.mark.parametrize("training", [False, True])
def test_every_layer_agrees(training):
    checkpoint = golden.checkpoint(EVERY_LAYER)
    ours = jax_model(checkpoint, training)
    compared = set()
    for path, inputs, output in calls(torch_model(checkpoint, training), random_input(EVERY_LAYER)):
        module = at_path(ours, path)
        if isinstance(module, nnx.List):
            found = chain(module, *channels_last(inputs))
        else:
            found = module(*channels_last(inputs))
        expected = output[0] if path.endswith(".gru") else output  # torch's GRU gives its last state too
        leaves = jax.tree.leaves(channels_last(expected)), jax.tree.leaves(found)
        assert len(leaves[0]) == len(leaves[1]), path
        for a, b in zip(*leaves):
            assert b.dtype == np.float64, path
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE, err_msg=path)
        compared.add(path)
    assert len(compared) > 100
    assert {"", "unet.tf", "unet.decoder.layers.1.conv1.0", "unet.encoder.bn", "fc.0.gru", "fc.1", "cnn"} <= compared


def onnx_results(checkpoint: Checkpoint, log_mel: np.ndarray) -> dict[str, np.ndarray]:
    """Path -> what the module there gives in ONNX's graph, computed in float64; "" is the network."""
    config, graph = checkpoint.config, Graph(np.float64)
    make = Layers(config, checkpoint.tensors, graph)
    values = {"": OnnxRMVPE(make)("log_mel")} | make.results
    double, axes = int(TensorProto.DOUBLE), ["batch", "frames", "bands"]
    images = {path for path in values if path.startswith(("unet", "cnn"))}
    outputs = {value: (double, ["channels"] * (path in images) + axes) for path, value in values.items()}
    evaluator = ReferenceEvaluator(graph.model({"log_mel": (double, axes)}, outputs))
    return dict(zip(values, evaluator.run(list(values.values()), {"log_mel": log_mel})))


def test_every_layer_agrees_in_onnx():
    checkpoint, log_mel = golden.checkpoint(EVERY_LAYER), random_input(EVERY_LAYER)
    ours = onnx_results(checkpoint, log_mel)
    theirs = {path: output for path, _, output in calls(torch_model(checkpoint, training=False), log_mel)}
    for path, found in ours.items():
        expected = theirs[path][0] if path.endswith(".gru") else theirs[path]
        assert found.dtype == np.float64, path
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=TOLERANCE, err_msg=path)
    # Chains of modules, and those that give lists, are no values of the graph; what they are made of is
    chains = {path for path in theirs if path.endswith((".conv", ".conv1", ".conv2"))} | {
        "fc",
        "unet.encoder",
        "unet.tf",
    }
    assert set(theirs) - set(ours) == chains
    assert len(ours) > 90


def test_loss_gradients_and_running_statistics_agree():
    checkpoint = golden.checkpoint(ONE_OF_EACH)
    log_mel, target = random_input(EVERY_LAYER), np.random.default_rng(6).random((2, 24, EVERY_LAYER.n_bins))

    theirs = torch_model(checkpoint, training=True)
    loss = torch.nn.functional.binary_cross_entropy(theirs(torch.from_numpy(log_mel)), torch.from_numpy(target))
    loss.backward()
    gradients = {name: value.grad.numpy() for name, value in theirs.named_parameters() if value.grad is not None}
    statistics = {name: value.numpy() for name, value in theirs.named_buffers() if "num_batches" not in name}

    ours = jax_model(checkpoint, training=True)
    graph, params, stats, rng_state = split(ours)

    def loss_of(params):
        model = nnx.merge(graph, params, stats, rng_state, copy=True)
        salience = model(log_mel)
        loss = -(target * jnp.log(salience) + (1 - target) * jnp.log1p(-salience)).mean()
        return loss, nnx.state(model, nnx.BatchStat)

    run = jax.jit(jax.value_and_grad(loss_of, has_aux=True), compiler_options=golden.QUICK_COMPILE)
    (found_loss, new_stats), found_gradients = run(params)
    assert float(found_loss) == pytest.approx(loss.item(), abs=TOLERANCE)
    # Gradients lie on the axes of their weights, so the same table carries them across
    found = nnx_to_torch(rmvpe_jax.checkpoint.flatten([found_gradients, new_stats]), ONE_OF_EACH)
    assert set(found) == set(gradients) | set(statistics)
    for name, expected in (gradients | statistics).items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=TOLERANCE, err_msg=name)


def test_a_whole_network_agrees():
    config = ModelConfig.small()
    checkpoint = golden.checkpoint(config)
    log_mel = random_input(config, batch=1, frames=64)
    with torch.no_grad():
        expected = torch_model(checkpoint, training=False)(torch.from_numpy(log_mel)).numpy()
    graph, state = nnx.split(jax_model(checkpoint, training=False))
    run = jax.jit(lambda state, x: nnx.merge(graph, state)(x), compiler_options=golden.QUICK_COMPILE)
    found = run(state, log_mel)
    assert np.abs(np.asarray(found) - expected).max() < TOLERANCE


def test_a_whole_network_agrees_in_onnx():
    config = ModelConfig.small()
    checkpoint = golden.checkpoint(config)
    log_mel = random_input(config, batch=1, frames=config.time_multiple)
    with torch.no_grad():
        expected = torch_model(checkpoint, training=False)(torch.from_numpy(log_mel)).numpy()
    assert np.abs(onnx_results(checkpoint, log_mel)[""] - expected).max() < TOLERANCE


def test_channels_are_flattened_in_torchs_order():
    image = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 5, 7)))  # [B, C, T, F]
    expected = image.transpose(1, 2).flatten(-2).numpy()  # [B, T, C * F]
    found = flatten_channels(jnp.asarray(channels_last(image)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("inputs", "outputs", "size"), [(6, 3, (4, 6)), (2, 5, (1, 1)), (4, 4, (7, 2))])
def test_transposed_convolution_is_torchs(inputs, outputs, size):
    rng = np.random.default_rng(inputs)
    theirs = torch.nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, bias=False).double()
    image = rng.standard_normal((2, inputs, *size))
    expected = theirs(torch.from_numpy(image)).detach().numpy()

    weight = theirs.weight.detach().numpy()
    kernel = weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)  # [I, O, H, W] -> [H, W, I, O], flipped
    ours = ConvTranspose(jnp.asarray(kernel), None, None)
    found = np.asarray(ours(jnp.asarray(image.transpose(0, 2, 3, 1))))
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), expected, rtol=0, atol=1e-12)

    # As docs/architecture has it: the same as one convolution of the input with zeros between its pixels
    dilated = jax.lax.conv_general_dilated(
        jnp.asarray(image.transpose(0, 2, 3, 1)),
        jnp.asarray(kernel),
        (1, 1),
        ((1, 2), (1, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(found, dilated, rtol=0, atol=1e-12)
