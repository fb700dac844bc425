"""The torch backend: a network on a torch device, as fast as it goes without changing the result."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rmvpe.backends import device_name
from rmvpe.checkpoint.store import Checkpoint, in_memory
from rmvpe.errors import UserError
from rmvpe.remote import RemoteBackend, open_backend
from rmvpe.turns import Turns, is_inherited
from rmvpe_torch import mel
from rmvpe_torch.device import full_precision, kind_of, resolve, use_float32_convolutions
from rmvpe_torch.folding import folded_checkpoint, load_folded

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
    ):
        """With `sdaa_conv_fp32`, an SDAA card keeps float32 convolutions in float32, which is not its default.

        Raises UserError if the device is not there or the precision is unknown.
        """
        if conv_dtype not in CONV_DTYPES:
            raise UserError(f"unknown conv_dtype {conv_dtype!r}: choose one of {', '.join(CONV_DTYPES)}")
        if sdaa_conv_fp32 and conv_dtype == "float32":
            use_float32_convolutions()
        if is_inherited(self.name):
            torch.set_num_threads(1)  # the others exist in the parent only
        name = device_name(device)
        self._options = {"device": name, "conv_dtype": conv_dtype, "sdaa_conv_fp32": sdaa_conv_fp32}
        self._device = resolve(name)
        self._mel = checkpoint.config.mel
        self._model = load_folded(checkpoint, CONV_DTYPES[conv_dtype], self._device)
        # A forked process cannot read what is on a GPU; on the CPU one copy of the weights is enough
        self._kept = None if self._device.type == "cpu" else in_memory(checkpoint)
        self._metadata = checkpoint.metadata
        gru = cast(nn.GRU, self._model.get_submodule("fc.0.gru"))
        self.gru_layers = gru.num_layers
        self._directions = {key: one_direction(gru, *key).to(self._device) for key in directions(gru)}
        self.device = str(self._device)
        self.batch_windows = kind_of(self._device).batch_windows
        self._remote: RemoteBackend | None = None
        self._turn = Turns(self._after_fork)

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickles: the weights and the other arguments."""
        return open_backend, (self.name, self._checkpoint(), self._options)

    @property
    def threads(self) -> int | None:
        """As `rmvpe.backends.Backend`."""
        return torch.get_num_threads() if self._device.type == "cpu" else None

    @staticmethod
    def works_after_fork(device: Any) -> bool:
        """Whether such a device can be used in a forked process."""
        return resolve(device).type == "cpu"

    def _after_fork(self) -> None:
        """A forked process has none of the threads that torch computes with, and none of a GPU's context."""
        if self._device.type == "cpu":
            torch.set_num_threads(1)
        else:
            self._remote = RemoteBackend(self.name, self._checkpoint(), self._options)

    @torch.inference_mode()
    def features(self, log_mel: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`: log-mel [B, T, n_mels] -> features [B, T, features]."""
        with self._turn, full_precision(self._device):
            if self._remote is not None:
                return self._remote.features(log_mel)
            return _to_numpy(self._model.features(self._to_device(log_mel)))

    @torch.inference_mode()
    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """As `rmvpe.backends.Network`: [T, features] -> [T, hidden], one direction of one layer."""
        direction = self._directions[layer, reverse]
        start = np.zeros(direction.hidden_size) if state is None else state
        with self._turn, full_precision(self._device):
            if self._remote is not None:
                return self._remote.gru(x, state, layer, reverse=reverse)
            read = self._to_device(x[::-1] if reverse else x)
            output = _to_numpy(direction(read[None], self._to_device(start)[None, None])[0][0])
        return output[::-1] if reverse else output

    @torch.inference_mode()
    def head(self, hidden: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`: GRU outputs [T, 2 * hidden] -> salience [T, 360]."""
        with self._turn, full_precision(self._device):
            if self._remote is not None:
                return self._remote.head(hidden)
            return _to_numpy(torch.sigmoid(self._model.fc[1](self._to_device(hidden))))

    @torch.inference_mode()
    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        with self._turn:
            if self._remote is not None:
                return self._remote.log_mel(audio, key_shift_semitones=key_shift_semitones)
            return _to_numpy(mel.log_mel(self._to_device(audio), self._mel, key_shift_semitones=key_shift_semitones))

    def _checkpoint(self) -> Checkpoint:
        """Weights that make this backend again, to the bit."""
        return folded_checkpoint(self._model, self._metadata) if self._kept is None else self._kept

    def _to_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self._device)


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
