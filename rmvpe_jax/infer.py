"""The JAX backend: salience of log-mel windows on a JAX device. Compiled once for each shape of input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from rmvpe.checkpoint.store import Checkpoint
from rmvpe.chunked_gru import BLOCK_FRAMES
from rmvpe.errors import UserError
from rmvpe.framing import round_up
from rmvpe_jax import mel
from rmvpe_jax.checkpoint import load_model
from rmvpe_jax.device import kind_of, name_of, resolve, take_memory_as_needed
from rmvpe_jax.gru import gru

CONV_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


class Backend:
    """A checkpoint's network, ready to predict.

    `device` is where it runs ("cpu", "gpu:0"); `batch_windows` how many windows to hand over at once.
    """

    name = "jax"

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", conv_dtype: str = "float32"):
        """Raises UserError if the device is not there or the precision is unknown."""
        if conv_dtype not in CONV_DTYPES:
            raise UserError(f"unknown conv_dtype {conv_dtype!r}: choose one of {', '.join(CONV_DTYPES)}")
        take_memory_as_needed()
        self._device = resolve(device)
        self._mel = checkpoint.config.mel
        graph, state = nnx.split(load_model(checkpoint, CONV_DTYPES[conv_dtype]))
        self._state = jax.device_put(state, self._device)
        self._forward = jax.jit(partial(forward, graph))
        self._features = jax.jit(partial(features, graph))
        self._gru = jax.jit(partial(run_gru, graph), static_argnames=("layer", "reverse"))
        self._head = jax.jit(partial(head, graph))
        self._hidden = checkpoint.config.gru_hidden
        self.gru_layers = checkpoint.config.gru_layers
        self._log_mel = jax.jit(partial(mel.log_mel, config=self._mel), static_argnames="key_shift_semitones")
        self._float64 = kind_of(self._device).float64
        self.device = name_of(self._device)
        self.batch_windows = kind_of(self._device).batch_windows

    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Log-mel float32 [B, T, n_mels], T a multiple of the U-Net's stride -> salience float32 [B, T, 360]."""
        # The last windows of a recording are fewer: rounded up to a power of two, they share a few compiled shapes
        padded = self._to_device(log_mel, round_up_to_power_of_two(len(log_mel)))
        return np.asarray(self._forward(self._state, padded))[: len(log_mel)]

    def features(self, log_mel: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.RecurrentNetwork`: log-mel [B, T, n_mels] -> features [B, T, features]."""
        padded = self._to_device(log_mel, round_up_to_power_of_two(len(log_mel)))
        return np.asarray(self._features(self._state, padded))[: len(log_mel)]

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """As `rmvpe.backends.RecurrentNetwork`: [T, features] -> [T, hidden], one direction of one layer."""
        n = len(x)
        padded = self._to_device(x[::-1] if reverse else x, round_up(n, BLOCK_FRAMES))  # zeros come last either way
        start = self._to_device(np.zeros(self._hidden) if state is None else state, self._hidden)
        output = np.asarray(self._gru(self._state, padded, start, layer=layer, reverse=reverse))[:n]
        return output[::-1] if reverse else output

    def head(self, hidden: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.RecurrentNetwork`: GRU outputs [T, 2 * hidden] -> salience [T, 360]."""
        padded = self._to_device(hidden, round_up(len(hidden), BLOCK_FRAMES))
        return np.asarray(self._head(self._state, padded))[: len(hidden)]

    def _to_device(self, array: np.ndarray, length: int) -> Array:
        """The array in float32 with zeros after it, up to `length` rows."""
        padded = np.zeros((length, *array.shape[1:]), np.float32)
        padded[: len(array)] = array
        return jax.device_put(padded, self._device)

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        with jax.enable_x64(self._float64):
            samples = np.asarray(audio, np.float64 if self._float64 else np.float32)
            shifted = self._log_mel(jax.device_put(samples, self._device), key_shift_semitones=key_shift_semitones)
            return np.asarray(shifted, np.float32)


def forward(graph: nnx.GraphDef, state: nnx.State, log_mel: Array) -> Array:
    """Salience of log-mel windows by the model that `graph` and `state` make up."""
    return nnx.merge(graph, state)(log_mel).astype(jnp.float32)


def features(graph: nnx.GraphDef, state: nnx.State, log_mel: Array) -> Array:
    """What that model's GRU reads of log-mel windows."""
    return nnx.merge(graph, state).features(log_mel)


def run_gru(graph: nnx.GraphDef, state: nnx.State, x: Array, start: Array, *, layer: int, reverse: bool) -> Array:
    """One direction of that model's GRU over [T, features], given in the order in which it is to be read."""
    weights = nnx.merge(graph, state).fc[0].gru.weights(layer, reverse=reverse)
    return gru(x[None], *weights, start=start[None])[0]


def head(graph: nnx.GraphDef, state: nnx.State, hidden: Array) -> Array:
    """Salience [T, 360] of that model's GRU outputs [T, 2 * hidden]."""
    return nnx.sigmoid(nnx.merge(graph, state).fc[1](hidden))


def round_up_to_power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number` > 0."""
    return 1 << (number - 1).bit_length()
