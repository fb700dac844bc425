"""The JAX backend: salience of log-mel windows on a JAX device. Compiled once for each shape of input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from rmvpe.checkpoint import Checkpoint
from rmvpe.errors import UserError
from rmvpe_jax import mel
from rmvpe_jax.checkpoint import load_model
from rmvpe_jax.device import kind_of, name_of, resolve, take_memory_as_needed

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
        self._log_mel = jax.jit(partial(mel.log_mel, config=self._mel), static_argnames="key_shift_semitones")
        self._float64 = kind_of(self._device).float64
        self.device = name_of(self._device)
        self.batch_windows = kind_of(self._device).batch_windows

    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Log-mel float32 [B, T, n_mels], T a multiple of the U-Net's stride -> salience float32 [B, T, 360]."""
        batch = len(log_mel)
        # The last windows of a recording are fewer: rounded up to a power of two, they share a few compiled shapes
        padded = np.zeros((round_up_to_power_of_two(batch), *log_mel.shape[1:]), np.float32)
        padded[:batch] = log_mel
        return np.asarray(self._forward(self._state, jax.device_put(padded, self._device)))[:batch]

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        with jax.enable_x64(self._float64):
            samples = np.asarray(audio, np.float64 if self._float64 else np.float32)
            shifted = self._log_mel(jax.device_put(samples, self._device), key_shift_semitones=key_shift_semitones)
            return np.asarray(shifted, np.float32)


def forward(graph: nnx.GraphDef, state: nnx.State, log_mel: Array) -> Array:
    """Salience of log-mel windows by the model that `graph` and `state` make up."""
    return nnx.merge(graph, state)(log_mel).astype(jnp.float32)


def round_up_to_power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number` > 0."""
    return 1 << (number - 1).bit_length()
