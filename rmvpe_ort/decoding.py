"""What a program does before and after the network, in ONNX: padding, silence gate, f0 and voicing.

The definitions are `rmvpe.framing`, `rmvpe.decode` and `rmvpe.calibration`, with the default settings: padding
`silence`, the decoder `local-average`, no hysteresis.
"""

from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from rmvpe.calibration import EDGE, NONE
from rmvpe.config import DecodeConfig, MelConfig
from rmvpe.decode import NEIGHBOURS
from rmvpe.pitch import CENTS_PER_BIN, N_BINS, bins_to_hz
from rmvpe_ort.graph import END, Graph, Value

TINY = np.finfo(np.float32).tiny


class Decoded(NamedTuple):
    """Values of the graph: f0 in Hz, 0 where unvoiced; whether unvoiced; confidence; [B, T] each."""

    f0: Value
    unvoiced: Value
    confidence: Value


def padded(graph: Graph, audio: Value, mel: MelConfig, multiple: int) -> tuple[Value, Value]:
    """Audio [1, n] with its samples under whole frames, and how many frames belong to the audio [1].

    Silence follows the audio up to a multiple of `multiple` frames, then both ends are mirrored for a centred spectrum:
    [1, samples + window]. Any n of 1 or more.
    """
    hop, margin = mel.hop_samples, mel.window_samples // 2
    n = length(graph, audio)
    one = graph.integers(1)
    n_frames = graph.op("Add", graph.op("Div", n, graph.integers(hop)), one)
    unit = multiple * hop
    units = graph.op("Div", graph.op("Add", n, graph.integers(hop + unit - 1)), graph.integers(unit))
    total = graph.op("Sub", graph.op("Mul", units, graph.integers(unit)), graph.integers(hop))
    silence = graph.op("Concat", graph.integers(0, 0, 0), graph.op("Sub", total, n), axis=0)
    samples = graph.op("Pad", audio, silence)
    if unit - hop > margin:  # there is always more than half a window to mirror
        left = graph.slice(samples, margin, 0, 1, -1)
        right = graph.slice(samples, -2, -margin - 2, 1, -1)
        return graph.op("Concat", left, samples, right, axis=1), n_frames
    return mirrored(graph, samples, margin), n_frames


def mirrored(graph: Graph, audio: Value, margin: int) -> Value:
    """Audio [1, n] of any length with `margin` mirrored samples on both sides, mirrored as often as needed."""
    n = length(graph, audio)
    last = graph.op("Sub", n, graph.integers(1))
    period = graph.op("Max", graph.op("Mul", last, graph.integers(2)), graph.integers(1))

    def reflected(positions: Value) -> Value:
        turned = graph.op("Sub", graph.op("Mod", graph.op("Add", positions, last), period), last)
        return graph.op("Gather", audio, graph.op("Abs", turned), axis=1)

    steps = np.arange(margin, dtype=np.int64)
    after = graph.op("Add", graph.constant(steps), n)
    return graph.op("Concat", reflected(graph.constant(steps - margin)), audio, reflected(after), axis=1)


def below_gate(graph: Graph, audio: Value, mel: MelConfig, gate_db: float) -> Value:
    """Whether the level under each frame of audio [1, n] is below `gate_db` dBFS: bool [1, T]."""
    samples = mirrored(graph, audio, mel.window_samples // 2)
    power = graph.op("Unsqueeze", graph.op("Mul", samples, samples), graph.integers(1))  # [1, 1, n + window]
    level = graph.op("AveragePool", power, kernel_shape=[mel.window_samples], strides=[mel.hop_samples])
    quiet = graph.op("Less", level, graph.floats([10.0 ** (gate_db / 10.0)]))
    return graph.op("Squeeze", quiet, graph.integers(1))


def decode(
    graph: Graph,
    salience: Value,
    config: DecodeConfig,
    threshold: Value,
    *,
    shift: float = 0.0,
    silent: Value | None = None,
) -> Decoded:
    """Decode salience [B, T, 360]: unvoiced below `threshold`, where `silent` [B, T], and without any salience.

    shift: the logit of the confidence minus this is what the threshold is compared with (`rmvpe_ort.export`). The
    confidence itself is the estimator's.
    """
    bins = graph.integers(*range(-NEIGHBOURS, NEIGHBOURS + 1))
    centre = graph.op("ArgMax", salience, axis=2, keepdims=1)  # [B, T, 1]
    around = graph.op("Add", centre, bins)  # [B, T, 9]
    zero, end = graph.integers(0), graph.integers(N_BINS - 1)
    inside = graph.op("And", graph.op("GreaterOrEqual", around, zero), graph.op("LessOrEqual", around, end))
    clipped = graph.op("Min", graph.op("Max", around, zero), end)
    found = graph.op("GatherElements", salience, clipped, axis=2)
    weights = graph.op("Mul", found, graph.op("Cast", inside, to=TensorProto.FLOAT))
    # Relative to the centre bin, so that float32 keeps a hundred-thousandth of a cent
    cents = graph.floats(CENTS_PER_BIN * np.arange(-NEIGHBOURS, NEIGHBOURS + 1)[:, None])
    total = graph.op("ReduceSum", weights, graph.integers(2), keepdims=1)
    mean = graph.op("Div", graph.op("MatMul", weights, cents), graph.op("Max", total, graph.floats([TINY])))
    centre_hz = graph.op("Gather", graph.floats(bins_to_hz(np.arange(N_BINS))), centre)
    octaves = graph.op("Div", mean, graph.floats([1200.0]))
    f0 = graph.op("Mul", centre_hz, graph.op("Pow", graph.floats([2.0]), octaves))

    largest = graph.op("ReduceMax", salience, axes=[2], keepdims=1)
    confidence, compared = confidences(graph, largest, config.known_calibration, shift)
    unvoiced = graph.op("Less", squeezed(graph, compared), threshold)
    unvoiced = graph.op("Or", unvoiced, graph.op("Not", graph.op("Greater", squeezed(graph, total), graph.floats([0]))))
    if silent is not None:
        unvoiced = graph.op("Or", unvoiced, silent)
    f0 = graph.op("Where", unvoiced, graph.floats([0]), squeezed(graph, f0))
    return Decoded(f0, unvoiced, squeezed(graph, confidence))


def confidences(graph: Graph, largest: Value, calibration: tuple[float, float], shift: float) -> tuple[Value, Value]:
    """The calibrated confidence of the largest salience [...], and the same with its logit moved down by `shift`."""
    if calibration == NONE and not shift:
        return largest, largest
    inside = graph.op("Min", graph.op("Max", largest, graph.floats([EDGE])), graph.floats([1.0 - EDGE]))
    logit = graph.op("Log", graph.op("Div", inside, graph.op("Sub", graph.floats([1.0]), inside)))
    slope, offset = calibration
    moved = graph.op("Mul", logit, graph.floats([slope]))
    own = graph.op("Sigmoid", graph.op("Add", moved, graph.floats([offset]))) if calibration != NONE else largest
    return own, own if not shift else graph.op("Sigmoid", graph.op("Add", moved, graph.floats([offset - shift])))


def length(graph: Graph, audio: Value) -> Value:
    """The number of samples [1] of audio [1, n]."""
    return graph.slice(graph.op("Shape", audio), 1, END, 0)


def squeezed(graph: Graph, x: Value) -> Value:
    """[B, T, 1] -> [B, T]."""
    return graph.op("Squeeze", x, graph.integers(2))
