"""The layers of the network, as ONNX operators. Images are [B, C, T, F] and weights as in torch.

A layer is made with the dotted path of its tensors in the checkpoint, and called with a value of the graph.
"""

from collections.abc import Callable, Mapping

import numpy as np

from rmvpe.config import ModelConfig
from rmvpe_ort.graph import Graph, Value

Layer = Callable[[Value], Value]


class Layers:
    """Makes layers that add to `graph`, from the tensors of a checkpoint; `at` goes down to a submodule.

    results: path -> what the module there gives, for comparisons layer by layer.
    """

    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, np.ndarray],
        graph: Graph,
        *,
        path: str = "",
        results: dict[str, Value] | None = None,
    ):
        self.config = config
        self.graph = graph
        self.path = path
        self.results: dict[str, Value] = {} if results is None else results
        self._tensors = tensors

    def at(self, name: str | int) -> "Layers":
        """The same for the submodule `name`."""
        path = f"{self.path}.{name}" if self.path else str(name)
        return Layers(self.config, self._tensors, self.graph, path=path, results=self.results)

    def conv(self, name: str, *, bias: bool = True) -> Layer:
        """A convolution with "same" padding: of 3x3, or of whatever size its weight has."""
        pads = [size // 2 for size in self.tensor(f"{name}.weight").shape[2:]] * 2
        parts = ("weight", "bias")[: 1 + bias]

        def layer(x: Value) -> Value:
            return self.graph.op("Conv", x, *(self._weight(f"{name}.{part}") for part in parts), pads=pads)

        return self._remembered(name, layer)

    def conv_transpose(self, name: str) -> Layer:
        """A transposed 3x3 convolution that doubles time and frequency."""
        sizes = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
        return self._remembered(
            name, lambda x: self.graph.op("ConvTranspose", x, self._weight(f"{name}.weight"), **sizes)
        )

    def batch_norm(self, name: str) -> Layer:
        """Batch norm by the running statistics."""

        def layer(x: Value) -> Value:
            parts = (self._number(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var"))
            return self.graph.op("BatchNormalization", x, *parts, epsilon=self.config.bn_epsilon)

        return self._remembered(name, layer)

    def relu(self, x: Value) -> Value:
        """The positive part."""
        return self.graph.op("Relu", x)

    def avg_pool(self, x: Value) -> Value:
        """Averages of 2x2: [B, C, T, F] -> [B, C, T/2, F/2]."""
        return self.graph.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])

    def linear(self, name: str) -> Layer:
        """[..., features] -> [..., outputs]."""

        def layer(x: Value) -> Value:
            weight = self.graph.weight(self.at(f"{name}.weight").path, self.tensor(f"{name}.weight").T)
            return self.graph.op("Add", self.graph.op("MatMul", x, weight), self._weight(f"{name}.bias"))

        return self._remembered(name, layer)

    def tensor(self, name: str) -> np.ndarray:
        """A tensor of the checkpoint, by its name below this module."""
        return self._tensors[f"{self.path}.{name}" if self.path else name]

    def remember(self, value: Value) -> Value:
        """Note `value` as what this module gives, and return it."""
        self.results[self.path] = value
        return value

    def _remembered(self, name: str, layer: Layer) -> Layer:
        return lambda x: self.at(name).remember(layer(x))

    def _number(self, name: str) -> Value:
        """A tensor of a batch norm: never stored in half, where it would lose what the whole network needs."""
        full = self.at(name).path
        self.graph.constants.setdefault(full, np.ascontiguousarray(self.tensor(name), self.graph.dtype))
        return full

    def _weight(self, name: str) -> Value:
        return self.graph.weight(self.at(name).path, self.tensor(name))


def chain(layers: list[Layer], x: Value) -> Value:
    """Apply the layers one after the other, as torch's `nn.Sequential` does."""
    for layer in layers:
        x = layer(x)
    return x
