"""A large graph in parts, and the folded checkpoint that a backend keeps: the same bits as before."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ModelConfig
from rmvpe_ort import infer, parts
from rmvpe_ort.folding import folded
from rmvpe_ort.graph import Graph, batch_norm_factors, fold_batch_norm
from rmvpe_ort.layers import Layers
from rmvpe_ort.model import RMVPE

THIN = replace(ModelConfig.e2e(), name="custom", levels=2, blocks=2, inter_layers=3, channels=4, gru_hidden=8)


def checkpoint(config: ModelConfig) -> Checkpoint:
    """Random weights and random batch statistics."""
    rng, tensors = np.random.default_rng(0), {}
    for name, shape in expected_tensors(config).items():
        values = rng.standard_normal(shape)
        tensors[name] = (0.5 + np.abs(values) if "running_var" in name else values).astype(np.float32)
    return Checkpoint(config, tensors, {})


def graph_of(weights: Checkpoint) -> Graph:
    """The folded graph of the U-Net."""
    graph = Graph()
    graph.name(RMVPE(Layers(weights.config, weights.tensors, graph)).features("log_mel"), "features")
    fold_batch_norm(graph)
    return graph


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 1e-3, 0.37, 1.0])
def test_a_folded_checkpoint_makes_the_same_graph(epsilon: float):
    weights = checkpoint(replace(THIN, bn_epsilon=epsilon))
    expected, found = graph_of(weights).constants, graph_of(folded(weights)).constants
    assert set(found) == set(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_folding_is_a_product_in_float64_rounded_once():
    weights = checkpoint(THIN)
    path, norm = "unet.decoder.layers.0.conv1.0.weight", "unet.decoder.layers.0.conv1.1"
    numbers = [weights.tensors[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
    factor, shift = batch_norm_factors(numbers, float(np.float32(THIN.bn_epsilon)))
    found = folded(weights).tensors
    expected = (weights.tensors[path].astype(np.float64) * factor[None, :, None, None]).astype(np.float32)
    assert np.array_equal(found[path], expected)
    assert np.array_equal(found[f"{norm}.bias"], shift.astype(np.float32))


def test_the_graph_shares_the_memory_of_the_folded_checkpoint():
    weights = folded(checkpoint(THIN))
    constants = graph_of(weights).constants
    kernels = [name for name, array in constants.items() if name in weights.tensors and array.ndim == 4]
    assert len(kernels) > 20
    assert all(np.shares_memory(constants[name], weights.tensors[name]) for name in kernels)


def test_parts_give_the_bits_of_the_whole(monkeypatch):
    weights = checkpoint(THIN)
    log_mel = np.random.default_rng(1).standard_normal((2, 8, 256)).astype(np.float32)
    whole = infer.Backend(weights, "cpu", threads=1)
    monkeypatch.setattr(parts, "LARGE_BYTES", 0)
    in_parts = infer.Backend(weights, "cpu", threads=1)
    assert isinstance(whole._features, infer.Session)
    assert isinstance(in_parts._features, parts.Parts)
    assert len(in_parts._features._sessions) == 3
    assert np.array_equal(in_parts.features(log_mel), whole.features(log_mel))


def test_no_weight_is_in_two_parts_and_none_is_lost():
    graph = graph_of(checkpoint(THIN))
    middle = graph.nodes[len(graph.nodes) // 2].output[0]
    first, second = parts.cut(graph, [middle])
    large = [set(part.large_constants()) for part in (first, second)]
    assert not large[0] & large[1]
    assert large[0] | large[1] == set(graph.large_constants())
    assert middle in parts.outside(second)
