"""The torch backend: salience of log-mel windows on a torch device, as fast as it goes without changing the answer."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rmvpe.checkpoint import Checkpoint
from rmvpe.errors import UserError
from rmvpe_torch import mel
from rmvpe_torch.checkpoint import load_model
from rmvpe_torch.device import full_precision, kind_of, resolve
from rmvpe_torch.model import RMVPE

CONV_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Backend:
    """A checkpoint's network, ready to predict.

    `device` is where it runs ("cpu", "cuda:0"); `batch_windows` how many windows to hand over at once.
    """

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", conv_dtype: str = "float32"):
        """Raises UserError if the device is not there or the precision is unknown."""
        if conv_dtype not in CONV_DTYPES:
            raise UserError(f"unknown conv_dtype {conv_dtype!r}: choose one of {', '.join(CONV_DTYPES)}")
        self._device = resolve(device)
        self._mel = checkpoint.config.mel
        model = fold_batch_norm(load_model(checkpoint, CONV_DTYPES[conv_dtype]))
        # Channels last: a third faster on CPUs, and what tensor cores want
        self._model: RMVPE = model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = str(self._device)
        self.batch_windows = kind_of(self._device).batch_windows

    @torch.inference_mode()
    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Log-mel float32 [B, T, n_mels], T a multiple of the U-Net's stride -> salience float32 [B, T, 360]."""
        with full_precision(self._device):
            return _to_numpy(self._model(self._to_device(log_mel)))

    @torch.inference_mode()
    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] at 16 kHz -> log-mel float32 [B, frames, n_mels] of uncentred frames."""
        return _to_numpy(mel.log_mel(self._to_device(audio), self._mel, key_shift_semitones=key_shift_semitones))

    def _to_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self._device)


def fold_batch_norm(model: RMVPE) -> RMVPE:
    """A copy of a model in evaluation mode whose batch norms are part of the convolutions before them.

    The same function with fewer passes over memory; folded in float64, it moves salience by less than 1e-6. The first
    batch norm of the network stays: zero padding lies between it and the convolution after it.
    """
    folded = copy.deepcopy(model).double()
    for module in folded.modules():
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
    return folded.float().eval()


def _fold_sequence(sequence: nn.Sequential) -> None:
    for i in range(len(sequence) - 1):
        conv, norm = sequence[i], sequence[i + 1]
        if isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(norm, nn.BatchNorm2d):
            sequence[i] = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
            sequence[i + 1] = nn.Identity()


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
