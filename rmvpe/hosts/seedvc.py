"""Seed-VC and YingMusic-SVC: RVC's class with batches, and the copy of it in TTS-Audio-Suite's index_tts engine.

Source: https://github.com/Plachtaa/seed-vc (`modules/rmvpe.py`; in YingMusic-SVC the same). Its callers turn the answer
into a tensor on their device, which on Apple's GPU must be float32.
"""

from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.arrays import rows_of
from rmvpe.hosts.core import Threshold
from rmvpe.hosts.rvc import RMVPE as RVCRMVPE
from rmvpe.hosts.tensors import is_tensor, to_tensor


class RMVPE(RVCRMVPE):
    """The class of these projects: `rmvpe.hosts.rvc.RMVPE` and `infer_from_audio_batch`."""

    @right_names(drop_in=True)
    def infer_from_audio_batch(self, audio: Any, thred: Threshold = None) -> Any:
        """The f0 of a batch [B, n] at 16 kHz as a tensor of torch, float32 [B, n // 160 + 1], on the batch's device.

        An array's answer is on the CPU. Each row is that of `infer_from_audio`, to the bit: a row never depends on the
        others. Raises UserError for another shape.
        """
        rows = [self._host.f0(row, thred) for row in rows_of(audio)]
        f0_hz = np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
        return to_tensor(f0_hz, audio.device if is_tensor(audio) else "cpu")
