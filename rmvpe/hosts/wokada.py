"""w-okada's voice-changer and deiteris' fork of it: tensors in; an array out in the first, a tensor in the second.

Sources: https://github.com/w-okada/voice-changer, https://github.com/deiteris/voice-changer
(`RVC/pitchExtractor/RMVPEPitchExtractor.py` and the class that it imports). The extractors drop the surplus last frame.
Where they run an .onnx file, the file is replaced, not the class. If a version of w-okada multiplies the answer as a
tensor, as deiteris does, use `TensorRMVPE` there.
"""

from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.hosts.core import Family, Threshold
from rmvpe.hosts.rvc import RMVPE as RVCRMVPE
from rmvpe.hosts.tensors import is_tensor, to_tensor


class RMVPE(RVCRMVPE):
    """w-okada's class: `rmvpe.hosts.rvc.RMVPE` and `infer_from_audio_t`."""

    FAMILY = Family(threshold=0.03, pad="reflect")

    @right_names(drop_in=True)
    def infer_from_audio_t(self, audio: Any, thred: Threshold = None) -> np.ndarray:
        """As `infer_from_audio`; audio is usually a tensor, and the answer an array float32 [n // 160 + 1]."""
        return self._host.f0(audio, thred)


class TensorRMVPE(RVCRMVPE):
    """deiteris' class: `rmvpe.hosts.rvc.RMVPE` and an `infer_from_audio_t` that answers with a tensor."""

    FAMILY = Family(threshold=0.05, pad="reflect")

    @right_names(drop_in=True)
    def infer_from_audio_t(self, audio: Any, threshold: Threshold = None) -> Any:
        """As `infer_from_audio`; a tensor of torch, float32 [n // 160 + 1], on the audio's device.

        threshold: on the scale on which 0.05 means the weights' own; None is 0.05. An array's answer is on the CPU.
        """
        return to_tensor(self._host.f0(audio, threshold), audio.device if is_tensor(audio) else "cpu")
