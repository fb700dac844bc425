"""Clips of several lengths in one batch: what fills the shorter ones up has no influence on them.

A convolution of the U-Net reads one frame beyond the end of a clip, where a clip alone has zeros. So whatever a batch
has there is set to zero before each 3x3 and each transposed convolution; all other layers keep frames apart. Lengths
are multiples of the U-Net's stride, so that at every level a clip ends between two frames.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Filler:
    """Zeroes the filler before each convolution of `model` that reads beyond a frame, while `hidden` says so."""

    def __init__(self, model: nn.Module):
        self._now = threading.local()
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.kernel_size[0] > 1:
                module.register_forward_pre_hook(self._hide)

    @contextmanager
    def hidden(self, lengths: Sequence[int], frames: int) -> Iterator[None]:
        """In this block row k of the network's input [B, frames, n_mels] ends after `lengths[k]` frames."""
        self._now.batch = (torch.tensor(lengths), frames)
        try:
            yield
        finally:
            del self._now.batch

    def _hide(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, ...] | None:
        batch = getattr(self._now, "batch", None)
        if batch is None:
            return None
        x: Tensor = inputs[0]  # [B, C, frames / 2^level, F]
        lengths, frames = batch
        own = (lengths * x.shape[2] // frames).to(x.device)
        filler = torch.arange(x.shape[2], device=x.device) >= own[:, None]
        return (x.masked_fill(filler[:, None, :, None], 0.0),)
