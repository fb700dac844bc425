"""Vietnamese-RVC, Advanced-RVC-Inference and TTS-Audio-Suite: RVC's class with more arguments and a range of f0.

Sources: https://github.com/PhamHuynhAnh16/Vietnamese-RVC, https://github.com/ArkanDash/Advanced-RVC-Inference,
https://github.com/diodiogod/TTS-Audio-Suite (`engines/rvc/impl/lib/rmvpe.py`). Their generators pass a filter radius
over 100, which is 0.03 by default. The third positional argument is `device` in two of them and `onnx` in
TTS-Audio-Suite, so that a bool there is `onnx`.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.errors import UserError
from rmvpe.hosts.core import Threshold
from rmvpe.hosts.networks import Weights
from rmvpe.hosts.rvc import RMVPE as RVCRMVPE
from rmvpe.hosts.tensors import is_tensor, to_tensor

OUT_OF_RANGE = ("unvoiced", "clip")


class RMVPE(RVCRMVPE):
    """The class of these projects: `rmvpe.hosts.rvc.RMVPE` and `infer_from_audio_with_pitch`."""

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        is_half: Any = False,
        device: Any = None,
        providers: Any = None,
        onnx: bool = False,
        hpa: bool = False,
        compile_model: bool = False,
        compile_mode: str | None = None,
        enable_chunk: bool = False,
        chunk_size: int = 8000,
        return_tensor: bool = False,
        f0_min: float = 50.0,
        f0_max: float = 1100.0,
        *,
        out_of_range: str = "unvoiced",
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """As `rmvpe.hosts.rvc.RMVPE`; providers, onnx, hpa and what is about compiling and chunks are ignored.

        return_tensor: answers are tensors of torch, on the audio's device. f0_min, f0_max: in Hz, the range of
        `infer_from_audio_with_pitch`. out_of_range: what it does with the rest; "unvoiced" makes it 0, "clip" brings
        every frame into the range, unvoiced ones too, as TTS-Audio-Suite does. Raises UserError also for another one.
        """
        if out_of_range not in OUT_OF_RANGE:
            raise UserError(f"unknown out_of_range {out_of_range!r}: choose {' or '.join(OUT_OF_RANGE)}")
        super().__init__(
            model_path,
            is_half,
            None if isinstance(device, bool) else device,
            weights=weights,
            backend=backend,
            threshold_scale=threshold_scale,
        )
        self.f0_min, self.f0_max, self.return_tensor = f0_min, f0_max, return_tensor
        self._out_of_range = out_of_range

    @right_names(drop_in=True)
    def infer_from_audio(self, audio: Any, thred: Threshold = None) -> Any:
        """As `rmvpe.hosts.rvc.RMVPE.infer_from_audio`; a tensor if the class was built with `return_tensor`."""
        return self._answer(self._host.f0(audio, thred), audio)

    @right_names(drop_in=True)
    def infer_from_audio_with_pitch(
        self, audio: Any, thred: Threshold = None, f0_min: float | None = None, f0_max: float | None = None
    ) -> Any:
        """As `infer_from_audio`, within f0_min and f0_max in Hz, both inclusive; None is the constructor's."""
        f0_hz = self._host.f0(audio, thred)
        low, high = (self.f0_min if f0_min is None else f0_min), (self.f0_max if f0_max is None else f0_max)
        if self._out_of_range == "clip":
            return self._answer(np.clip(f0_hz, np.float32(low), np.float32(high)), audio)
        return self._answer(np.where((f0_hz < low) | (f0_hz > high), np.float32(0.0), f0_hz), audio)

    def _answer(self, f0_hz: np.ndarray, audio: Any) -> Any:
        if not self.return_tensor:
            return f0_hz
        return to_tensor(f0_hz, audio.device if is_tensor(audio) else "cpu")
