"""Names of arguments that people bring from other programs: refused with the right name, in every call."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.config import ModelConfig
from tests.rmvpe.test_recommended import SOUND, estimator

CALLS: dict[str, Callable[..., Any]] = {
    "load": rmvpe.load,
    "DecodeConfig": rmvpe.DecodeConfig,
    "with_config": lambda **named: estimator().with_config(**named),
    "from_audio": lambda **named: estimator().from_audio(SOUND, 16000, **named),
    "from_file": lambda **named: estimator().from_file("song.wav", **named),
    "from_files": lambda **named: estimator().from_files(["song.wav"], **named),
    "from_batch": lambda **named: estimator().from_batch(SOUND[None], 16000, **named),
    "pitch_curve": lambda **named: estimator().pitch_curve(SOUND, 16000, **named),
    "salience": lambda **named: estimator().salience(SOUND, 16000, **named),
    "iter_salience": lambda **named: estimator().iter_salience(SOUND, 16000, **named),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("hop_length", 160, "hop_s"),
        ("step_size", 10, "hop_s"),
        ("hop_ms", 10, "hop_s"),
        ("fmin", 80, "f0_min_hz"),
        ("fmax", 800, "f0_max_hz"),
        ("f0_min", 80, "f0_min_hz"),
        ("thred", 0.03, "threshold"),
        ("thresh", 0.03, "threshold"),
        ("treshold", 0.03, "threshold"),
        ("use_viterbi", True, "decoder"),
        ("sr", 16000, "sample_rate"),
        ("model_path", "rmvpe.pt", "weights"),
        ("is_half", True, "conv_dtype"),
        ("devcie", "cpu", "device"),
        ("num_workers", 2, "jobs"),
        ("f0_mim_hz", 80, "f0_min_hz"),
    ],
)
def test_a_name_from_elsewhere_is_answered_with_ours(call: str, name: str, value: object, right: str):
    with pytest.raises(rmvpe.UserError, match=rf"{call} has no argument '{name}': .*\b{right}") as caught:
        CALLS[call](**{name: value})
    assert isinstance(caught.value, TypeError)  # what Python itself raises here


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_name_lists_what_there_is(call: str):
    with pytest.raises(rmvpe.UserError, match=rf"{call} has no argument 'zzz': it takes .*, "):
        CALLS[call](zzz=1)


def test_the_usual_names_still_work():
    assert estimator().from_audio(SOUND, sample_rate=16000, hop_s=0.02, f0_min_hz=80.0).hop_s == pytest.approx(0.02)
    assert rmvpe.DecodeConfig("viterbi", f0_max_hz=900.0).decoder == "viterbi"


@pytest.mark.parametrize("hop_s", [5, 10.0])
def test_milliseconds_are_noticed_before_the_work(hop_s: float):
    with pytest.raises(rmvpe.UserError, match="hop_s is in seconds"):
        estimator().from_file("not read.wav", hop_s=hop_s)


def test_sample_rate_is_asked_for():
    for call in (estimator().from_audio, estimator().pitch_curve, estimator().salience, estimator().iter_salience):
        with pytest.raises(TypeError, match="sample_rate"):
            call(SOUND)  # type: ignore[call-arg]
        with pytest.raises(rmvpe.UserError, match="sample rate must be a number of Hz"):
            call(SOUND, "zero")  # type: ignore[arg-type]


def test_any_sample_rate_will_do():
    """At 44.1 kHz the curve has the frames of its duration; at 16 kHz it is that of the samples themselves."""
    sound = np.random.default_rng(0).standard_normal(44100)
    assert len(estimator().pitch_curve(sound, 44100).f0_hz) == 101
    assert estimator().salience(np.stack([sound, sound], axis=1), 44100).shape == (101, 360)
    assert sum(map(len, estimator().iter_salience(sound, 44100))) == 101


def test_a_config_of_another_type_is_refused():
    wrong: Any
    for wrong in ({"f0_min_hz": 80}, 0.5, ModelConfig.small()):
        with pytest.raises(rmvpe.ConfigError, match=r"config must be a rmvpe.DecodeConfig"):
            rmvpe.load(config=wrong)
        with pytest.raises(rmvpe.ConfigError, match=r"config must be a rmvpe.DecodeConfig"):
            estimator().pitch_curve(SOUND, 16000, config=wrong)


def test_one_path_is_no_list():
    with pytest.raises(rmvpe.UserError, match=r"from_file\('song.wav'\)"):
        estimator().from_files("song.wav")


def test_a_bad_setting_is_raised_once_and_not_for_each_file():
    with pytest.raises(rmvpe.ConfigError, match="threshold"):
        estimator().from_files(["a.wav", "b.wav"], threshold=7)
