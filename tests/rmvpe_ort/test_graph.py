"""The growing graph: constants, weights in half, batch norms folded, convolutions in half; what the models declare."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from rmvpe.config import ModelConfig
from rmvpe_ort.graph import IR_VERSION, OPSET, Graph, convolve_in_half, fold_batch_norm
from rmvpe_ort.layers import Layers
from rmvpe_ort.model import RMVPE
from tests.helpers import golden

NARROW = replace(ModelConfig.small(), channels=2, gru_hidden=8)
CHECKPOINT = golden.checkpoint(NARROW)
AXES = ["batch", "frames", "bands"]
KINDS: dict[type, int] = {np.float32: int(TensorProto.FLOAT), np.float64: int(TensorProto.DOUBLE)}


def features(dtype: type = np.float64, **options: Any) -> Graph:
    """The graph up to the input of the GRU."""
    graph = Graph(dtype, **options)
    graph.name(RMVPE(Layers(NARROW, CHECKPOINT.tensors, graph)).features("log_mel"), "features")
    return graph


def model(graph: Graph, dtype: type = np.float64) -> onnx.ModelProto:
    described = (KINDS[dtype], AXES)
    return graph.model({"log_mel": described}, {"features": described}, {"key": "value"})


def evaluated(graph: Graph) -> np.ndarray:
    log_mel = np.random.default_rng(0).normal(-6.0, 3.0, (1, 32, 128))
    results: Any = ReferenceEvaluator(model(graph)).run(None, {"log_mel": log_mel})
    return np.asarray(results[0])


def kinds(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def test_folded_batch_norms_are_the_same_function():
    plain, folded = features(), features()
    fold_batch_norm(folded)
    # One is left: silence lies between it and the convolution after it
    assert kinds(plain).count("BatchNormalization") > 20
    assert kinds(folded).count("BatchNormalization") == 1
    assert len(folded.nodes) == len(plain.nodes) - kinds(plain).count("BatchNormalization") + 1
    np.testing.assert_allclose(evaluated(folded), evaluated(plain), rtol=0, atol=1e-11)
    onnx.checker.check_model(model(folded), full_check=True)
    assert not [name for name in folded.constants if "running" in name and not name.startswith("unet.encoder.bn.")]


def test_weights_in_half_and_batch_norms_in_full():
    half, full = features(np.float32, half_weights=True), features(np.float32)
    onnx.checker.check_model(model(half, np.float32), full_check=True)
    for name, array in half.constants.items():
        if array.dtype.kind != "f":
            continue
        number_of_batch_norm = f"{name.rpartition('.')[0]}.running_mean" in CHECKPOINT.tensors
        assert array.dtype == (np.float32 if number_of_batch_norm else np.float16), name
        np.testing.assert_array_equal(array, CHECKPOINT.tensors[name].astype(array.dtype))
    assert len(model(half, np.float32).SerializeToString()) < 0.7 * len(model(full, np.float32).SerializeToString())


def test_convolutions_in_half_take_and_give_the_graphs_type():
    graph = features(np.float32)
    fold_batch_norm(graph)
    convolutions = sum(kinds(graph).count(kind) for kind in ("Conv", "ConvTranspose"))
    before = len(graph.nodes)
    convolve_in_half(graph)
    assert len(graph.nodes) == before + 2 * convolutions
    onnx.checker.check_model(model(graph, np.float32), full_check=True)
    weights = [graph.constants[node.input[1]] for node in graph.nodes if node.op_type.startswith("Conv")]
    assert {weight.dtype for weight in weights} == {np.dtype(np.float16)}


def test_a_model_says_what_the_field_reads():
    made = model(features(np.float32), np.float32)
    assert (OPSET, IR_VERSION) == (17, 8)
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 17)]
    assert made.ir_version == 8
    assert {entry.key: entry.value for entry in made.metadata_props} == {"key": "value"}
    assert made.producer_name == "rmvpe"


def test_each_constant_is_held_once():
    graph = Graph()
    assert graph.integers(1, 2) == graph.integers(1, 2)
    assert graph.integers(1) != graph.integer(1)  # with and without an axis
    assert graph.floats([1.0]) != graph.constant(np.array([1.0]))  # another type
    first = graph.weight("a", np.ones(3))
    assert graph.weight("a", np.ones(3)) == first == "a"
    assert len(graph.constants) == 6


def test_large_constants_can_stay_outside():
    graph = Graph()
    large = np.arange(1000, dtype=np.float32)
    graph.name(graph.op("Add", graph.op("Mul", "x", graph.weight("large", large)), graph.floats([1.0])), "y")
    described = (int(TensorProto.FLOAT), [1000])
    inside, outside = (graph.model({"x": described}, {"y": described}, outside=flag) for flag in (False, True))
    assert set(graph.large_constants()) == {"large"}
    assert len(inside.SerializeToString()) > 4000 > 1000 > len(outside.SerializeToString())
    options = onnxruntime.SessionOptions()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(large)
    options.add_external_initializers(["large"], [value])
    session = onnxruntime.InferenceSession(outside.SerializeToString(), options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": large})[0], large * large + 1)


@pytest.mark.parametrize("cut", [(0, 3, 1), (-2, -9, -1), (1, 8, 3)])
def test_slices_are_pythons(cut):
    start, stop, step = cut
    graph, x = Graph(np.float64), np.arange(20.0).reshape(2, 10)
    graph.name(graph.slice("x", start, stop, 1, step), "y")
    described = (int(TensorProto.DOUBLE), ["rows", "columns"])
    results: Any = ReferenceEvaluator(graph.model({"x": described}, {"y": described})).run(None, {"x": x})
    np.testing.assert_array_equal(results[0], x[:, start:stop:step])
