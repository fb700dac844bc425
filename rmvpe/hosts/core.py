"""What all drop-in classes share: audio as hosts hand it, thresholds on a host's scale, answers as hosts expect them.

A host decides voicing with a constant of its own, such as 0.03, on the salience of the published weights. Ours are
calibrated and decide at another number, so that the constant, passed on, would call noise voiced. For weights that
recommend a threshold c0, the host's default t0 therefore means c0, and another number t moves it on the logit scale:

    logit(c) = logit(t) + logit(c0) - logit(t0)

So 0 and 1 stay what they are, and a host's slider keeps its direction. Weights that recommend none, such as the
published ones, get t itself.

Frame k is at k * 10 ms, and n samples at 16 kHz have n // 160 + 1 frames; 0 samples have none. A frame is voiced if its
confidence reaches the threshold; RVC and the projects that follow it want more than the threshold, which differs in
exact ties only. Digital silence is unvoiced whatever the threshold (`DecodeConfig.silence_gate_db`).
"""

import math
import os
from dataclasses import dataclass, replace
from typing import Any, SupportsFloat

import numpy as np

from rmvpe.arrays import as_numpy
from rmvpe.config import DecodeConfig
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator
from rmvpe.hosts.networks import Weights, choose_weights, is_true, open_network
from rmvpe.track import F0Track

SAMPLE_RATE_HZ = 16000
THRESHOLD_SCALES = ("host", "own")
Threshold = SupportsFloat | None  # a number of Python, numpy or torch; None is the host's default


@dataclass(frozen=True)
class Family:
    """What distinguishes the projects that share a class shape.

    threshold: the default that the project passes or has, on the salience of the published weights. pad: how it pads
    to a multiple of 32 frames (`rmvpe.framing.plan_padding`), for weights that recommend no threshold; ours, which do,
    were trained for "silence".
    """

    threshold: float
    pad: str


class Host:
    """What a drop-in class holds: an estimator that answers as the host expects.

    `estimator`: the network, shared by all classes of the process that ask for it. `own`: whether the weights recommend
    a threshold. `device`, `is_half`: as the host gave them; where the network is, `estimator.backend.device` says.
    """

    def __init__(
        self,
        family: Family,
        model_path: str | os.PathLike[str] | None = None,
        *,
        device: Any = None,
        is_half: Any = False,
        weights: Weights | None = None,
        backend: str = "auto",
        threshold_scale: str = "host",
    ):
        """The weights are those of `choose_weights`, the network that of `open_network`.

        threshold_scale: "host", see the top of this file; with "own", a number is a threshold on our confidence.
        Raises UserError as these two do, and for another scale.
        """
        if threshold_scale not in THRESHOLD_SCALES:
            raise UserError(f"unknown threshold_scale {threshold_scale!r}: choose {' or '.join(THRESHOLD_SCALES)}")
        self.family, self.device, self.is_half = family, device, is_true(is_half)
        self.threshold_scale = threshold_scale
        loaded = open_network(choose_weights(model_path, weights), backend, device, self.is_half)
        self.own = loaded.own_threshold is not None
        pad = "silence" if self.own else family.pad
        self.estimator: Estimator = loaded.estimator.with_config(pad=pad)

    def config(self, threshold: Threshold = None, **decoding: Any) -> DecodeConfig:
        """How to decode for a threshold of the host, None for its default. decoding: other fields of `DecodeConfig`.

        For our weights the default is the estimator's own threshold, for others the family's.
        """
        return replace(self.estimator.config, threshold=self._confidence(threshold), **decoding)

    def track(
        self, audio: Any, threshold: Threshold = None, *, sample_rate: float = SAMPLE_RATE_HZ, **decoding: Any
    ) -> F0Track:
        """The track of audio [n] or [1, n], at `sample_rate` Hz: times, f0 in Hz in float64, voicing, confidence.

        Raises UserError for audio of another shape or type, or with samples that are not finite.
        """
        decoding["threshold"] = self._confidence(threshold)
        return self.estimator.from_audio(mono(audio), sample_rate, **decoding)

    def f0(
        self, audio: Any, threshold: Threshold = None, *, sample_rate: float = SAMPLE_RATE_HZ, **decoding: Any
    ) -> np.ndarray:
        """The f0 of `track` in Hz, 0 where unvoiced: a new, writable float32 array [frames]."""
        return self.track(audio, threshold, sample_rate=sample_rate, **decoding).f0_hz.astype(np.float32)

    def _confidence(self, threshold: Threshold) -> float:
        own = self.estimator.config.known_threshold
        if threshold is None:
            return own if self.own else self.family.threshold
        value = _number(threshold)
        if not self.own or self.threshold_scale == "own":
            return min(max(value, 0.0), 1.0)
        return scaled_threshold(value, self.family.threshold, own)


def scaled_threshold(threshold: float, default: float, own: float) -> float:
    """A host's threshold as one on our confidence, 0 to 1; see the top of this file.

    default: the host's, which means `own`, what the weights recommend. A threshold that no salience can miss or reach
    (0 or less, 1 or more) stays 0 or 1.
    """
    if not 0.0 < threshold < 1.0 or not 0.0 < own < 1.0:
        return min(max(threshold, 0.0), 1.0)
    if threshold == default:
        return own  # to the bit
    return 1.0 / (1.0 + math.exp(-(_logit(threshold) + _logit(own) - _logit(default))))


def mono(audio: Any) -> np.ndarray:
    """The samples [n] of an array or tensor [n], [1, n] or [n, 1] of any type and device; the caller's stays as it is.

    Raises UserError for more channels or recordings, and for what is no sound.
    """
    array = as_numpy(audio)
    if array.ndim == 0 or array.size not in (0, max(array.shape)):
        raise UserError(f"audio must be one recording [samples], not of shape {list(array.shape)}")
    return array.reshape(-1)


def _number(threshold: Any) -> float:
    """A number of Python or numpy, or a tensor of one. Raises UserError for anything else, and for NaN."""
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        value = math.nan
    if math.isnan(value):
        raise UserError(f"the voicing threshold {threshold!r} is not a number: give one from 0 to 1")
    return value


def _logit(probability: float) -> float:
    return math.log(probability / (1.0 - probability))
