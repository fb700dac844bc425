"""The JAX backend: a network on a JAX device. Compiled once for each shape of input, for all backends of a process."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from rmvpe.backends import device_name
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.chunked_gru import BLOCK_FRAMES
from rmvpe.config import MelConfig
from rmvpe.errors import UserError
from rmvpe.framing import round_up
from rmvpe.processes import cpus_of_this_process
from rmvpe.remote import RemoteBackend, open_backend
from rmvpe.turns import Turns
from rmvpe_jax import mel
from rmvpe_jax.checkpoint import load_model
from rmvpe_jax.compiled_programs import keep_compiled_programs
from rmvpe_jax.device import kind_of, name_of, resolve, take_memory_as_needed
from rmvpe_jax.gru import gru
from rmvpe_jax.prediction import prepare

CONV_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}
FEWEST_FRAMES = 64  # the shortest length for which the GRU is compiled


class Backend:
    """A checkpoint's network, ready to predict; an `rmvpe.backends.Backend`.

    `device` is where it runs ("cpu", "gpu:0"); `batch_windows` is how many windows go through `features` together.
    """

    name = "jax"

    def __init__(self, checkpoint: Checkpoint, device: Any = "auto", conv_dtype: str = "float32"):
        """Raises UserError if the device is not there or the precision is unknown."""
        if conv_dtype not in CONV_DTYPES:
            raise UserError(f"unknown conv_dtype {conv_dtype!r}: choose one of {', '.join(CONV_DTYPES)}")
        take_memory_as_needed()
        keep_compiled_programs()
        self._checkpoint = checkpoint
        self._options = {"device": device_name(device), "conv_dtype": conv_dtype}
        self._device = resolve(self._options["device"])
        self._mel = checkpoint.config.mel
        model = load_model(checkpoint, CONV_DTYPES[conv_dtype])
        if conv_dtype == "float32":  # folded kernels would lose more than the others in a narrower type
            model = prepare(model, cpu=self._device.platform == "cpu")
        self._graph, state = nnx.split(model)
        self._state = jax.device_put(state, self._device)
        self._hidden = checkpoint.config.gru_hidden
        self.gru_layers = checkpoint.config.gru_layers
        self._float64 = kind_of(self._device).float64
        self.device = name_of(self._device)
        self.batch_windows = kind_of(self._device).batch_windows
        self._remote: RemoteBackend | None = None
        self._turn = Turns(self._after_fork)

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickles: the weights and the other arguments."""
        return open_backend, (self.name, self._checkpoint, self._options)

    @property
    def threads(self) -> int | None:
        """As `rmvpe.backends.Backend`: JAX computes with one for each CPU of this process."""
        return cpus_of_this_process() if self._device.platform == "cpu" else None

    @staticmethod
    def works_after_fork(device: Any) -> bool:
        """Whether such a device can be used in a forked process."""
        return False

    def _after_fork(self) -> None:
        """A forked process has none of the threads that JAX computes with, and JAX cannot start them again."""
        self._remote = RemoteBackend(self.name, self._checkpoint, self._options)

    def features(self, log_mel: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`: log-mel [B, T, n_mels] -> features [B, T, features]."""
        # The last windows of a recording are fewer: rounded up to a power of two, they share a few compiled shapes
        with self._turn:
            if self._remote is not None:
                return self._remote.features(log_mel)
            padded = self._to_device(log_mel, round_up_to_power_of_two(len(log_mel)))
            return np.asarray(features(self._graph, self._state, padded))[: len(log_mel)]

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """As `rmvpe.backends.Network`: [T, features] -> [T, hidden], one direction of one layer."""
        n = len(x)
        with self._turn:
            if self._remote is not None:
                return self._remote.gru(x, state, layer, reverse=reverse)
            padded = self._to_device(x[::-1] if reverse else x, compiled_length(n))  # zeros come last either way
            start = self._to_device(np.zeros(self._hidden) if state is None else state, self._hidden)
            output = np.asarray(run_gru(self._graph, self._state, padded, start, layer=layer, reverse=reverse))[:n]
        return output[::-1] if reverse else output

    def head(self, hidden: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`: GRU outputs [T, 2 * hidden] -> salience [T, 360]."""
        with self._turn:
            if self._remote is not None:
                return self._remote.head(hidden)
            padded = self._to_device(hidden, compiled_length(len(hidden)))
            return np.asarray(head(self._graph, self._state, padded))[: len(hidden)]

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        with self._turn, jax.enable_x64(self._float64):
            if self._remote is not None:
                return self._remote.log_mel(audio, key_shift_semitones=key_shift_semitones)
            samples = np.asarray(audio, np.float64 if self._float64 else np.float32)
            placed = jax.device_put(samples, self._device)
            return np.asarray(log_mel_of(placed, self._mel, key_shift_semitones), np.float32)

    def _to_device(self, array: np.ndarray, length: int) -> Array:
        """The array in float32 with zeros after it, up to `length` rows."""
        padded = np.zeros((length, *array.shape[1:]), np.float32)
        padded[: len(array)] = array
        return jax.device_put(padded, self._device)


# Compiled functions are the module's, with the graph as a static argument: backends of the same network share them, so
# that a validation during training compiles nothing anew.


@partial(jax.jit, static_argnames="graph")
def features(graph: nnx.GraphDef, state: nnx.State, log_mel: Array) -> Array:
    """Input of the GRU [B, T, features] of log-mel [B, T, n_mels], by the model that `graph` and `state` make up."""
    return nnx.merge(graph, state).features(log_mel)


@partial(jax.jit, static_argnames=("graph", "layer", "reverse"))
def run_gru(graph: nnx.GraphDef, state: nnx.State, x: Array, start: Array, *, layer: int, reverse: bool) -> Array:
    """One direction of that model's GRU over [T, features], given in the order of reading -> [T, hidden]."""
    weights = nnx.merge(graph, state).fc[0].gru.weights(layer, reverse=reverse)
    return gru(x[None], *weights, start=start[None])[0]


@partial(jax.jit, static_argnames="graph")
def head(graph: nnx.GraphDef, state: nnx.State, hidden: Array) -> Array:
    """Salience [T, 360] of that model's GRU outputs [T, 2 * hidden]."""
    return nnx.sigmoid(nnx.merge(graph, state).fc[1](hidden))


@partial(jax.jit, static_argnames=("config", "key_shift_semitones"))
def log_mel_of(audio: Array, config: MelConfig, key_shift_semitones: float) -> Array:
    """`rmvpe_jax.mel.log_mel`, compiled: [B, samples] -> [B, T, n_mels]."""
    return mel.log_mel(audio, config, key_shift_semitones=key_shift_semitones)


def compiled_length(n_frames: int) -> int:
    """The length to which `n_frames` frames are padded: a power of two up to `BLOCK_FRAMES`, then its multiples."""
    if n_frames > BLOCK_FRAMES // 2:
        return round_up(n_frames, BLOCK_FRAMES)
    return max(FEWEST_FRAMES, round_up_to_power_of_two(n_frames))


def round_up_to_power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number` > 0."""
    return 1 << (number - 1).bit_length()
