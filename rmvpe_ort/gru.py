"""The bidirectional GRU in ONNX, from torch's weights.

Torch orders the gates reset, update, new, and ONNX update, reset, hidden. `linear_before_reset` is torch's formula,
whose second bias the reset gate scales. https://onnx.ai/onnx/operators/onnx__GRU.html,
https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
"""

from collections.abc import Sequence

import numpy as np

from rmvpe_ort.graph import Value
from rmvpe_ort.layers import Layers

DIRECTIONS = {False: "forward", True: "reverse"}


class GRU:
    """Bidirectional GRU of `config.gru_layers` layers; forward and backward outputs side by side."""

    def __init__(self, make: Layers):
        self.make = make

    def __call__(self, x: Value) -> Value:
        """[B, T, features] -> [B, T, 2 * hidden]."""
        graph = self.make.graph
        x = graph.op("Transpose", x, perm=[1, 0, 2])  # ONNX reads [T, B, features]
        for layer in range(self.make.config.gru_layers):
            x = self._run(x, layer, (False, True))  # [T, 2, B, hidden]
            x = graph.op("Transpose", x, perm=[0, 2, 1, 3])
            x = graph.op("Reshape", x, graph.integers(0, 0, -1))  # -> [T, B, 2 * hidden]
        return self.make.remember(graph.op("Transpose", x, perm=[1, 0, 2]))

    def direction(self, x: Value, state: Value, layer: int, *, reverse: bool) -> Value:
        """One direction of one layer, from the state [hidden]: [T, features] -> [T, hidden]."""
        graph = self.make.graph
        x = graph.op("Unsqueeze", x, graph.integers(1))
        start = graph.op("Unsqueeze", state, graph.integers(0, 1))
        return graph.op("Squeeze", self._run(x, layer, [reverse], start), graph.integers(1, 2))

    def _run(self, x: Value, layer: int, directions: Sequence[bool], start: Value = "") -> Value:
        graph = self.make.graph
        suffixes = [f"_l{layer}" + "_reverse" * reverse for reverse in directions]
        name = f"{self.make.path}{suffixes[0] if len(suffixes) == 1 else f'_l{layer}'}"
        weight, recurrent = (
            graph.weight(f"{name}.{part}", np.stack([gates(self.make.tensor(part + suffix)) for suffix in suffixes]))
            for part in ("weight_ih", "weight_hh")
        )
        biases = [
            np.concatenate([gates(self.make.tensor(f"{part}{suffix}")) for part in ("bias_ih", "bias_hh")])
            for suffix in suffixes
        ]
        outputs = graph.ops(
            "GRU",
            x,
            weight,
            recurrent,
            graph.floats(np.stack(biases)),
            *(["", start] if start else []),
            count=1,
            hidden_size=self.make.config.gru_hidden,
            direction=DIRECTIONS[directions[0]] if len(directions) == 1 else "bidirectional",
            linear_before_reset=1,
        )
        return outputs[0]


def gates(array: np.ndarray) -> np.ndarray:
    """[3 * hidden, ...] in torch's order of the gates -> in ONNX's."""
    reset, update, new = np.split(array, 3)
    return np.concatenate([update, reset, new])
