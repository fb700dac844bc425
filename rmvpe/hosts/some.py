"""SOME: DiffSinger's `get_pitch` in another order of arguments.

Source: https://github.com/openvpi/SOME (`modules/rmvpe`, made in `preprocessing/me_binarizer.py`). That module also
supplies `MelSpectrogram`, which SOME uses for its own input: replace the class there, not the module.
"""

from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.hosts.core import Family
from rmvpe.hosts.diffsinger import PitchExtractor, filled_on_grid

FAMILY = Family(threshold=0.03, pad="zero")


class RMVPE(PitchExtractor):
    """SOME's class; `mel_extractor.hop_length`, which its caller reads, is 160."""

    FAMILY = FAMILY

    @right_names(drop_in=True)
    def get_pitch(
        self, waveform: Any, sample_rate: float, hop_size: float, length: int, interp_uv: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """f0 in Hz, float32 [length], and where it is unvoiced, bool [length], of mono audio [n] at `sample_rate` Hz.

        Frame k is at k * hop_size samples. interp_uv: gaps are filled, in log2; without it unvoiced frames are 0.
        Without any voiced frame f0 is 0. Raises UserError for audio or a sample rate that cannot be used, and for an
        impossible hop.
        """
        f0_hz = self.infer_from_audio(waveform, sample_rate)
        return filled_on_grid(f0_hz, hop_size / sample_rate, length, interp_uv)
