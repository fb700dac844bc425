"""fumiama's RVC: `compute_f0`, which answers with a curve of the asked length and without gaps.

Source: https://github.com/fumiama/Retrieval-based-Voice-Conversion-WebUI (`rvc/f0/rmvpe.py`; called in `rvc/f0/gen.py`,
whose numba function wants a plain float array). The rule: frame i of p_len is read at the frame i * T / p_len of the T
frames of 10 ms, linearly in Hz between two voiced frames; then gaps are filled linearly in Hz, and the ends held.
Theirs drops a voiced frame that is the last one of all behind a gap; ours keeps it.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.hosts.core import Family, Host, Threshold, mono
from rmvpe.hosts.networks import Weights

FAMILY = Family(threshold=0.03, pad="zero")


class RMVPE:
    """fumiama's class. `model`: the estimator. `device`, `is_half`: as given. `hop_length`: in samples at 16 kHz."""

    hop_length, sampling_rate = 160, 16000

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        is_half: Any = False,
        device: Any = None,
        use_jit: bool = False,
        *,
        fill_gaps: bool = True,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """As `rmvpe.hosts.rvc.RMVPE`; with fill_gaps=False unvoiced frames stay 0, as in the other versions of RVC."""
        self._host = Host(
            FAMILY,
            model_path,
            device=device,
            is_half=is_half,
            weights=weights,
            backend=backend,
            threshold_scale=threshold_scale,
        )
        self.model: Any = self._host.estimator
        self.device, self.is_half = self._host.device, self._host.is_half
        self._fill_gaps = fill_gaps

    @right_names(drop_in=True)
    def compute_f0(self, wav: Any, p_len: int | None = None, filter_radius: Threshold = None) -> np.ndarray:
        """The f0 of mono audio [n] at 16 kHz in Hz: float64 [p_len], by default [n // 160]; 0 if nothing is voiced.

        filter_radius is the voicing threshold, as fumiama passes it; None is 0.03, which means the weights' own. Raises
        UserError for audio that cannot be used.
        """
        samples = mono(wav)
        n_frames = len(samples) // self.hop_length if p_len is None else int(p_len)
        f0_hz = resized(self._host.f0(samples, filter_radius), n_frames)
        return filled(f0_hz) if self._fill_gaps else f0_hz


def resized(f0_hz: np.ndarray, n_frames: int) -> np.ndarray:
    """f0 float64 [n_frames] of f0 [T] in Hz, read at the frames i * T / n_frames; unvoiced where a neighbour is (0)."""
    if not len(f0_hz) or n_frames <= 0:
        return np.zeros(max(n_frames, 0))
    position = np.arange(n_frames) * len(f0_hz) / n_frames
    gaps = np.where(f0_hz > 0, f0_hz.astype(np.float64), np.nan)
    return np.nan_to_num(np.interp(position, np.arange(len(f0_hz)), gaps))


def filled(f0_hz: np.ndarray) -> np.ndarray:
    """f0 [T] in Hz with its zeros filled linearly in Hz between voiced frames, and the first and last ones held."""
    voiced = np.flatnonzero(f0_hz > 0)
    return np.interp(np.arange(len(f0_hz)), voiced, f0_hz[voiced]) if len(voiced) else f0_hz
