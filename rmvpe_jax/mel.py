"""The log-mel spectrogram on a JAX device: the numbers of `rmvpe.mel`, which defines it."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from rmvpe.config import MelConfig
from rmvpe.mel import filterbank, hann, shifted_window


def log_mel(audio: Array, config: MelConfig, *, key_shift_semitones: float = 0.0) -> Array:
    """Log-mel [B, frames, n_mels] of audio [B, samples] at 16 kHz, in its type; frame k starts at sample k * hop.

    It can be differentiated, under `jit` and `vmap` too. For frames around sample k * hop, as an estimator has them,
    pad the audio by half a window of mirrored samples on both sides. Float64 audio: within 1e-5 of
    `rmvpe.mel.log_mel(..., centred=False)`, which computes in float64 too. Float32 audio: within 2e-4, and within 1e-3
    in nearly silent bands beside loud ones. Raises ValueError if the audio is shorter than
    one window.
    """
    window_samples = shifted_window(config, key_shift_semitones)
    frames = frames_of(audio, window_samples, config.hop_samples)
    window = hann(window_samples).astype(audio.dtype)
    magnitude = jnp.abs(jnp.fft.rfft(frames * window[None, None]))  # [B, frames, bins]
    bins = min(
        magnitude.shape[-1], config.window_samples // 2 + 1
    )  # a key shift gives more bins than the filters have, or fewer
    magnitude = magnitude[..., :bins] * (config.window_samples / window_samples)
    filters = filterbank(config).T[:bins].astype(audio.dtype)
    mel = jnp.matmul(magnitude, filters, precision=lax.Precision.HIGHEST)  # [B, frames, n_mels]
    return jnp.log(jnp.maximum(mel, config.floor))


def frames_of(audio: Array, window_samples: int, hop_samples: int) -> Array:
    """Overlapping frames [B, frames, window_samples] of audio [B, samples]. Raises ValueError if there is none."""
    samples = audio.shape[-1]
    if samples < window_samples:
        raise ValueError(f"{samples} samples are fewer than one window of {window_samples}")
    starts = np.arange(0, samples - window_samples + 1, hop_samples)
    return audio[:, starts[:, None] + np.arange(window_samples)]
