"""ROSVOT: `get_pitch` for one recording and for several, within a range and without short runs.

Source: https://github.com/RickyL-2000/ROSVOT (`modules/pe/rmvpe`). The rule: f0 outside [fmin, fmax] Hz becomes 0; then
`min_gap` frames or fewer between two zeros do (`rmvpe.hosts.curves.erase_short_runs`); then f0 is read at the host's
hop, linearly, zeros included, so that it falls towards a gap, and the last value is repeated. In a batch theirs pads
all recordings with zeros to the longest, so that a pitch depends on the others; ours reads each alone.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.arrays import rows_of
from rmvpe.errors import UserError
from rmvpe.hosts import curves
from rmvpe.hosts.core import SAMPLE_RATE_HZ, Family, Threshold
from rmvpe.hosts.diffsinger import PitchExtractor, on_grid

FAMILY = Family(threshold=0.03, pad="zero")
MIN_GAP, MIN_GAP_OF_BATCH = 2, 6  # frames of 10 ms; a run of so many is erased


class RMVPE(PitchExtractor):
    """ROSVOT's class."""

    FAMILY = FAMILY

    @right_names(drop_in=True)
    def get_pitch(
        self,
        waveform: Any,
        sample_rate: float,
        hop_size: float,
        length: int,
        interp_uv: bool = False,
        fmin: float = 50,
        fmax: float = 1000,
    ) -> tuple[np.ndarray, np.ndarray]:
        """f0 in Hz, float32 [length], and where it is unvoiced, bool [length], of mono audio [n] at `sample_rate` Hz.

        Frame k is at k * hop_size samples. Voiced runs of 20 ms or less are erased. interp_uv: unvoiced frames are not
        set to 0; as in ROSVOT, gaps are not filled. Raises UserError for audio or a sample rate that cannot be used,
        and for an impossible hop.
        """
        f0_hz = self.infer_from_audio(waveform, sample_rate)
        clean_hz = curves.erase_short_runs(curves.within_range(f0_hz, fmin, fmax), MIN_GAP)
        return on_grid(clean_hz, clean_hz == 0, hop_size / sample_rate, length, interp_uv)

    @right_names(drop_in=True)
    def infer_from_audio_batch(
        self,
        audios: Any,
        sample_rate: float = SAMPLE_RATE_HZ,
        thred: Threshold = None,
        use_viterbi: bool = False,
    ) -> list[np.ndarray]:
        """`infer_from_audio` of each recording: a list of arrays [n], or an array or tensor [B, n]."""
        return [self.infer_from_audio(row, sample_rate, thred, use_viterbi) for row in rows_of(audios)]

    @right_names(drop_in=True)
    def get_pitch_batch(
        self,
        waveforms: Any,
        sample_rate: float,
        hop_size: float,
        lengths: Iterable[int],
        interp_uv: bool = False,
        fmin: float = 50,
        fmax: float = 1000,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The answers of `get_pitch` for several recordings, two lists; but runs of 60 ms or less are erased.

        waveforms: a list of arrays [n], or an array or tensor [B, n]. lengths: the frames asked for, one number for
        each. No recording depends on the others. Raises UserError as `get_pitch`, or if the numbers do not fit.
        """
        rows, counts = rows_of(waveforms), [int(length) for length in lengths]
        if len(rows) != len(counts):
            raise UserError(f"{len(counts)} lengths do not fit a batch of {len(rows)}: give one for each recording")
        answers = []
        for f0_hz, length in zip(self.infer_from_audio_batch(rows, sample_rate), counts):
            clean_hz = curves.erase_short_runs(curves.within_range(f0_hz, fmin, fmax), MIN_GAP_OF_BATCH)
            answers.append(on_grid(clean_hz, clean_hz == 0, hop_size / sample_rate, length, interp_uv))
        return [f0_hz for f0_hz, _ in answers], [unvoiced for _, unvoiced in answers]

    def release_cuda(self) -> None:
        """Nothing: the network, 6 million weights, is shared by the process and stays where it is."""
