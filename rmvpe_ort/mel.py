"""The log-mel spectrogram in ONNX: the numbers of `rmvpe.mel`, which defines it, from products with cosines and sines.

ONNX's own STFT operator is missing in DirectML, CoreML and browsers, so the spectrum is a matrix product. Cosines are
even around the middle of the window and sines odd, so half the products are enough; the matrices are gathered from one
period of a cosine when the model is loaded, and take no room in the file.
"""

import numpy as np
from onnx import helper

from rmvpe.config import MelConfig
from rmvpe.mel import filterbank, hann, shifted_window
from rmvpe_ort.graph import END, Graph, Value


def log_mel(
    graph: Graph, audio: Value, config: MelConfig, *, key_shift_semitones: float = 0.0, precision: type = np.float32
) -> Value:
    """Log-mel float32 [B, T, n_mels] of audio float32 [B, samples]; frame k starts at sample k * hop.

    precision: of the spectrum, np.float32, or np.float64 for what ONNX Runtime computes on a CPU or with CUDA: within
    1e-5 of `rmvpe.mel.log_mel(..., centred=False)`; in float32 within 2e-4, and 1e-3 in bands that are almost silent
    beside loud ones.
    """
    window_samples = shifted_window(config, key_shift_semitones)
    audio = graph.op("Cast", audio, to=helper.np_dtype_to_tensor_dtype(np.dtype(precision)))
    frames = frames_of(graph, audio, window_samples, config.hop_samples, precision)
    spectrum = magnitude(graph, frames, window_samples, precision)
    bins = min(window_samples // 2 + 1, config.window_samples // 2 + 1)  # a shifted window has more, or fewer
    spectrum = graph.slice(spectrum, 0, bins, 2)
    scale = np.float32(config.window_samples / window_samples)
    weights = graph.constant(np.ascontiguousarray(filterbank(config).T[:bins] * scale))
    mel = graph.op("MatMul", spectrum, weights)  # [B, T, bins] -> [B, T, n_mels]
    return graph.op("Log", graph.op("Max", mel, graph.constant(np.float32(config.floor).reshape(1))))


def frames_of(graph: Graph, audio: Value, window_samples: int, hop_samples: int, precision: type) -> Value:
    """Overlapping frames [B, T, window_samples] of audio [B, samples]: whole hops side by side, cut to the window."""
    hops = -(-window_samples // hop_samples)
    samples = graph.op("Slice", graph.op("Shape", audio), *(graph.integers(number) for number in (1, 2)))
    missing = graph.op("Sub", samples, graph.integers(window_samples))
    n_frames = graph.op("Add", graph.op("Div", missing, graph.integers(hop_samples)), graph.integers(1))
    surplus = graph.constant(np.array([0, 0, 0, hops * hop_samples - window_samples], np.int64))
    audio = graph.op("Pad", audio, surplus, graph.constant(np.zeros((), precision)))
    last = graph.op("Mul", graph.op("Add", n_frames, graph.integers(hops - 1)), graph.integers(hop_samples))
    audio = graph.op("Slice", audio, graph.integers(0), last, graph.integers(1))
    blocks = graph.op("Reshape", audio, graph.integers(0, -1, hop_samples))  # [B, T + hops - 1, hop]
    parts = [graph.slice(blocks, hop, hop - hops + 1 or END, 1) for hop in range(hops)]  # [B, T, hop] each
    return graph.slice(graph.op("Concat", *parts, axis=2), 0, window_samples, 2)


def magnitude(graph: Graph, frames: Value, window_samples: int, precision: type) -> Value:
    """Magnitude spectrum float32 [B, T, window_samples // 2 + 1] of frames [B, T, window_samples]."""
    frames = graph.op("Mul", frames, graph.constant(hann(window_samples).astype(precision)))
    half = (window_samples - 1) // 2  # pairs of samples at the same distance from the middle of the window
    left = graph.slice(frames, 1, half + 1, 2)
    right = graph.slice(frames, -1, -half - 1, 2, -1)
    first = graph.slice(frames, 0, 1, 2)
    middle = [graph.slice(frames, half + 1, half + 2, 2)] if window_samples % 2 == 0 else []
    even = graph.op("Concat", first, graph.op("Add", left, right), *middle, axis=2)
    period = 2.0 * np.pi * np.arange(window_samples) / window_samples
    cosine = graph.constant(np.cos(period).astype(precision))
    sine = graph.constant(np.sin(period).astype(precision))
    bins = window_samples // 2 + 1
    real = graph.op("MatMul", even, _waves(graph, cosine, 0, half + 1 + len(middle), bins, window_samples))
    imaginary = graph.op("MatMul", graph.op("Sub", left, right), _waves(graph, sine, 1, half + 1, bins, window_samples))
    power = graph.op("Add", *(graph.op("Mul", part, part) for part in (real, imaginary)))
    return graph.op("Cast", graph.op("Sqrt", power), to=helper.np_dtype_to_tensor_dtype(np.dtype(np.float32)))


def _waves(graph: Graph, wave: Value, first: int, stop: int, bins: int, period: int) -> Value:
    """[stop - first, bins]: at sample n of bin k the value of `wave` [period] at n * k."""
    one, zero = graph.integer(1), graph.integer(0)
    samples = graph.op(
        "Unsqueeze", graph.op("Range", graph.integer(first), graph.integer(stop), one), graph.integers(1)
    )
    turns = graph.op("Mul", samples, graph.op("Range", zero, graph.integer(bins), one))
    # Exact integers below one period, so that the angles are exact
    return graph.op("Gather", wave, graph.op("Mod", turns, graph.integers(period)))
