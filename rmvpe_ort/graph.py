"""A growing ONNX graph: operators are added one by one, and each gives the name of its result.

The files hold opset 17, which DirectML and the field's tools take, and IR version 8: newer ones are refused by ONNX
Runtime 1.23, the last for Python 3.10. Operators: https://onnx.ai/onnx/operators/.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
SMALL_BYTES = 1024  # constants up to this size are written into the model even where the weights stay outside

END = np.iinfo(np.int64).max  # for `Graph.slice`: up to the last
Value = str  # the name of a tensor in the graph


class Graph:
    """The operators and constants of a model, in the order in which they were added.

    dtype: the type of all floating-point constants, float32; float64 for checks by `onnx.reference`.
    half_weights: whether `weight` stores float16, which the graph casts to `dtype` when it is loaded.
    """

    def __init__(self, dtype: Any = np.float32, *, half_weights: bool = False):
        self.dtype = np.dtype(dtype)
        self.half_weights = half_weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[Value, np.ndarray] = {}
        self._by_content: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._count = 0

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> Value:
        """Add an operator of one result, with ONNX's name and attributes."""
        return self.ops(kind, *inputs, count=1, **attributes)[0]

    def ops(self, kind: str, *inputs: Value, count: int, **attributes: Any) -> list[Value]:
        """Add an operator of `count` results."""
        results = [self._new(kind) for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), results, **attributes))
        return results

    def weight(self, name: str, array: np.ndarray) -> Value:
        """A tensor of the checkpoint, under its name there, in the graph's type."""
        if name not in self.constants:
            stored = np.float16 if self.half_weights else self.dtype
            self.constants[name] = np.ascontiguousarray(array, stored)
        return self.op("Cast", name, to=self.onnx_dtype) if self.half_weights else name

    def constant(self, array: np.ndarray) -> Value:
        """A constant in the type of `array`."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._by_content:
            self._by_content[key] = self._new("constant")
            self.constants[self._by_content[key]] = array
        return self._by_content[key]

    def floats(self, array: Any) -> Value:
        """A constant in the graph's floating-point type."""
        return self.constant(np.asarray(array, self.dtype))

    def integers(self, *values: int) -> Value:
        """A constant int64 [n]."""
        return self.constant(np.array(values, np.int64))

    def integer(self, value: int) -> Value:
        """A constant int64 without axes."""
        return self.constant(np.array(value, np.int64))

    def name(self, value: Value, name: str) -> None:
        """Give a result the name under which it leaves the graph."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))

    def slice(self, x: Value, start: int, stop: int, axis: int, step: int = 1) -> Value:
        """x[..., start:stop:step, ...] along an axis, as in Python."""
        return self.op("Slice", x, *(self.integers(number) for number in (start, stop, axis, step)))

    @property
    def onnx_dtype(self) -> int:
        """ONNX's number for the graph's floating-point type."""
        return helper.np_dtype_to_tensor_dtype(self.dtype)

    def model(
        self,
        inputs: Mapping[Value, tuple[int, Sequence[int | str]]],
        outputs: Mapping[Value, tuple[int, Sequence[int | str]]],
        metadata: Mapping[str, str] | None = None,
        *,
        outside: bool = False,
    ) -> onnx.ModelProto:
        """The model with these inputs and outputs: name -> (element type, shape; a word is an axis of any length).

        outside: leave constants of more than `SMALL_BYTES` out of it; the session is given them (`large_constants`).
        """
        large = self.large_constants() if outside else {}
        made = helper.make_graph(
            self.nodes,
            "rmvpe",
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in outputs.items()],
            initializer=[
                _placeholder(name, array) if name in large else numpy_helper.from_array(array, name)
                for name, array in self.constants.items()
            ],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(made, opset_imports=opset, ir_version=IR_VERSION, producer_name="rmvpe")
        helper.set_model_props(model, dict(metadata or {}))
        return model

    def large_constants(self) -> dict[Value, np.ndarray]:
        """The constants that a model made with `outside` lacks."""
        return {name: array for name, array in self.constants.items() if array.nbytes > SMALL_BYTES}

    def _new(self, kind: str) -> Value:
        self._count += 1
        return f"{kind}_{self._count}"


def _placeholder(name: str, array: np.ndarray) -> TensorProto:
    """A constant whose numbers are given to the session apart: without a copy, and beyond protobuf's 2 GB."""
    tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="given_to_the_session")
    return tensor


def fold_batch_norm(graph: Graph) -> None:
    """Make the batch norms of a graph part of the convolutions before them: the same function, fewer passes.

    Folded in float64, as in `rmvpe_torch.folding`. The first batch norm of the network stays: zero padding
    lies between it and the convolution after it.
    """
    makers = {node.output[0]: node for node in graph.nodes}
    kept = []
    for node in graph.nodes:
        conv = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if conv is None or conv.op_type not in ("Conv", "ConvTranspose"):
            kept.append(node)
            continue
        scale, shift = batch_norm_factors([graph.constants.pop(name) for name in node.input[1:]], epsilon_of(node))
        weight = graph.constants[conv.input[1]]
        graph.constants[conv.input[1]] = folded_weight(weight, scale, transposed=conv.op_type == "ConvTranspose")
        bias = f"{conv.input[1].removesuffix('weight')}bias"
        graph.constants[bias] = shift.astype(weight.dtype)  # these convolutions have none of their own
        conv.input.append(bias)
        conv.output[0] = node.output[0]
    graph.nodes[:] = kept


def batch_norm_factors(numbers: Sequence[np.ndarray], epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Batch norm by (scale, bias, mean, variance) as `x * factor + shift`, float64 [channels] each."""
    scale, bias, mean, variance = numbers
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return factor, bias - mean * factor


def folded_weight(weight: np.ndarray, factor: np.ndarray, *, transposed: bool) -> np.ndarray:
    """A convolution's weight [out, in, H, W] times a float64 factor [out], rounded once; itself if nothing changes.

    transposed: it is [in, out, H, W].
    """
    result = np.empty_like(weight)
    along = factor[:, None, None] if transposed else factor[:, None, None, None]
    np.multiply(weight, along, out=result, dtype=np.float64, casting="same_kind")  # no float64 copy of all of it
    return weight if np.array_equal(result, weight) else result


def epsilon_of(node: onnx.NodeProto) -> float:
    """The epsilon of a batch norm."""
    return next(attribute.f for attribute in node.attribute if attribute.name == "epsilon")


def convolve_in_half(graph: Graph) -> None:
    """Compute the convolutions of a graph in float16, on float16 copies of their inputs; all else stays as it is."""
    nodes = []
    for node in graph.nodes:
        nodes.append(node)
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        for name in node.input[1:]:
            graph.constants[name] = graph.constants[name].astype(np.float16)
        half_input, half_output = f"{node.output[0]}_input", f"{node.output[0]}_half"
        nodes.insert(-1, helper.make_node("Cast", [node.input[0]], [half_input], to=TensorProto.FLOAT16))
        nodes.append(helper.make_node("Cast", [half_output], [node.output[0]], to=graph.onnx_dtype))
        node.input[0], node.output[0] = half_input, half_output
    graph.nodes[:] = nodes
