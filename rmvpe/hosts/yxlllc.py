"""yxlllc/RMVPE: the class that takes audio of any rate, a device and the decoder with each call.

Source: https://github.com/yxlllc/RMVPE (`src/inference.py`). DDSP-SVC and Diffusion-SVC have a copy of it, for which
`rmvpe.hosts.ddsp` is the same class with their padding. The class answers in float32, as theirs does.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.hosts.core import SAMPLE_RATE_HZ, Family, Host, Threshold
from rmvpe.hosts.networks import Weights
from rmvpe.track import check_hop

FAMILY = Family(threshold=0.03, pad="reflect")
HOP_LENGTH = 160  # in samples at 16 kHz: the network's own


class RMVPE:
    """yxlllc's class. `model`: the estimator on the default device. `hop_length`: in samples at 16 kHz."""

    FAMILY = FAMILY

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        hop_length: float = HOP_LENGTH,
        *,
        device: Any = None,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """model_path: a checkpoint of yxlllc or ours; the bundled weights if there is no such file, with one warning.

        hop_length: samples at 16 kHz between frames. The network always runs at 160, and its f0 is read at the other
        times: inside voiced runs linearly in log-frequency, beside unvoiced frames the nearer one. device: of calls
        that name none; a name, a `torch.device`, or None for the best there is. weights, backend: as for `rmvpe.load`;
        given weights replace `model_path`. threshold_scale: "host" or "own", see `rmvpe.hosts.core`. Raises UserError
        for weights that are damaged, a backend that is not there, and an impossible hop.
        """
        check_hop(hop_length / SAMPLE_RATE_HZ)
        self.hop_length = hop_length
        self._choice: dict[str, Any] = {
            "model_path": model_path,
            "weights": weights,
            "backend": backend,
            "threshold_scale": threshold_scale,
        }
        self._default_device = device
        self._hosts: dict[str, Host] = {}
        self._host = self._host_on(None)
        self.model: Any = self._host.estimator

    @right_names(drop_in=True)
    def infer_from_audio(
        self,
        audio: Any,
        sample_rate: float = SAMPLE_RATE_HZ,
        device: Any = None,
        thred: Threshold = None,
        use_viterbi: bool = False,
    ) -> np.ndarray:
        """The f0 of mono audio [n] at `sample_rate` Hz, in Hz, 0 where unvoiced: float32 [floor(duration / hop) + 1].

        Frame k is at k hops, 10 ms by default. device: of this call; the network of each device is kept. thred: the
        voicing threshold on yxlllc's scale, on which 0.03 means the weights' own; None is 0.03. use_viterbi: decode by
        the most likely path. Raises UserError for audio, a sample rate or a threshold that cannot be used.
        """
        decoding: dict[str, Any] = {"decoder": "viterbi" if use_viterbi else "local-average"}
        if self.hop_length != HOP_LENGTH:
            decoding["hop_s"] = self.hop_length / SAMPLE_RATE_HZ
        return self._host_on(device).f0(audio, thred, sample_rate=sample_rate, **decoding)

    def _host_on(self, device: Any) -> Host:
        """The estimator on a device, None for the default one."""
        wanted = self._default_device if device is None else device
        if str(wanted) not in self._hosts:
            self._hosts[str(wanted)] = Host(self.FAMILY, device=wanted, **self._choice)
        return self._hosts[str(wanted)]
