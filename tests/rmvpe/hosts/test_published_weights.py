"""yxlllc's family with weights that recommend no threshold: its threshold and padding; and its order of arguments."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rmvpe.checkpoint.store import Checkpoint, load
from rmvpe.estimator import load as load_estimator
from rmvpe.hosts import ddsp, diffsinger, rosvot, some, sovits, yxlllc
from tests.helpers.hosts import DROP_INS, FRAMEWORKS, voice

PADS = {
    "yxlllc": "reflect",
    "ddsp": "zero",
    "sovits": "zero",
    "diffsinger": "silence",
    "some": "zero",
    "rosvot": "zero",
}
AUDIO = ["audio", "sample_rate"]
PITCH = ["waveform", "sample_rate", "hop_size", "length", "interp_uv"]
CALLS: list[tuple[Callable[..., Any], list[str]]] = [
    (yxlllc.RMVPE, ["model_path", "hop_length"]),
    (yxlllc.RMVPE.infer_from_audio, ["self", *AUDIO, "device", "thred", "use_viterbi"]),
    (ddsp.RMVPE, ["model_path", "hop_length"]),
    (sovits.RMVPE, ["model_path", "device", "dtype", "hop_length"]),
    (sovits.RMVPE.infer_from_audio, ["self", *AUDIO, "thred", "use_viterbi"]),
    (
        sovits.RMVPEF0Predictor,
        ["hop_length", "f0_min", "f0_max", "dtype", "device", "sampling_rate", "threshold"],
    ),
    (sovits.RMVPEF0Predictor.compute_f0, ["self", "wav", "p_len"]),
    (sovits.RMVPEF0Predictor.compute_f0_uv, ["self", "wav", "p_len"]),
    (diffsinger.RMVPE, ["model_path", "hop_length", "device"]),
    (diffsinger.RMVPE.infer_from_audio, ["self", *AUDIO, "thred", "use_viterbi"]),
    (diffsinger.RMVPE.get_pitch, ["self", "waveform", "samplerate", "length"]),
    (some.RMVPE, ["model_path", "hop_length", "device"]),
    (some.RMVPE.get_pitch, ["self", *PITCH]),
    (rosvot.RMVPE, ["model_path", "hop_length", "device"]),
    (rosvot.RMVPE.get_pitch, ["self", *PITCH, "fmin", "fmax"]),
    (
        rosvot.RMVPE.get_pitch_batch,
        ["self", "waveforms", "sample_rate", "hop_size", "lengths", "interp_uv", "fmin", "fmax"],
    ),
]


@pytest.mark.parametrize(("call", "positional"), CALLS)
def test_arguments_have_the_projects_order(call: Callable[..., Any], positional: list[str]):
    rows = inspect.signature(call).parameters.values()
    assert [row.name for row in rows if row.kind is row.POSITIONAL_OR_KEYWORD] == positional


@pytest.mark.skipif(not FRAMEWORKS, reason="no runtime is installed")
@pytest.mark.parametrize("name", PADS)
def test_weights_without_a_threshold_get_that_of_the_project_and_its_padding(name: str):
    small = load("small")
    published = Checkpoint(small.config, small.tensors, {})
    estimator = load_estimator(published, device="cpu").with_config(pad=PADS[name])
    drop_in, audio = DROP_INS[name], voice()[:20000]
    host = drop_in.make(weights=published, device="cpu")
    assert drop_in.threshold == (0.05 if name == "sovits" else 0.03)
    for given, threshold in (((), drop_in.threshold), ((0.4,), 0.4)):
        expected = estimator.from_audio(audio, 16000, threshold=threshold).f0_hz
        np.testing.assert_array_equal(drop_in.f0(host, audio, *given), expected.astype(np.float32))
