"""A large graph as several sessions, one after another: ONNX Runtime needs less memory to build them, and less to run.

While it builds a session it holds the weights three times: as they were given, as it copied them, and in the order in
which it convolves. In parts that is true of one part at a time. The result is that of the whole graph, to the bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rmvpe.memory import give_back
from rmvpe_ort.graph import Graph, Value

LARGE_BYTES = 128 << 20  # of weights: `e2e0` has 345 MB, `small` 4
# Where the network is cut: its bottom holds most of the weights, and what passes there is small
CUTS = ("unet.intermediate.layers.0", "unet.intermediate.layers.2")


class Parts:
    """Sessions that are run one after the other; each is given what it needs of the inputs and of the ones before."""

    def __init__(self, sessions: Sequence[Any], output: Value):
        self._sessions, self._output = sessions, output
        wanted = [set(session.inputs) for session in sessions]
        # What is still needed after each session: the rest is freed
        self._kept = [set().union({output}, *wanted[number + 1 :]) for number in range(len(sessions))]

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        """The result for these inputs, in float32."""
        values = dict(inputs)
        for session, kept in zip(self._sessions, self._kept, strict=True):
            results = session.all_results(**{name: values[name] for name in session.inputs})
            values = {name: value for name, value in (values | results).items() if name in kept}
        return values[self._output]

    def abandon(self) -> None:
        """As `rmvpe_ort.infer.Session.abandon`."""
        for session in self._sessions:
            session.abandon()


def is_large(graph: Graph) -> bool:
    """Whether a graph is better built in parts."""
    return sum(array.nbytes for array in graph.large_constants().values()) > LARGE_BYTES


def open_parts(graph: Graph, ends: Sequence[Value], output: Value, open_part: Callable[..., Any]) -> Parts:
    """The graph, cut after the nodes that make the values `ends`, as sessions.

    open_part: makes a session of a graph, from (graph, the values that it is given, those that it must give).
    """
    parts = cut(graph, ends)
    given = [outside(part) for part in parts]
    sessions = []
    for number, part in enumerate(parts):
        later = {output}.union(*given[number + 1 :])
        made = [value for node in part.nodes for value in node.output if value in later]
        sessions.append(open_part(part, given[number], made))
        give_back()  # freed by ONNX Runtime: two copies of the weights of this part
    return Parts(sessions, output)


def cut(graph: Graph, ends: Sequence[Value]) -> list[Graph]:
    """The graph in consecutive parts, each with its own nodes and the constants that they use."""
    groups: list[list[Any]] = [[]]
    for node in graph.nodes:
        groups[-1].append(node)
        if set(node.output) & set(ends):
            groups.append([])
    return [_part(graph, nodes, graph.constants) for nodes in groups if nodes]


def outside(graph: Graph) -> list[Value]:
    """The values that a part uses and does not make, in the order of their first use."""
    made = {value for node in graph.nodes for value in node.output}
    used = (value for node in graph.nodes for value in node.input)
    return [value for value in dict.fromkeys(used) if value not in made and value not in graph.constants]


def _part(graph: Graph, nodes: list[Any], constants: Mapping[Value, np.ndarray]) -> Graph:
    part = Graph(graph.dtype, half_weights=graph.half_weights)
    part.nodes = nodes
    part.constants = {value: constants[value] for node in nodes for value in node.input if value in constants}
    return part
