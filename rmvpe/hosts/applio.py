"""Applio, and ultimate-rvc with its copy: the class behind their `RMVPE.get_f0`, offline and in real time.

Source: https://github.com/IAHispano/Applio (`rvc/lib/predictors/RMVPE.py`, and the callers `rvc/lib/predictors/f0.py`
and `rvc/realtime/pipeline.py`). Offline, Applio builds the class for every call: the network is kept
(`rmvpe.hosts.networks`). In real time it replaces `infer_from_audio`, `to_local_average_cents` and `cents_mapping` of
the object by functions on tensors, which call `mel_extractor`, `mel2hidden` and `decode`; so `decode` decides voicing
itself, with the weights' threshold.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.hosts.core import Family, Host, Threshold
from rmvpe.hosts.networks import Weights
from rmvpe.hosts.pieces import Pieces

FAMILY = Family(threshold=0.03, pad="reflect")


class RMVPE0Predictor(Pieces):
    """Applio's class. `model`: the estimator; `device`: as given; `resample_kernel` is empty.

    The steps `mel_extractor`, `mel2hidden`, `decode`, `to_local_average_cents` and `cents_mapping` are those of
    `rmvpe.hosts.pieces`.
    """

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        device: Any = None,
        *,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """Arguments and errors are those of `rmvpe.hosts.rvc.RMVPE`."""
        host = Host(
            FAMILY, model_path, device=device, weights=weights, backend=backend, threshold_scale=threshold_scale
        )
        self._make_pieces(host)
        self.model: Any = host.estimator
        self.device = host.device
        self.resample_kernel: dict[Any, Any] = {}

    @right_names(drop_in=True)
    def infer_from_audio(self, audio: Any, thred: Threshold = None) -> np.ndarray:
        """The f0 of audio, as `rmvpe.hosts.rvc.RMVPE.infer_from_audio` gives it: float32 [n // 160 + 1]."""
        return self._host.f0(audio, thred)
