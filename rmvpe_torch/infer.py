"""The torch backend: a network on a torch device, as fast as it goes without changing the result."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rmvpe.backends import Pair, States, device_name
from rmvpe.batches import Batch
from rmvpe.checkpoint.architecture import weight_bytes
from rmvpe.checkpoint.store import Checkpoint, in_memory
from rmvpe.errors import UserError
from rmvpe.parallel import in_threads, padded_rows, row_threads
from rmvpe.remote import RemoteBackend, open_backend
from rmvpe.turns import Turns, is_inherited
from rmvpe_torch import mel
from rmvpe_torch.device import full_precision, kind_of, resolve, use_float32_convolutions
from rmvpe_torch.folding import folded_checkpoint, load_folded
from rmvpe_torch.ragged import Filler
from rmvpe_torch.threads import CpuThreads

CONV_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Backend:
    """A checkpoint's network, ready to predict; an `rmvpe.backends.Backend`.

    `device` is where it runs ("cpu", "cuda:0"); `batch_windows` is how many windows go through `features` together.
    """

    name = "torch"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: Any = "auto",
        conv_dtype: str = "float32",
        *,
        sdaa_conv_fp32: bool = True,
        threads: int | None = None,
    ):
        """With `sdaa_conv_fp32`, an SDAA card keeps float32 convolutions in float32, which is not its default.

        threads: of the CPU, as `rmvpe_torch.threads.CpuThreads`; in a forked process it is always one.
        Raises UserError if the device is not there, the precision is unknown, or torch cannot have such threads.
        """
        if conv_dtype not in CONV_DTYPES:
            raise UserError(f"unknown conv_dtype {conv_dtype!r}: choose one of {', '.join(CONV_DTYPES)}")
        if sdaa_conv_fp32 and conv_dtype == "float32":
            use_float32_convolutions()
        if is_inherited(self.name):
            torch.set_num_threads(1)  # the others exist in the parent only
        name = device_name(device)
        self._options = {"device": name, "conv_dtype": conv_dtype, "sdaa_conv_fp32": sdaa_conv_fp32, "threads": threads}
        self._device = resolve(name)
        self._threads = CpuThreads(None if is_inherited(self.name) else threads)
        self._mel = checkpoint.config.mel
        self._model = load_folded(checkpoint, CONV_DTYPES[conv_dtype], self._device)
        self._filler = Filler(self._model)
        # A forked process cannot read what is on a GPU; on the CPU one copy of the weights is enough
        self._kept = None if self._device.type == "cpu" else in_memory(checkpoint)
        self._metadata = checkpoint.metadata
        gru = self._bidirectional = cast(nn.GRU, self._model.get_submodule("fc.0.gru"))
        self.gru_layers = gru.num_layers
        self._directions = {key: one_direction(gru, *key).to(self._device) for key in directions(gru)}
        self.device = str(self._device)
        self._row_threads = row_threads(self.threads, weight_bytes(checkpoint.config)) if self._threads.divisible else 1
        self.batch_windows = max(self._row_threads, kind_of(self._device).batch_windows)
        self.whole_batches = kind_of(self._device).whole_batches
        self._remote: RemoteBackend | None = None
        self._turn = Turns(self._after_fork)

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickles: the weights and the other arguments."""
        return open_backend, (self.name, self._checkpoint(), self._options)

    @property
    def threads(self) -> int | None:
        """As `rmvpe.backends.Backend`."""
        return self._threads.number if self._device.type == "cpu" else None

    @staticmethod
    def works_after_fork(device: Any) -> bool:
        """Whether such a device can be used in a forked process."""
        return resolve(device).type == "cpu"

    def _after_fork(self) -> None:
        """A forked process has none of the threads that torch computes with, and none of a GPU's context."""
        if self._device.type == "cpu":
            torch.set_num_threads(1)
            self._threads, self._row_threads = CpuThreads(), 1
        else:
            self._remote = RemoteBackend(self.name, self._checkpoint(), self._options)

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        """As `rmvpe.backends.Network`: log-mel [B, T, n_mels] -> features [B, T, features].

        On a CPU every row alone at its own length, and in a thread of its own where there are several.
        """
        with self._turn, full_precision(self._device):
            if self._remote is not None:
                return self._remote.features(log_mel, lengths)
            if self._device.type != "cpu":
                return _to_numpy(self._features(self._to_device(log_mel), lengths))
            own = [log_mel.shape[1]] * len(log_mel) if lengths is None else lengths
            at_once = min(self._row_threads, len(own))
            rows = [
                partial(self._row, row[None, :length], 1 if at_once > 1 else None) for row, length in zip(log_mel, own)
            ]
            return padded_rows(in_threads(rows, at_once), log_mel.shape[1])

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
            at_once = min(self.threads or 1, 2)
            most = 1 if at_once > 1 else None
            computations = [partial(self._gru, x, state, layer, reverse, most) for x, state, reverse in runs]
            ahead, behind = in_threads(computations, at_once)
            return ahead, behind

    @torch.inference_mode()
    def salience(self, batch: Batch) -> np.ndarray:
        """As `rmvpe.backends.Network`: the windows of several recordings -> salience [B, T, 360], all on the device."""
        with self._turn, full_precision(self._device):
            if self._remote is not None:
                return self._remote.salience(batch)
            windows = zip(*(np.split(each, self._cuts(len(each))) for each in (batch.log_mel, batch.lengths)))
            outputs = [self._features(self._to_device(log_mel), lengths.tolist()) for log_mel, lengths in windows]
            x = self._stitched(torch.cat(outputs).flatten(0, 1), batch)
            # Packed, so that the backward direction starts at each recording's own end
            packed = nn.utils.rnn.pack_padded_sequence(
                x, torch.from_numpy(batch.frames).long(), batch_first=True, enforce_sorted=False
            )
            found = self._bidirectional(packed)[0]
            hidden, _ = nn.utils.rnn.pad_packed_sequence(found, batch_first=True, total_length=x.shape[1])
            return _to_numpy(torch.sigmoid(self._model.fc[1](hidden)))

    def _cuts(self, n_windows: int) -> list[int]:
        """Where a batch of windows is cut into those that go through the U-Net together."""
        return list(range(self.batch_windows, n_windows, self.batch_windows))

    def _stitched(self, rows: Tensor, batch: Batch) -> Tensor:
        """Features [W * L, features] -> [B, T, features], cross-faded as by `rmvpe.framing.stitch`."""
        before, after = (torch.from_numpy(each).to(self._device).long() for each in (batch.before, batch.after))
        share = self._to_device(batch.share)[..., None]
        return rows[before] * (1.0 - share) + rows[after] * share

    @torch.inference_mode()
    def head(self, hidden: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`: GRU outputs [T, 2 * hidden] -> salience [T, 360]."""
        with self._turn, self._inside(), full_precision(self._device):
            if self._remote is not None:
                return self._remote.head(hidden)
            return _to_numpy(torch.sigmoid(self._model.fc[1](self._to_device(hidden))))

    @torch.inference_mode()
    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        with self._turn, self._inside():
            if self._remote is not None:
                return self._remote.log_mel(audio, key_shift_semitones=key_shift_semitones)
            return _to_numpy(mel.log_mel(self._to_device(audio), self._mel, key_shift_semitones=key_shift_semitones))

    def _checkpoint(self) -> Checkpoint:
        """Weights that make this backend again, to the bit."""
        return folded_checkpoint(self._model, self._metadata) if self._kept is None else self._kept

    @torch.inference_mode()
    def _row(self, log_mel: np.ndarray, most: int | None) -> np.ndarray:
        """Features [T, features] of log-mel [1, T, n_mels], with at most so many threads."""
        with self._inside(most):
            return _to_numpy(self._model.features(self._to_device(log_mel)))[0]

    @torch.inference_mode()
    def _gru(
        self, x: np.ndarray, state: np.ndarray | None, layer: int, reverse: bool, most: int | None = None
    ) -> np.ndarray:
        direction = self._directions[layer, reverse]
        start = np.zeros(direction.hidden_size) if state is None else state
        read = self._to_device(x[::-1] if reverse else x)
        with self._inside(most), full_precision(self._device):
            output = _to_numpy(direction(read[None], self._to_device(start)[None, None])[0][0])
        return output[::-1] if reverse else output

    @torch.inference_mode()
    def _features(self, log_mel: Tensor, lengths: Sequence[int] | None) -> Tensor:
        if lengths is None:
            return self._model.features(log_mel)
        with self._filler.hidden(lengths, log_mel.shape[1]):
            return self._model.features(log_mel)

    def _inside(self, most: int | None = None) -> AbstractContextManager[None]:
        """The threads of a call, where the CPU computes: as many as it may, or `most`."""
        return self._threads.inside(most) if self._device.type == "cpu" else nullcontext()

    def _to_device(self, array: np.ndarray) -> Tensor:
        array = np.ascontiguousarray(array, dtype=np.float32)
        if any(stride < 0 for stride in array.strides):  # numpy calls a flipped axis of one element contiguous
            array = array.copy()
        return torch.from_numpy(array).to(self._device)


def directions(gru: nn.GRU) -> list[tuple[int, bool]]:
    """(layer, reverse) of each direction of a bidirectional GRU."""
    return [(layer, reverse) for layer in range(gru.num_layers) for reverse in (False, True)]


def one_direction(gru: nn.GRU, layer: int, reverse: bool) -> nn.GRU:
    """A copy of one direction of one layer of a bidirectional GRU: torch runs both or none.

    Shared weights would leave the buffer in which cuDNN wants those of `gru` side by side.
    """
    features = gru.input_size if layer == 0 else 2 * gru.hidden_size
    alone = nn.GRU(features, gru.hidden_size, batch_first=True, dtype=gru.weight_hh_l0.dtype)
    suffix = f"_l{layer}" + "_reverse" * reverse
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    alone.load_state_dict({f"{name}_l0": getattr(gru, name + suffix) for name in names})
    return alone


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
