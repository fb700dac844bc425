"""Our GRUs against torch's: weights under torch's names and in its shapes, both directions, several layers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from rmvpe.config import ModelConfig
from rmvpe_jax.gru import GRU
from rmvpe_jax.layers import Draw
from rmvpe_ort.graph import Graph
from rmvpe_ort.gru import GRU as OnnxGRU
from rmvpe_ort.layers import Layers

FEATURES, HIDDEN = 7, 4


def pair(layers: int, dtype: torch.dtype) -> tuple[torch.nn.GRU, GRU]:
    """Torch's GRU with random weights, and ours with the same."""
    theirs = torch.nn.GRU(FEATURES, HIDDEN, layers, batch_first=True, bidirectional=True).to(dtype)
    ours = GRU(FEATURES, HIDDEN, layers, Draw(None))
    for name, parameter in theirs.named_parameters():
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.random.default_rng(len(name)).normal(0, 0.7, parameter.shape)))
        getattr(ours, name).set_value(jnp.asarray(parameter.detach().numpy()))
    return theirs, ours


def onnx_gru(layers: int, theirs: torch.nn.GRU) -> tuple[Graph, OnnxGRU]:
    """An empty graph in float64, and what adds the GRU with the same weights to it."""
    graph = Graph(np.float64)
    tensors = {name: parameter.detach().numpy() for name, parameter in theirs.named_parameters()}
    return graph, OnnxGRU(Layers(ModelConfig(gru_hidden=HIDDEN, gru_layers=layers), tensors, graph))


def evaluated(graph: Graph, output: str, **inputs: np.ndarray) -> np.ndarray:
    double = int(TensorProto.DOUBLE)
    described = {name: (double, list(array.shape)) for name, array in inputs.items()}
    model = graph.model(described, {output: (double, ["axis"] * (3 if inputs["x"].ndim == 3 else 2))})
    results: Any = ReferenceEvaluator(model).run(None, inputs)
    return results[0]


def test_parameters_are_torchs():
    theirs, ours = pair(2, torch.float32)
    shapes = {path[0]: leaf[...].shape for path, leaf in nnx.to_flat_state(nnx.state(ours))}
    assert shapes == {name: tuple(parameter.shape) for name, parameter in theirs.named_parameters()}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.usefixtures("float64")
def test_output_is_torchs_in_float64(layers):
    theirs, ours = pair(layers, torch.float64)
    x = np.random.default_rng(0).standard_normal((3, 11, FEATURES))
    found = np.asarray(ours(jnp.asarray(x)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, theirs(torch.from_numpy(x))[0].detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_onnx_output_is_torchs_in_float64(layers):
    theirs, _ = pair(layers, torch.float64)
    x = np.random.default_rng(0).standard_normal((3, 11, FEATURES))
    graph, ours = onnx_gru(layers, theirs)
    found = evaluated(graph, ours("x"), x=x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, theirs(torch.from_numpy(x))[0].detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_direction_in_onnx_goes_on_from_a_state(reverse):
    theirs, _ = pair(1, torch.float64)
    x, state = (np.random.default_rng(1).standard_normal(shape) for shape in ((11, FEATURES), HIDDEN))
    graph, ours = onnx_gru(1, theirs)
    found = evaluated(graph, ours.direction("x", "state", 0, reverse=reverse), x=x, state=state)
    start = torch.from_numpy(np.stack([state, state])[:, None])
    both = theirs(torch.from_numpy(x[None]), start)[0][0].detach().numpy()
    np.testing.assert_allclose(found, both[:, HIDDEN:] if reverse else both[:, :HIDDEN], rtol=0, atol=1e-12)


def test_output_is_torchs_in_float32():
    theirs, ours = pair(1, torch.float32)
    x = np.random.default_rng(0).standard_normal((2, 200, FEATURES)).astype(np.float32)
    found = np.asarray(jax.jit(lambda x: ours(x))(x))
    assert found.dtype == np.float32
    # Gates saturate, so rounding does not build up over 200 frames
    np.testing.assert_allclose(found, theirs(torch.from_numpy(x))[0].detach().numpy(), rtol=0, atol=2e-6)


def test_each_direction_knows_its_past_only():
    _, ours = pair(1, torch.float32)
    x = np.random.default_rng(0).standard_normal((1, 10, FEATURES)).astype(np.float32)
    changed = x.copy()
    changed[0, 6] += 1.0
    difference = np.asarray(ours(jnp.asarray(x)) - ours(jnp.asarray(changed)))[0]
    forward, backward = difference[:, :HIDDEN], difference[:, HIDDEN:]
    assert not forward[:6].any()
    assert forward[6:].any(axis=1).all()
    assert not backward[7:].any()
    assert backward[:7].any(axis=1).all()
