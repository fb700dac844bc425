"""How loud each frame is, in dBFS: what the silence gate compares."""

import numpy as np

from rmvpe.config import MelConfig
from rmvpe.framing import samples_of_frames, samples_to_frames

LEVEL_FRAMES = 4096  # whose levels are taken at a time, from 5 MB of samples in float64


def frame_levels_db(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    """Level in dBFS, float64 [frames], of the samples under each frame's analysis window; -inf in digital silence.

    `audio` is mono [n] at the rate of `config`, of full scale 1; 0 dBFS is an RMS of 1. The frames are those of the
    centred spectrogram, mirrored at the ends as there, and unweighted: a level is that of the samples alone.
    """
    n_frames = samples_to_frames(len(audio), config.hop_samples)
    power = np.empty(n_frames)
    for first in range(0, n_frames, LEVEL_FRAMES):
        stop = min(first + LEVEL_FRAMES, n_frames)
        samples = samples_of_frames(audio, 0, first, stop, config).astype(np.float64)
        frames = np.lib.stride_tricks.sliding_window_view(samples, config.window_samples)[:: config.hop_samples]
        power[first:stop] = np.einsum("fs,fs->f", frames, frames) / config.window_samples  # views: no copy of frames
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(power)
