"""DiffSinger: `get_pitch`, which answers with a curve on the grid of the host's own hop, and where it is unvoiced.

Source: https://github.com/openvpi/DiffSinger (`modules/pe/rmvpe`, made by `initialize_pe` in `modules/pe/__init__.py`).
The rule: gaps are filled on a straight line in log2 of Hz; both curves are read every `round(hop_size * speed)`
samples, linearly, and the last value is repeated to the length asked for; more than half of a frame must be unvoiced.
`rmvpe.hosts.some` and `rmvpe.hosts.rosvot` share the constructor.
"""

import os
from typing import Any

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.errors import UserError
from rmvpe.hosts import curves
from rmvpe.hosts.core import SAMPLE_RATE_HZ, Family, Host, Threshold
from rmvpe.hosts.networks import Weights
from rmvpe.hosts.pieces import MelExtractor
from rmvpe.track import check_hop

FAMILY = Family(threshold=0.03, pad="silence")
HOP_LENGTH = 160  # in samples at 16 kHz: the network's own
FRAME_S = HOP_LENGTH / SAMPLE_RATE_HZ


class PitchExtractor:
    """What the classes of DiffSinger, SOME and ROSVOT share.

    `model`: the estimator. `device`: as given. `mel_extractor.hop_length`: 160, in samples at 16 kHz.
    """

    FAMILY = FAMILY

    @right_names(drop_in=True)
    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        hop_length: int = HOP_LENGTH,
        device: Any = None,
        *,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """model_path: a checkpoint of yxlllc or ours; the bundled weights if there is no such file, with one warning.

        hop_length must be 160, as these projects pass it: their times assume 10 ms. device: a name, a `torch.device`,
        or None for the best there is. weights, backend: as for `rmvpe.load`; given weights replace `model_path`.
        threshold_scale: "host" or "own", see `rmvpe.hosts.core`. Raises UserError for weights that are damaged, a
        backend that is not there, and another hop.
        """
        if hop_length != HOP_LENGTH:
            raise UserError(f"hop_length must be {HOP_LENGTH}, not {hop_length!r}: the hop_size of get_pitch is free")
        self._host = Host(
            self.FAMILY,
            model_path,
            device=device,
            weights=weights,
            backend=backend,
            threshold_scale=threshold_scale,
        )
        self.model: Any = self._host.estimator
        self.device, self.hop_length = self._host.device, hop_length
        self.mel_extractor = MelExtractor(self._host.estimator.model.mel)

    @right_names(drop_in=True)
    def infer_from_audio(
        self,
        audio: Any,
        sample_rate: float = SAMPLE_RATE_HZ,
        thred: Threshold = None,
        use_viterbi: bool = False,
    ) -> np.ndarray:
        """The f0 of mono audio [n] at `sample_rate` Hz, in Hz, 0 where unvoiced: float32 [floor(duration / 10 ms) + 1].

        Frame k is at k * 10 ms. thred: the voicing threshold on the project's scale, on which 0.03 means the weights'
        own; None is 0.03. use_viterbi: decode by the most likely path. Raises UserError for audio, a sample rate or a
        threshold that cannot be used.
        """
        decoder = "viterbi" if use_viterbi else "local-average"
        return self._host.f0(audio, thred, sample_rate=sample_rate, decoder=decoder)


class RMVPE(PitchExtractor):
    """DiffSinger's class."""

    @right_names(drop_in=True)
    def get_pitch(
        self,
        waveform: Any,
        samplerate: float,
        length: int,
        *,
        hop_size: float,
        f0_min: float = 65,
        f0_max: float = 1100,
        speed: float = 1,
        interp_uv: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """f0 in Hz, float32 [length], and where it is unvoiced, bool [length], of mono audio [n] at `samplerate` Hz.

        Frame k is at k * round(hop_size * speed) samples. interp_uv: gaps are filled; without it unvoiced frames are 0.
        f0_min and f0_max are ignored, as in DiffSinger. Without any voiced frame f0 is 0. Raises UserError for audio or
        a sample rate that cannot be used, and for an impossible hop.
        """
        f0_hz = self.infer_from_audio(waveform, samplerate)
        return filled_on_grid(f0_hz, round(hop_size * speed) / samplerate, length, interp_uv)


def filled_on_grid(f0_hz: np.ndarray, step_s: float, length: int, interp_uv: bool) -> tuple[np.ndarray, np.ndarray]:
    """f0 in Hz, float32 [length], and where it is unvoiced, every `step_s` seconds, of f0 [T] every 10 ms."""
    return on_grid(curves.fill_log2(f0_hz), f0_hz == 0, step_s, length, interp_uv)


def on_grid(
    curve_hz: np.ndarray, unvoiced: np.ndarray, step_s: float, length: int, interp_uv: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A curve in Hz and its unvoiced frames, both [T] every 10 ms, every `step_s` seconds: float32 and bool [length].

    Unless `interp_uv`, the curve is 0 where it is unvoiced. Raises UserError for an impossible hop.
    """
    check_hop(step_s)
    found_hz = curves.at_hop(curve_hz.astype(np.float32), FRAME_S, step_s, length)
    found_unvoiced = curves.unvoiced_at_hop(unvoiced, FRAME_S, step_s, length)
    if not interp_uv:
        found_hz[found_unvoiced] = 0
    return found_hz, found_unvoiced
