"""RVC: the class of Retrieval-based-Voice-Conversion-WebUI, its library, Mangio-RVC-Fork and AICoverGen.

Sources: https://github.com/RVC-Project/Retrieval-based-Voice-Conversion-WebUI (`infer/rmvpe.py`; in the branch 20240604
`infer/lib/rmvpe.py`), https://github.com/RVC-Project/Retrieval-based-Voice-Conversion,
https://github.com/Mangio621/Mangio-RVC-Fork, https://github.com/SociallyIneptWeeb/AICoverGen. The f0 is float32 where
theirs is float64: no caller needs more, and Apple's GPU has no float64.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.hosts.core import Family, Host, Threshold
from rmvpe.hosts.networks import Weights
from rmvpe.hosts.pieces import Pieces

FAMILY = Family(threshold=0.03, pad="zero")


class RMVPE(Pieces):
    """RVC's class. `model`: the estimator, which callers may delete; `device`, `is_half`: as given.

    `resample_kernel` is empty. The steps `mel_extractor`, `mel2hidden`, `decode`, `to_local_average_cents` and
    `cents_mapping` are those of `rmvpe.hosts.pieces`.
    """

    FAMILY = FAMILY

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        is_half: Any = False,
        device: Any = None,
        use_jit: bool = False,
        *,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """model_path: a checkpoint of RVC or ours; the bundled weights if there is no such file, with one warning.

        is_half: half precision for the convolutions, on a GPU only; a bool, or a word such as "True". device: a name, a
        `torch.device`, or None for the best there is. use_jit is ignored. weights, backend: as for `rmvpe.load`; given
        weights replace `model_path`. threshold_scale: "host" or "own", see `rmvpe.hosts.core`. Raises UserError for
        weights that are damaged and for a backend that is not there.
        """
        host = Host(
            self.FAMILY,
            model_path,
            device=device,
            is_half=is_half,
            weights=weights,
            backend=backend,
            threshold_scale=threshold_scale,
        )
        self._make_pieces(host)
        self.model: Any = host.estimator
        self.device, self.is_half = host.device, host.is_half
        self.resample_kernel: dict[Any, Any] = {}

    @right_names(drop_in=True)
    def infer_from_audio(self, audio: Any, thred: Threshold = None) -> np.ndarray:
        """The f0 of mono audio [n] at 16 kHz in Hz, 0 where unvoiced: float32 [n // 160 + 1], one frame per 10 ms.

        audio: an array of any float type, or a tensor on any device. thred: the voicing threshold on RVC's scale, on
        which 0.03 means the weights' own; None is 0.03. Raises UserError for audio that cannot be used.
        """
        return self._host.f0(audio, thred)

    @right_names(drop_in=True)
    def extract_mel(self, audio: Any, center: bool = True) -> Any:
        """Log-mel float32 [B, 128, T] of audio [B, n] or [n], tensor or array as `audio` is."""
        return self.mel_extractor(audio, center=center)
