"""so-vits-svc: the predictor, which answers on the grid of the host's hop, and the class inside it.

Source: https://github.com/svc-develop-team/so-vits-svc (`modules/F0Predictor/RMVPEF0Predictor.py`, built by
`get_f0_predictor` in `utils.py` for every file; `modules/F0Predictor/rmvpe`). The predictor's rule: the frames of 10 ms
are stretched over `p_len` frames, each taking the nearest one; then gaps are filled linearly in Hz, and the ends held.
The predictor needs no torch; the inner class answers with a tensor.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.errors import UserError
from rmvpe.hosts import curves
from rmvpe.hosts.core import SAMPLE_RATE_HZ, Family, Host, Threshold, mono
from rmvpe.hosts.networks import Weights
from rmvpe.hosts.tensors import is_tensor, to_tensor
from rmvpe.track import check_hop

FAMILY = Family(threshold=0.05, pad="zero")
WEIGHTS_PATH = "pretrain/rmvpe.pt"  # where so-vits-svc looks for them, from its own folder
HOP_LENGTH = 160  # in samples at 16 kHz: the network's own
P_LEN_SLACK = 3  # frames by which `p_len` may differ from the audio's own number
HALF = ("torch.float16", "torch.bfloat16", "float16", "bfloat16")


class RMVPE:
    """The inner class. `model`: the estimator; `device`, `dtype`, `hop_length`: as given; `resample_kernel`: empty."""

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        device: Any = None,
        dtype: Any = None,
        hop_length: float = HOP_LENGTH,
        *,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """model_path: a checkpoint of yxlllc or ours; the bundled weights if there is no such file, with one warning.

        device: a name, a `torch.device`, or None for the best there is. dtype: half precision of torch means half
        precision for the convolutions, on a GPU only; another one, or None, float32. hop_length: as for
        `rmvpe.hosts.yxlllc.RMVPE`. weights, backend: as for `rmvpe.load`; given weights replace `model_path`.
        threshold_scale: "host" or "own", see `rmvpe.hosts.core`. Raises UserError for weights that are damaged, a
        backend that is not there, and an impossible hop.
        """
        check_hop(hop_length / SAMPLE_RATE_HZ)
        self._host = Host(
            FAMILY,
            model_path,
            device=device,
            is_half=str(dtype) in HALF,
            weights=weights,
            backend=backend,
            threshold_scale=threshold_scale,
        )
        self.model: Any = self._host.estimator
        self.device, self.dtype, self.hop_length = device, dtype, hop_length
        self.resample_kernel: dict[Any, Any] = {}

    @right_names(drop_in=True)
    def infer_from_audio(
        self,
        audio: Any,
        sample_rate: float = SAMPLE_RATE_HZ,
        thred: Threshold = None,
        use_viterbi: bool = False,
    ) -> Any:
        """The f0 of mono audio [n] at `sample_rate` Hz, in Hz, 0 where unvoiced: a tensor of torch, float32 [T].

        T is floor(duration / hop) + 1, frame k is at k hops, 10 ms by default. The tensor is on the audio's device; an
        array's answer is on the CPU. thred: the voicing threshold on so-vits-svc's scale, on which 0.05 means the
        weights' own; None is 0.05. use_viterbi: decode by the most likely path. Raises UserError for audio, a sample
        rate or a threshold that cannot be used.
        """
        f0_hz = self._f0(audio, sample_rate, thred, use_viterbi)
        return to_tensor(f0_hz, audio.device if is_tensor(audio) else "cpu")

    def _f0(self, audio: Any, sample_rate: float, thred: Threshold, use_viterbi: bool = False) -> np.ndarray:
        """What `infer_from_audio` answers, as an array."""
        decoding: dict[str, Any] = {"decoder": "viterbi" if use_viterbi else "local-average"}
        if self.hop_length != HOP_LENGTH:
            decoding["hop_s"] = self.hop_length / SAMPLE_RATE_HZ
        return self._host.f0(audio, thred, sample_rate=sample_rate, **decoding)


class RMVPEF0Predictor:
    """The predictor. Its attributes are the arguments; `rmvpe` is the inner class.

    `name` is "rmvpe", by which so-vits-svc knows that it need not build another one.
    """

    @right_names(drop_in=True)
    def __init__(
        self,
        hop_length: int = 512,
        f0_min: float = 50,
        f0_max: float = 1100,
        dtype: Any = None,
        device: Any = None,
        sampling_rate: float = 44100,
        threshold: Threshold = None,
        *,
        model_path: str | os.PathLike[str] | None = WEIGHTS_PATH,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """hop_length: samples at `sampling_rate` Hz between the frames of the answers. f0_min and f0_max are ignored.

        threshold: as `thred` of the inner class, None is 0.05; the other arguments are those of the inner class.
        Raises UserError as it does.
        """
        check_hop(hop_length / sampling_rate)
        self.rmvpe = RMVPE(
            model_path,
            device,
            dtype,
            weights=weights,
            backend=backend,
            threshold_scale=threshold_scale,
        )
        self._host = self.rmvpe._host
        self.name = "rmvpe"
        self.hop_length, self.sampling_rate = hop_length, sampling_rate
        self.f0_min, self.f0_max, self.threshold = f0_min, f0_max, threshold
        self.device, self.dtype = device, dtype

    @right_names(drop_in=True)
    def compute_f0(self, wav: Any, p_len: int | None = None) -> np.ndarray:
        """The f0 of `compute_f0_uv`."""
        return self.compute_f0_uv(wav, p_len)[0]

    @right_names(drop_in=True)
    def compute_f0_uv(self, wav: Any, p_len: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """f0 in Hz without gaps, float64 [p_len], and 1 where voiced, else 0, float32 [p_len], of mono audio [n].

        wav is at `sampling_rate` Hz; p_len is n // hop_length by default. Both are 0 if nothing is voiced. Raises
        UserError for audio or a sampling rate that cannot be used, and for a p_len more than 3 frames away.
        """
        samples = mono(wav)
        usual = int(len(samples) // self.hop_length)
        n_frames = usual if p_len is None else int(p_len)
        if abs(n_frames - usual) > P_LEN_SLACK or n_frames < 0:
            raise UserError(
                f"a p_len of {p_len} does not fit audio of {usual} frames of {self.hop_length} samples: "
                f"it may differ by {P_LEN_SLACK}"
            )
        f0_hz = curves.stretch_nearest(self.rmvpe._f0(samples, self.sampling_rate, self.threshold), n_frames)
        return curves.fill_linear(f0_hz), (f0_hz > 0).astype(np.float32)
