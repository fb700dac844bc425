"""The drop-in classes under one shape, and a sound with voiced and unvoiced frames, for the tests of `rmvpe.hosts`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soundfile

from rmvpe.backends import installed_backends
from rmvpe.hosts import (
    applio,
    ddsp,
    diffsinger,
    fumiama,
    rosvot,
    rvc,
    seedvc,
    some,
    sovits,
    vietnamese,
    wokada,
    yxlllc,
)
from rmvpe.hosts.tensors import to_numpy
from tests.helpers.paths import DEMO_RECORDING

FRAMEWORKS = installed_backends()


@dataclass(frozen=True)
class DropIn:
    """One call of one class: `make(**keywords)` builds it, `call(object, audio, *threshold)` is the call."""

    make: Callable[..., Any]
    call: Callable[..., Any]
    threshold: float  # the host's default
    frames: Callable[[int], int] = lambda n: n // 160 + 1 if n else 0
    dtype: str = "float32"
    tensor: bool = False  # whether it must answer with a tensor

    def f0(self, host: Any, audio: Any, *threshold: float) -> np.ndarray:
        """The answer as an array."""
        return to_numpy(self.call(host, audio, *threshold))


def in_batch(host: Any, audio: Any, *threshold: float) -> Any:
    return host.infer_from_audio_batch(audio[None], *threshold)[0]


def at_16k(host: Any, audio: Any, *threshold: float) -> Any:
    return host.infer_from_audio(audio, 16000, *threshold)


def at_16k_on_a_device(host: Any, audio: Any, *threshold: float) -> Any:
    return host.infer_from_audio(audio, 16000, None, *threshold)


def on_the_networks_grid(host: sovits.RMVPEF0Predictor, audio: Any, *threshold: float) -> Any:
    """f0 of so-vits-svc's predictor with its gaps: one frame for each of the network."""
    host.threshold = threshold[0] if threshold else None
    f0_hz, voiced = host.compute_f0_uv(audio, len(audio) // 160 + (len(audio) > 0))
    f0_hz[voiced == 0] = 0
    return f0_hz


DROP_INS = {
    "rvc": DropIn(rvc.RMVPE, rvc.RMVPE.infer_from_audio, 0.03),
    "vietnamese": DropIn(vietnamese.RMVPE, vietnamese.RMVPE.infer_from_audio, 0.03),
    "vietnamese-range": DropIn(
        lambda **named: vietnamese.RMVPE(f0_min=0.0, f0_max=4000.0, **named),
        vietnamese.RMVPE.infer_from_audio_with_pitch,
        0.03,
    ),
    "vietnamese-tensor": DropIn(
        lambda **named: vietnamese.RMVPE(return_tensor=True, **named),
        vietnamese.RMVPE.infer_from_audio,
        0.03,
        tensor=True,
    ),
    "applio": DropIn(applio.RMVPE0Predictor, applio.RMVPE0Predictor.infer_from_audio, 0.03),
    "seedvc": DropIn(seedvc.RMVPE, seedvc.RMVPE.infer_from_audio, 0.03),
    "seedvc-batch": DropIn(seedvc.RMVPE, in_batch, 0.03, tensor=True),
    "wokada": DropIn(wokada.RMVPE, wokada.RMVPE.infer_from_audio_t, 0.03),
    "deiteris": DropIn(wokada.TensorRMVPE, wokada.TensorRMVPE.infer_from_audio_t, 0.05, tensor=True),
    "fumiama": DropIn(
        lambda **named: fumiama.RMVPE(fill_gaps=False, **named),
        lambda host, audio, *threshold: host.compute_f0(audio, len(audio) // 160 + (len(audio) > 0), *threshold),
        0.03,
        dtype="float64",
    ),
    "yxlllc": DropIn(yxlllc.RMVPE, at_16k_on_a_device, 0.03),
    "ddsp": DropIn(ddsp.RMVPE, at_16k_on_a_device, 0.03),
    "sovits": DropIn(
        lambda **named: sovits.RMVPEF0Predictor(160, sampling_rate=16000, **named),
        on_the_networks_grid,
        0.05,
        dtype="float64",
    ),
    "sovits-inner": DropIn(sovits.RMVPE, at_16k, 0.05, tensor=True),
    "diffsinger": DropIn(diffsinger.RMVPE, at_16k, 0.03),
    "some": DropIn(some.RMVPE, at_16k, 0.03),
    "rosvot": DropIn(rosvot.RMVPE, at_16k, 0.03),
    "rosvot-batch": DropIn(
        rosvot.RMVPE,
        lambda host, audio, *threshold: host.infer_from_audio_batch([audio], 16000, *threshold)[0],
        0.03,
    ),
}


@cache
def voice() -> np.ndarray:
    """Two seconds of singing over music at 16 kHz, float32 [n], with unvoiced frames among the voiced; read-only."""
    samples, _ = soundfile.read(DEMO_RECORDING, dtype="float32")
    part = samples[16000:48000].copy()
    part.setflags(write=False)
    return part
