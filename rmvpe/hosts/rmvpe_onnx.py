"""The package rmvpe-onnx: a pitch for every frame, with its confidence and salience, and no decision about voicing.

Source: https://github.com/NewComer00/rmvpe-onnx. Its confidence is the largest salience; ours, for weights that have a
calibration, is a probability. Voiced is what reaches the weights' own threshold, the attribute `threshold`.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.audio import from_array
from rmvpe.decode import pitch
from rmvpe.estimator import DEFAULT_WEIGHTS
from rmvpe.framing import frame_times
from rmvpe.hosts.core import SAMPLE_RATE_HZ, Family, Host
from rmvpe.hosts.networks import Weights

FAMILY = Family(threshold=0.03, pad="reflect")


class RMVPE:
    """rmvpe-onnx's class. `threshold`: the confidence from which a frame is voiced."""

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        device: Any = None,
        *,
        weights: Weights | None = None,
        backend: str = "auto",
    ):
        """As `rmvpe.hosts.rvc.RMVPE`; None for model_path means the bundled weights, as it means a download there."""
        if model_path is None and weights is None:
            weights = DEFAULT_WEIGHTS
        self._host = Host(FAMILY, model_path, device=device, weights=weights, backend=backend)
        self.threshold = self._host.config().known_threshold

    @right_names(drop_in=True)
    def predict(self, audio: Any, sr: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Time in seconds [T], f0 in Hz [T], confidence [T] and salience [T, 360] of audio [n] or [n, channels].

        All are float32, one frame per 10 ms. The f0 is the best pitch of each frame, voiced or not. Raises UserError
        for audio that cannot be used.
        """
        estimator = self._host.estimator
        samples = from_array(audio, sr).samples
        salience = estimator.salience(samples, SAMPLE_RATE_HZ)
        f0_hz, confidence = pitch(salience, estimator.config)
        time_s = frame_times(len(f0_hz), estimator.model.mel)
        return time_s.astype(np.float32), f0_hz.astype(np.float32), confidence.copy(), salience
