"""The ONNX Runtime backend: the network in parts, each a session of its own, so that every weight is held once."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto

from rmvpe.backends import Pair, States, device_name
from rmvpe.batches import Batch
from rmvpe.checkpoint.architecture import weight_bytes
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.errors import UserError
from rmvpe.parallel import in_threads, padded_rows, row_threads
from rmvpe.processes import threads_of_this_process
from rmvpe.remote import RemoteBackend, open_backend
from rmvpe.turns import Turns
from rmvpe_ort import mel
from rmvpe_ort.device import KINDS, Device, resolve
from rmvpe_ort.folding import folded
from rmvpe_ort.graph import Graph, convolve_in_half, fold_batch_norm
from rmvpe_ort.layers import Layers
from rmvpe_ort.model import RMVPE
from rmvpe_ort.parts import CUTS, Parts, is_large, open_parts

CONV_DTYPES = ("float32", "float16")
# Threads that wait for others sleep, and work is shared in pieces that get smaller: beside other programs a thread that
# is not running holds up the rest for less long. The results are the same bits.
SESSION_CONFIG = {"session.intra_op.allow_spinning": "0", "session.dynamic_block_base": "4"}
ERRORS_ONLY = 3  # of ONNX Runtime's levels of logging
IMAGE = ("batch", "channels", "time", "frequency")
Shapes = Mapping[str, Sequence[int | str]]  # name -> lengths of the axes; a word is an axis of any length


class Backend:
    """A checkpoint's network, ready to predict; an `rmvpe.backends.Backend`.

    `device` is where it runs ("cpu", "cuda:0"); `batch_windows` is how many windows go through `features` together.
    """

    name = "onnx"
    whole_batches = False

    def __init__(
        self, checkpoint: Checkpoint, device: Any = "auto", conv_dtype: str = "float32", *, threads: int | None = None
    ):
        """threads: of the CPU, by default OMP_NUM_THREADS, else the cores that this process may use.

        Raises UserError if the device is not there, does not start, or cannot compute in that precision.
        """
        if conv_dtype not in CONV_DTYPES:
            raise UserError(f"ONNX Runtime has no conv_dtype {conv_dtype!r}: choose {' or '.join(CONV_DTYPES)}")
        self._checkpoint = folded(checkpoint)
        self._options = {"device": device_name(device), "conv_dtype": conv_dtype, "threads": threads}
        self._device = resolve(self._options["device"])
        self._threads = threads or threads_of_this_process()
        self.gru_layers = checkpoint.config.gru_layers
        self.device = str(self._device)
        self._n_features = checkpoint.config.head_channels * checkpoint.config.mel.n_mels
        self._row_threads = row_threads(self.threads, weight_bytes(checkpoint.config))
        self.batch_windows = max(self._row_threads, KINDS[self._device.kind].batch_windows)
        self._remote: RemoteBackend | None = None
        self._turn = Turns(self._after_fork)
        self._start()

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickles: the weights and the other arguments."""
        return open_backend, (self.name, self._checkpoint, self._options)

    @property
    def threads(self) -> int | None:
        """As `rmvpe.backends.Backend`."""
        return self._threads if self._device.kind == "cpu" else None

    @staticmethod
    def works_after_fork(device: Any) -> bool:
        """Whether such a device can be used in a forked process."""
        return resolve(device).kind == "cpu"

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        """As `rmvpe.backends.Network`: log-mel [B, T, n_mels] -> features [B, T, features].

        Every row alone at its own length if these differ, and in a thread of its own where there are `row_threads`.
        """
        with self._turn:
            if self._remote is not None:
                return self._remote.features(log_mel, lengths)
            if lengths is None and (len(log_mel) == 1 or self._row_threads == 1):
                return self._features(log_mel=log_mel)
            own = [log_mel.shape[1]] * len(log_mel) if lengths is None else lengths
            rows = [row[None, :length] for row, length in zip(log_mel, own)]
            return padded_rows(self._each_row(rows), log_mel.shape[1])

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """As `rmvpe.backends.Network`: [T, features] -> [T, hidden], one direction of one layer."""
        start = np.zeros(self._checkpoint.config.gru_hidden) if state is None else state
        with self._turn:
            if self._remote is not None:
                return self._remote.gru(x, state, layer, reverse=reverse)
            return self._directions[layer, reverse](x=x, state=start)

    def gru_pair(self, xs: Pair, states: States, layer: int) -> Pair:
        """As `rmvpe.backends.Network`; on a CPU of several threads each direction has one."""
        zeros = np.zeros(self._checkpoint.config.gru_hidden)
        runs = [
            (self._directions[layer, reverse], x, zeros if state is None else state)
            for reverse, x, state in zip((False, True), xs, states)
        ]
        with self._turn:
            if self._remote is not None:
                return self._remote.gru_pair(xs, states, layer)
            ahead, behind = in_threads([partial(run, x=x, state=state) for run, x, state in runs], self.threads or 1)
            return ahead, behind

    def salience(self, batch: Batch) -> np.ndarray:
        """Not here: ONNX Runtime keeps nothing on a device between two sessions."""
        raise NotImplementedError("ONNX Runtime takes a recording through the network in parts")

    def head(self, hidden: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`: GRU outputs [T, 2 * hidden] -> salience [T, 360]."""
        with self._turn:
            if self._remote is not None:
                return self._remote.head(hidden)
            return self._head(hidden=hidden)

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        with self._turn:
            if self._remote is not None:
                return self._remote.log_mel(audio, key_shift_semitones=key_shift_semitones)
            if key_shift_semitones not in self._spectra:
                self._spectra[key_shift_semitones] = self._spectrum(key_shift_semitones)
            return self._spectra[key_shift_semitones](audio=audio)

    def _start(self) -> None:
        config, tensors = self._checkpoint.config, self._checkpoint.tensors
        features, hidden = self._n_features, config.gru_hidden
        self._features = self._unet(self._threads)

        self._directions = {}
        for layer in range(config.gru_layers):
            for reverse in (False, True):
                graph = Graph()
                gru = RMVPE(Layers(config, tensors, graph)).bigru.gru
                graph.name(gru.direction("x", "state", layer, reverse=reverse), "hidden")
                shapes: Shapes = {"x": ["frames", 2 * hidden if layer else features], "state": [hidden]}
                # A step of a GRU is too little work to share
                self._directions[layer, reverse] = Session(graph, shapes, ["hidden"], self._device, threads=1)

        graph = Graph()
        logits = RMVPE(Layers(config, tensors, graph)).linear("hidden")
        graph.name(graph.op("Sigmoid", logits), "salience")
        self._head = Session(graph, {"hidden": ["frames", 2 * hidden]}, ["salience"], self._device, self._threads)
        self._spectra: dict[float, Session] = {}

    def _unet(self, threads: int) -> "Session | Parts":
        config = self._checkpoint.config
        graph = Graph()
        make = Layers(config, self._checkpoint.tensors, graph)
        graph.name(RMVPE(make).features("log_mel"), "features")
        fold_batch_norm(graph)
        if self._options["conv_dtype"] == "float16":
            convolve_in_half(graph)
        shapes: Shapes = {"log_mel": ["batch", "frames", config.mel.n_mels]}
        if self._device.kind != "cpu" or not is_large(graph):
            return Session(graph, shapes, ["features"], self._device, threads)

        def open_part(part: Graph, given: Sequence[str], made: Sequence[str]) -> Session:
            images = {value: shapes.get(value, IMAGE) for value in given}
            return Session(part, images, made, self._device, threads, part=True)

        return open_parts(graph, [make.results[name] for name in CUTS if name in make.results], "features", open_part)

    @cached_property
    def _features_of_row(self) -> "Session | Parts":
        """The U-Net on a single thread, made when several rows first come together."""
        return self._unet(threads=1)

    def _each_row(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Features [T_i, features] of each row [1, T_i, n_mels]."""
        session = self._features if self._row_threads == 1 or len(rows) == 1 else self._features_of_row
        return [found[0] for found in in_threads([partial(session, log_mel=row) for row in rows], self._row_threads)]

    def _spectrum(self, key_shift_semitones: float) -> "Session":
        graph = Graph()
        precision = KINDS[self._device.kind].precision
        config = self._checkpoint.config.mel
        made = mel.log_mel(graph, "audio", config, key_shift_semitones=key_shift_semitones, precision=precision)
        graph.name(made, "log_mel")
        return Session(graph, {"audio": ["batch", "samples"]}, ["log_mel"], self._device, self._threads)

    def _after_fork(self) -> None:
        """A forked process has none of the threads of the sessions, and nothing of a GPU's."""
        if self._device.kind == "cpu":
            rows = [self.__dict__.pop("_features_of_row")] if "_features_of_row" in self.__dict__ else []
            for session in (self._features, *rows, *self._directions.values(), self._head, *self._spectra.values()):
                session.abandon()
            self._threads = self._row_threads = 1
            self._start()
        else:
            self._remote = RemoteBackend(self.name, self._checkpoint, self._options)


class Session:
    """A graph of float32 results on a device, called with its inputs by name.

    part: whether others run before and after it (`rmvpe_ort.parts`): its threads then stop at the end of a run instead
    of taking time from those of the next, and memory for the results is not reserved beforehand in each.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Shapes,
        outputs: Sequence[str],
        device: Device,
        threads: int,
        *,
        part: bool = False,
        open_session: Callable[..., Any] = onnxruntime.InferenceSession,
    ):
        """Raises UserError if the device does not start."""
        floats = {name: (int(TensorProto.FLOAT), shape) for name, shape in inputs.items()}
        self.inputs = tuple(inputs)
        self._outputs = list(outputs)
        model = graph.model(floats, {name: (TensorProto.FLOAT, []) for name in outputs}, outside=True)
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")  # ONNX Runtime finds it
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        for key, value in SESSION_CONFIG.items():
            options.add_session_config_entry(key, value)
        if part:
            options.enable_mem_pattern = False
            options.add_session_config_entry("session.force_spinning_stop", "1")
        # Kept: the session reads the weights where they are
        self._weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in graph.large_constants().items()
        }
        options.add_external_initializers(list(self._weights), list(self._weights.values()))
        wanted = KINDS[device.kind].provider
        try:
            self._session = open_session(
                model.SerializeToString(), options, providers=device.providers, enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime has an exception of its own for each kind of failure
            raise UserError(f"device {device} does not start: {in_one_line(error)}; choose cpu") from error
        if self._session.get_providers()[0] != wanted:
            raise UserError(
                f"device {device} does not start: onnxruntime could not load its {wanted}; see what it needs at "
                "onnxruntime.ai/docs/execution-providers, or choose cpu"
            )

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        """The first result for these inputs, in float32."""
        return self.all_results(**inputs)[self._outputs[0]]

    def all_results(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """All results for these inputs, by name."""
        given = {name: np.ascontiguousarray(array, np.float32) for name, array in inputs.items()}
        return dict(zip(self._outputs, self._session.run(self._outputs, given), strict=True))

    def abandon(self) -> None:
        """Never free the session, for a forked process: freeing would wait for threads that the parent has."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))


def in_one_line(error: Exception) -> str:
    """The message of an error of ONNX Runtime."""
    return " ".join(str(error).split())
