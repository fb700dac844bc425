"""The log-mel spectrogram on a torch device: the numbers of `rmvpe.mel`, which defines it."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rmvpe.config import MelConfig
from rmvpe.mel import filterbank, hann, shifted_window
from rmvpe_torch.device import kind_of


def log_mel(
    audio: Tensor, config: MelConfig, *, key_shift_semitones: float = 0.0, complex_fft: bool | None = None
) -> Tensor:
    """Log-mel [B, frames, n_mels] of audio [B, samples] at 16 kHz, in its type; frame k starts at sample k * hop.

    It can be differentiated. For frames around sample k * hop, as an estimator has them, pad the audio by half a window
    of mirrored samples on both sides. Within 1e-5 of `rmvpe.mel.log_mel(..., centred=False)`. `complex_fft=False`
    computes the spectrum as a product with cosines and sines in float32, for devices without complex numbers or
    float64: within 2e-4, and 1e-3 in bands that are almost silent beside loud ones; the key shift must give a window of
    an even length. None: as the device can.
    Raises ValueError if the audio is shorter than one window.
    """
    window_samples = shifted_window(config, key_shift_semitones)
    if audio.shape[-1] < window_samples:
        raise ValueError(f"{audio.shape[-1]} samples are fewer than one window of {window_samples}")
    frames = audio.unfold(-1, window_samples, config.hop_samples)  # [B, frames, window]
    use_fft = kind_of(audio.device).complex_fft if complex_fft is None else complex_fft
    magnitude = _magnitude_by_fft(frames) if use_fft else _magnitude_by_product(frames)
    bins = min(magnitude.shape[-1], config.window_samples // 2 + 1)  # a shifted window has more, or fewer
    magnitude = magnitude[..., :bins] * (config.window_samples / window_samples)
    mel = magnitude @ _on(filterbank(config).T[:bins], audio)  # [B, frames, bins] -> [B, frames, n_mels]
    return mel.clamp(min=config.floor).log()


def _magnitude_by_fft(frames: Tensor) -> Tensor:
    wide = frames.double()  # as the definition does
    return torch.fft.rfft(wide * _on(hann(wide.shape[-1]), wide)).abs().to(frames.dtype)


def _magnitude_by_product(frames: Tensor) -> Tensor:
    """Cosines are even around the middle of the window and sines odd, so half the products are enough."""
    half = frames.shape[-1] // 2
    frames = frames * _on(hann(frames.shape[-1]), frames)
    left, right = frames[..., 1:half], frames[..., half + 1 :].flip(-1)
    even = torch.cat([frames[..., :1], left + right, frames[..., half : half + 1]], dim=-1)  # samples 0 to half
    cosine, sine = (_on(matrix, frames) for matrix in _fourier(frames.shape[-1]))
    power = (even @ cosine).square() + ((left - right) @ sine).square()
    return power.clamp(min=torch.finfo(power.dtype).tiny).sqrt()  # at 0 the gradient of a root is infinite


@lru_cache(maxsize=2)
def _fourier(window_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines [half + 1, bins] and sines [half - 1, bins] of the real Fourier transform of an even window."""
    bins = np.arange(window_samples // 2 + 1)
    turns = np.outer(bins, bins) % window_samples  # exact integers below one turn, so that the angles are exact
    angle = turns * (2.0 * np.pi / window_samples)
    return np.cos(angle), np.sin(angle[1:-1])


def _on(array: np.ndarray, like: Tensor) -> Tensor:
    """`array` as a tensor with the type and device of `like`."""
    return torch.tensor(array, dtype=like.dtype).to(like.device)
