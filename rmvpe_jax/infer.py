"""The JAX backend: a network on a JAX device. Compiled once for each shape of input, for all backends of a process."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from rmvpe.backends import Pair, States, device_name
from rmvpe.batches import Batch
from rmvpe.checkpoint.store import Checkpoint, in_memory
from rmvpe.chunked_gru import BLOCK_FRAMES
from rmvpe.config import MelConfig
from rmvpe.errors import UserError
from rmvpe.framing import round_up
from rmvpe.memory import give_back
from rmvpe.parallel import in_threads
from rmvpe.processes import jax_threads
from rmvpe.remote import RemoteBackend, open_backend
from rmvpe.turns import Turns
from rmvpe_jax import mel
from rmvpe_jax.checkpoint import load_model
from rmvpe_jax.compiled_programs import keep_compiled_programs
from rmvpe_jax.device import kind_of, name_of, resolve, take_memory_as_needed
from rmvpe_jax.gru import bidirectional, gru_of_length
from rmvpe_jax.params import nnx_to_torch
from rmvpe_jax.prediction import folded_weights, prepare
from rmvpe_jax.ragged import filler_hidden

CONV_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}
LENGTHS = (320, 640, 1024, 2048, 3072)  # frames for which the U-Net is compiled; the last one is a whole window


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
        self._options = {"device": device_name(device), "conv_dtype": conv_dtype}
        self._device = resolve(self._options["device"])
        self._mel = checkpoint.config.mel
        model = load_model(checkpoint, CONV_DTYPES[conv_dtype])
        on_cpu = self._device.platform == "cpu"
        if conv_dtype == "float32":  # folded kernels would lose more than the others in a narrower type
            model = prepare(model, cpu=on_cpu)
        # A forked process cannot read what is on a GPU; on a CPU these are views of the network's own arrays
        self._kept = folded_weights(model) if on_cpu else in_memory(checkpoint)
        self._config, self._metadata = checkpoint.config, checkpoint.metadata
        self._graph, state = nnx.split(model)
        self._state = jax.device_put(state, self._device)
        placed: Any = nnx.merge(self._graph, self._state)
        self._gru_weights = {
            (layer, reverse): placed.fc[0].gru.weights(layer, reverse=reverse)
            for layer in range(checkpoint.config.gru_layers)
            for reverse in (False, True)
        }
        if on_cpu:
            give_back()  # the kernels before they were folded
        self._hidden = checkpoint.config.gru_hidden
        self.gru_layers = checkpoint.config.gru_layers
        self._float64 = kind_of(self._device).float64
        self.device = name_of(self._device)
        self.batch_windows = kind_of(self._device).batch_windows
        self.whole_batches = kind_of(self._device).whole_batches
        self._n_features = checkpoint.config.head_channels * checkpoint.config.mel.n_mels
        self._remote: RemoteBackend | None = None
        self._turn = Turns(self._after_fork)

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickles: the weights and the other arguments."""
        return open_backend, (self.name, self._checkpoint(), self._options)

    @property
    def threads(self) -> int | None:
        """As `rmvpe.backends.Backend`."""
        return jax_threads() if self._device.platform == "cpu" else None

    @staticmethod
    def works_after_fork(device: Any) -> bool:
        """Whether such a device can be used in a forked process."""
        return False

    def _after_fork(self) -> None:
        """A forked process has none of the threads that JAX computes with, and JAX cannot start them again."""
        self._remote = RemoteBackend(self.name, self._checkpoint(), self._options)

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        """As `rmvpe.backends.Network`: log-mel [B, T, n_mels] -> features [B, T, features].

        Filler makes other shapes into one of the few that are compiled.
        """
        with self._turn:
            if self._remote is not None:
                return self._remote.features(log_mel, lengths)
            batch, frames, bands = log_mel.shape
            rows, compiled = self.batch_windows if batch > 1 else 1, compiled_frames(frames)
            padded = np.zeros((round_up(batch, rows), compiled, bands), np.float32)
            padded[:batch, :frames] = log_mel
            own = np.zeros(len(padded), np.int32)
            own[:batch] = frames if lengths is None else lengths
            parts = [
                np.asarray(features(self._graph, self._state, *self._placed(padded[k : k + rows], own[k : k + rows])))
                for k in range(0, len(padded), rows)
            ]
            return np.concatenate(parts)[:batch, :frames]

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """As `rmvpe.backends.Network`: [T, features] -> [T, hidden], one direction of one layer."""
        with self._turn:
            if self._remote is not None:
                return self._remote.gru(x, state, layer, reverse=reverse)
            return self._gru(x, state, layer, reverse)

    def gru_pair(self, xs: Pair, states: States, layer: int) -> Pair:
        """As `rmvpe.backends.Network`; on a CPU of several threads each direction has one."""
        runs = zip(xs, states, (False, True))
        with self._turn:
            if self._remote is not None:
                return self._remote.gru_pair(xs, states, layer)
            computations = [partial(self._gru, x, state, layer, reverse) for x, state, reverse in runs]
            ahead, behind = in_threads(computations, min(self.threads or 1, 2))
            return ahead, behind

    def salience(self, batch: Batch) -> np.ndarray:
        """As `rmvpe.backends.Network`: the windows of several recordings -> salience [B, T, 360], all on the device.

        Filled up to a few shapes: windows to `LENGTHS` and a power of two of full batches, recordings to a power of two
        of frames, and to one or a full batch.
        """
        with self._turn:
            if self._remote is not None:
                return self._remote.salience(batch)
            rows, frames = self.batch_windows, compiled_frames(batch.log_mel.shape[1])
            n_windows = rows * round_up_to_power_of_two(-(-len(batch.log_mel) // rows))
            log_mel = filled(batch.log_mel, (n_windows, frames))
            lengths = filled(batch.lengths, (n_windows,))
            buffer = self._placed(np.zeros((n_windows, frames, self._n_features), np.float32))[0]
            for start in range(0, len(batch.log_mel), rows):
                part = self._placed(log_mel[start : start + rows], lengths[start : start + rows], np.int32(start))
                buffer = put(buffer, features(self._graph, self._state, *part[:2]), part[2])
            # The rows of the windows are now further apart
            before, after = (
                each // batch.log_mel.shape[1] * frames + each % batch.log_mel.shape[1]
                for each in (batch.before, batch.after)
            )
            recordings, longest = before.shape
            shape = (1 if recordings == 1 else round_up(recordings, rows), round_up_to_power_of_two(longest))
            given = self._placed(*(filled(each, shape) for each in (before, after, batch.share)))
            own = self._placed(filled(batch.frames, shape[:1]))
            found = salience_of_windows(self._graph, self._state, buffer, *given, *own)
            return np.asarray(found)[:recordings, :longest]

    def head(self, hidden: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`: GRU outputs [T, 2 * hidden] -> salience [T, 360]."""
        with self._turn:
            if self._remote is not None:
                return self._remote.head(hidden)
            return np.concatenate(
                [
                    np.asarray(head(self._graph, self._state, self._block(hidden[start : start + BLOCK_FRAMES])))
                    for start in range(0, len(hidden), BLOCK_FRAMES)
                ]
            )[: len(hidden)]

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        with self._turn, jax.enable_x64(self._float64):
            if self._remote is not None:
                return self._remote.log_mel(audio, key_shift_semitones=key_shift_semitones)
            samples = np.asarray(audio, np.float64 if self._float64 else np.float32)
            placed = jax.device_put(samples, self._device)
            return np.asarray(log_mel_of(placed, self._mel, key_shift_semitones), np.float32)

    def _checkpoint(self) -> Checkpoint:
        """The weights, under their official names."""
        if isinstance(self._kept, Checkpoint):
            return self._kept
        arrays = {name: array() for name, array in self._kept.items()}
        return Checkpoint(self._config, nnx_to_torch(arrays, self._config), dict(self._metadata))

    def _gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, reverse: bool) -> np.ndarray:
        weights, outputs = self._gru_weights[layer, reverse], []
        h = np.zeros(self._hidden, np.float32) if state is None else np.asarray(state, np.float32)
        read = x[::-1] if reverse else x
        for start in range(0, len(read), BLOCK_FRAMES):
            block = read[start : start + BLOCK_FRAMES]
            given = self._placed(np.int32(len(block)), h)
            outputs.append(np.asarray(run_gru(self._block(block), *given, weights))[: len(block)])
            h = outputs[-1][-1]
        output = np.concatenate(outputs)
        return output[::-1] if reverse else output

    def _block(self, array: np.ndarray) -> Array:
        """The array [n, ...] in float32 with zeros after it, on the device: [BLOCK_FRAMES, ...]."""
        padded = np.zeros((BLOCK_FRAMES, *array.shape[1:]), np.float32)
        padded[: len(array)] = array
        return self._placed(padded)[0]

    def _placed(self, *arrays: Any) -> list[Array]:
        return [jax.device_put(array, self._device) for array in arrays]


# Compiled functions are the module's, with the graph as a static argument: backends of the same network share them, so
# that a validation during training compiles nothing anew. `LENGTHS` are all shapes that they are compiled for.


@partial(jax.jit, static_argnames="graph")
def features(graph: nnx.GraphDef, state: nnx.State, log_mel: Array, lengths: Array) -> Array:
    """Input of the GRU [B, T, features] of log-mel [B, T, n_mels], by the model that `graph` and `state` make up.

    lengths: the frames of each row [B] that are its own; see `rmvpe_jax.ragged`.
    """
    with filler_hidden(lengths, log_mel.shape[1]):
        return nnx.merge(graph, state).features(log_mel)


@jax.jit
def run_gru(x: Array, frames: Array, start: Array, weights: tuple[Array, ...]) -> Array:
    """One direction of a GRU over the first `frames` of [T, features], in the order of reading -> [T, hidden]."""
    return gru_of_length(x[None], frames, start[None], *weights)[0]


@partial(jax.jit, donate_argnums=0)
def put(buffer: Array, part: Array, start: Array) -> Array:
    """The buffer [W, ...] with a part [w, ...] from row `start` on, in the buffer's memory."""
    return jax.lax.dynamic_update_slice_in_dim(buffer, part, start, axis=0)


@partial(jax.jit, static_argnames="graph")
def salience_of_windows(
    graph: nnx.GraphDef, state: nnx.State, windows: Array, before: Array, after: Array, share: Array, frames: Array
) -> Array:
    """Salience [B, T, 360] of the U-Net's outputs [W, L, features], joined as `rmvpe.batches.Batch` says."""
    model, share = nnx.merge(graph, state), share[..., None]
    rows = windows.reshape(-1, windows.shape[-1])
    x = rows[before] * (1.0 - share) + rows[after] * share
    recurrent = model.fc[0].gru
    for layer in range(recurrent.layers):
        x = bidirectional(x, frames, *(recurrent.weights(layer, reverse=reverse) for reverse in (False, True)))
    return nnx.sigmoid(model.fc[1](x))


@partial(jax.jit, static_argnames="graph")
def head(graph: nnx.GraphDef, state: nnx.State, hidden: Array) -> Array:
    """Salience [T, 360] of that model's GRU outputs [T, 2 * hidden]."""
    return nnx.sigmoid(nnx.merge(graph, state).fc[1](hidden))


@partial(jax.jit, static_argnames=("config", "key_shift_semitones"))
def log_mel_of(audio: Array, config: MelConfig, key_shift_semitones: float) -> Array:
    """`rmvpe_jax.mel.log_mel`, compiled: [B, samples] -> [B, T, n_mels]."""
    return mel.log_mel(audio, config, key_shift_semitones=key_shift_semitones)


def filled(array: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """The array with zeros after it along its first axes, up to these lengths."""
    missing = [(0, length - had) for length, had in zip(lengths, array.shape)]
    return np.pad(array, missing + [(0, 0)] * (array.ndim - len(missing)))


def round_up_to_power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number` > 0."""
    return 1 << (number - 1).bit_length()


def compiled_frames(n_frames: int) -> int:
    """The length to which `n_frames` frames are filled up: the next of `LENGTHS`, then multiples of the last."""
    longest = LENGTHS[-1]
    return next((length for length in LENGTHS if length >= n_frames), round_up(n_frames, longest))
