"""ONNX files that other programs read: from audio to f0, from a log-mel spectrogram to salience, or to f0.

    waveform    waveform [1, samples], threshold [] -> f0, uv, pitchf, confidence, [1, frames] each
    mel         mel [batch, 128, frames]            -> hidden [batch, frames, 360], the salience
    mel-pitch   mel [1, 128, frames], threshold []  -> pitchf [1, frames]

The names, their order and their types are those that programs ask for: docs/onnx-files.md has a table. A program that
passes a threshold means "the usual" by a number that was chosen for other weights. `threshold_for` is that number:
inside the graph it then stands for the threshold that these weights recommend, and others move smoothly with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from rmvpe import __version__
from rmvpe.checkpoint.content_hash import hash_of_arrays
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import DecodeConfig
from rmvpe.errors import UserError
from rmvpe.estimator import check_supported, default_config
from rmvpe.pitch import BIN0_CENTS
from rmvpe_ort import mel as mel_graph
from rmvpe_ort.decoding import below_gate, decode, padded
from rmvpe_ort.graph import Graph, Value, fold_batch_norm
from rmvpe_ort.layers import Layers
from rmvpe_ort.model import RMVPE

KINDS = ("waveform", "mel", "mel-pitch")
INPUT_NAMES = ("mel", "input")
OUTPUT_NAMES = ("hidden", "f0")
DTYPES = ("float32", "float16")
FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL


@dataclass(frozen=True)
class ExportSettings:
    """What to write. kind: one of `KINDS`. dtype: how weights are stored; all is computed in float32.

    threshold_for: the number by which the reading program means its usual threshold; None: the numbers are confidences.
    salience_for: of the kind mel, the same for a program that compares salience itself. input_name,
    output_name: of the kind mel.
    Raises UserError for settings that do not exist or do not go together.
    """

    kind: str = "waveform"
    dtype: str = "float32"
    threshold_for: float | None = None
    salience_for: float | None = None
    input_name: str = "mel"
    output_name: str = "hidden"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, KINDS),
            ("dtype", self.dtype, DTYPES),
            ("input name", self.input_name, INPUT_NAMES),
            ("output name", self.output_name, OUTPUT_NAMES),
        ):
            if value not in known:
                raise UserError(f"unknown {name} {value!r} of an ONNX file: choose {', '.join(known)}")
        if self.kind == "mel" and self.threshold_for is not None:
            raise UserError("a file of kind mel takes no threshold: give --salience-for, or another --kind")
        named = (self.input_name, self.output_name) != (INPUT_NAMES[0], OUTPUT_NAMES[0])
        if self.kind != "mel" and (self.salience_for is not None or named):
            raise UserError("--salience-for, --input-name and --output-name are for files of --kind mel")
        for number in (self.threshold_for, self.salience_for):
            if number is not None and not 0.0 < number < 1.0:
                raise UserError(f"the threshold {number} of another program must be between 0 and 1, without both")


def build(checkpoint: Checkpoint, settings: ExportSettings = ExportSettings()) -> onnx.ModelProto:
    """The model of a file. Raises UserError for a network that `rmvpe.estimator.Estimator` refuses too."""
    config = checkpoint.config
    check_supported(config)
    graph = Graph(half_weights=settings.dtype == "float16")
    network = RMVPE(Layers(config, checkpoint.tensors, graph))
    decoding = default_config(checkpoint)
    shift = threshold_shift(checkpoint, settings.threshold_for)
    made = {"waveform": _waveform, "mel": _mel, "mel-pitch": _mel_pitch}[settings.kind]
    inputs, outputs = made(graph, network, decoding, settings, shift)
    if not graph.half_weights:
        # Stored in half, folded weights move f0 by 0.3 cents, and those of the checkpoint by less than 0.001
        fold_batch_norm(graph)
    model = graph.model(inputs, outputs, metadata_of(checkpoint, settings))
    onnx.checker.check_model(model, full_check=True)
    return model


Described = Mapping[Value, tuple[int, list[int | str]]]


def _waveform(
    graph: Graph, network: RMVPE, decoding: DecodeConfig, settings: ExportSettings, shift: float
) -> tuple[Described, Described]:
    config = network.make.config
    samples, n_frames = padded(graph, "waveform", config.mel, config.time_multiple)
    log_mel = mel_graph.log_mel(graph, samples, config.mel)
    salience = graph.op("Slice", network(log_mel), graph.integers(0), n_frames, graph.integers(1))
    silent = below_gate(graph, "waveform", config.mel, decoding.silence_gate_db)
    found = decode(graph, salience, decoding, "threshold", shift=shift, silent=silent)
    for value, name in ((found.f0, "f0"), (found.unvoiced, "uv"), (found.f0, "pitchf")):
        graph.name(value, name)
    graph.name(found.confidence, "confidence")
    row: list[int | str] = [1, "n_frames"]
    outputs = {"f0": (FLOAT, row), "uv": (BOOL, row), "pitchf": (FLOAT, row), "confidence": (FLOAT, row)}
    return {"waveform": (FLOAT, [1, "n_samples"]), "threshold": (FLOAT, [])}, outputs


def _mel(
    graph: Graph, network: RMVPE, decoding: DecodeConfig, settings: ExportSettings, shift: float
) -> tuple[Described, Described]:
    name, bands = settings.input_name, network.make.config.mel.n_mels
    log_mel, n_frames = _rounded_up(graph, name, network)
    logits = network.logits(log_mel)
    moved = salience_shift(decoding, settings.salience_for)
    salience = graph.op("Sigmoid", graph.op("Sub", logits, graph.floats([moved])) if moved else logits)
    graph.name(graph.op("Slice", salience, graph.integers(0), n_frames, graph.integers(1)), settings.output_name)
    outputs: Described = {settings.output_name: (FLOAT, ["batch", "frames", network.make.config.n_bins])}
    return {name: (FLOAT, ["batch", bands, "frames"])}, outputs


def _mel_pitch(
    graph: Graph, network: RMVPE, decoding: DecodeConfig, settings: ExportSettings, shift: float
) -> tuple[Described, Described]:
    log_mel, n_frames = _rounded_up(graph, "mel", network)
    salience = graph.op("Slice", network(log_mel), graph.integers(0), n_frames, graph.integers(1))
    graph.name(decode(graph, salience, decoding, "threshold", shift=shift).f0, "pitchf")
    inputs: Described = {"mel": (FLOAT, [1, network.make.config.mel.n_mels, "frames"]), "threshold": (FLOAT, [])}
    return inputs, {"pitchf": (FLOAT, [1, "frames"])}


def _rounded_up(graph: Graph, name: Value, network: RMVPE) -> tuple[Value, Value]:
    """Log-mel [B, bands, T] as [B, T', bands] with silence up to the network's stride, and T [1]."""
    config = network.make.config
    n_frames = graph.slice(graph.op("Shape", name), 2, 3, 0)
    stride = graph.integers(config.time_multiple)
    missing = graph.op("Mod", graph.op("Sub", graph.integers(0), n_frames), stride)
    after = graph.op("Concat", graph.integers(0, 0, 0, 0, 0), missing, axis=0)
    silence = graph.constant(np.array(math.log(config.mel.floor), np.float32))
    return graph.op("Transpose", graph.op("Pad", name, after, silence), perm=[0, 2, 1]), n_frames


def threshold_shift(checkpoint: Checkpoint, threshold_for: float | None) -> float:
    """By how much the logit of the confidence moves down, so that `threshold_for` means the recommended threshold.

    0 for weights that recommend none: published ones, for whose salience the numbers of programs were chosen.
    """
    if threshold_for is None or checkpoint.threshold is None:
        return 0.0
    return logit(checkpoint.threshold) - logit(threshold_for)


def salience_shift(decoding: DecodeConfig, salience_for: float | None) -> float:
    """The same for every salience: so that `salience_for` is the salience from which on frames are voiced."""
    if salience_for is None:
        return 0.0
    slope, offset = decoding.known_calibration
    return (logit(decoding.known_threshold) - offset) / slope - logit(salience_for)


def logit(share: float) -> float:
    """log(p / (1 - p)). Raises UserError for 0 and 1, which have none."""
    if not 0.0 < share < 1.0:
        raise UserError(f"the weights recommend the threshold {share:g}, which no other number can stand for")
    return math.log(share / (1.0 - share))


def metadata_of(checkpoint: Checkpoint, settings: ExportSettings) -> dict[str, str]:
    """What the file says of itself: the front end under the names that rmvpe-lite asks for, and the decoding."""
    mel, decoding = checkpoint.config.mel, default_config(checkpoint)
    known = {
        "sample_rate": mel.sample_rate,
        "n_mels": mel.n_mels,
        "window_length": mel.window_samples,
        "hop_length": mel.hop_samples,
        "mel_fmin": mel.f_min_hz,
        "mel_fmax": mel.f_max_hz,
        "n_class": checkpoint.config.n_bins,
        "cents_const": BIN0_CENTS,
        "center": "true",
        "stft_pad_mode": "reflect",
        "kind": settings.kind,
        "network": checkpoint.config.name,
        "weights_hash": hash_of_arrays({}, checkpoint.tensors),
        "rmvpe_version": __version__,
        "threshold": decoding.known_threshold,
        "calibration": ",".join(map(repr, decoding.known_calibration)),
        "threshold_for": settings.threshold_for,
        "salience_for": settings.salience_for,
        "licence": checkpoint.metadata.get("licence"),
    }
    return {name: str(value) for name, value in known.items() if value is not None}
