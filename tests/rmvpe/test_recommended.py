"""What the weights recommend: a threshold or calibration of None stands for it, wherever settings are given."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from rmvpe.backends import installed_backends
from rmvpe.checkpoint.store import Checkpoint, load
from rmvpe.config import USUAL, DecodeConfig, ModelConfig
from rmvpe.config_check import ConfigError
from rmvpe.decode import PitchCurve, decode, pitch, voicing
from rmvpe.estimator import Estimator
from rmvpe.estimator import load as load_estimator
from rmvpe.evaluation.agreement import compare_salience
from rmvpe.framing import frame_levels_db
from tests.helpers.networks import StandInNetwork
from tests.helpers.paths import ROOT

OWN = DecodeConfig(threshold=0.6, calibration=(1.5, 0.25))  # of the weights


class Steps(StandInNetwork):
    """Salience of one bin that rises from 0 to 1 over the recording."""

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        salience = np.zeros((*log_mel.shape[:2], 360), dtype=np.float32)
        salience[:, :, 150] = np.linspace(0.0, 1.0, log_mel.shape[1])
        return salience


def estimator(config: DecodeConfig | None = None) -> Estimator:
    return Estimator(Steps(), ModelConfig.small(), config, recommended=OWN)


SOUND = np.random.default_rng(0).standard_normal(16000).astype(np.float32)


def decided(config: DecodeConfig) -> tuple[float | None, tuple[float, float] | None]:
    return config.threshold, config.calibration


def test_other_settings_leave_the_weights_own_alone():
    assert decided(estimator().config) == (0.6, (1.5, 0.25))
    assert decided(estimator(DecodeConfig(f0_min_hz=80.0)).config) == (0.6, (1.5, 0.25))
    assert decided(estimator(DecodeConfig(threshold=0.2)).config) == (0.2, (1.5, 0.25))
    assert decided(estimator(DecodeConfig(calibration=(1.0, 0.0))).config) == (0.6, (1.0, 0.0))
    assert decided(estimator(USUAL).config) == (0.03, (1.0, 0.0))


def test_none_returns_to_the_weights_own():
    changed = estimator(DecodeConfig(threshold=0.2)).with_config(calibration=(1.0, 0.0), f0_max_hz=900.0)
    assert decided(changed.config) == (0.2, (1.0, 0.0))
    back = changed.with_config(threshold=None)
    assert decided(back.config) == (0.6, (1.0, 0.0))
    assert back.config.f0_max_hz == 900.0
    assert decided(back.with_config(calibration=None).config) == (0.6, (1.5, 0.25))


def test_a_call_can_return_to_them_too():
    given, own = estimator(DecodeConfig(threshold=0.2)), estimator().from_audio(SOUND, 16000)
    np.testing.assert_array_equal(given.from_audio(SOUND, 16000, threshold=None).voiced, own.voiced)
    assert given.from_audio(SOUND, 16000).voiced.sum() > own.voiced.sum() > 0
    curve = given.pitch_curve(SOUND, 16000, config=DecodeConfig(f0_min_hz=80.0))
    np.testing.assert_array_equal(curve.confidence, own.confidence)


def test_hysteresis_is_held_against_the_threshold_that_counts():
    assert estimator(DecodeConfig(hysteresis=0.5)).config.hysteresis == 0.5
    for mistake in (
        lambda: estimator(DecodeConfig(hysteresis=0.7)),
        lambda: estimator().with_config(hysteresis=0.7),
        lambda: estimator().from_audio(SOUND, 16000, hysteresis=0.7),
        lambda: estimator(DecodeConfig(threshold=0.9, hysteresis=0.8)).with_config(threshold=None),
    ):
        with pytest.raises(ConfigError, match=r"hysteresis 0\.[78].*the threshold, 0\.6"):
            mistake()


def test_weights_without_their_own_are_decoded_as_ever():
    plain = Estimator(Steps(), ModelConfig.small(), DecodeConfig(f0_min_hz=80.0))
    assert decided(plain.config) == (0.03, (1.0, 0.0))
    assert decided(plain.with_config(threshold=None, calibration=None).config) == (0.03, (1.0, 0.0))


@pytest.mark.parametrize("missing", ["threshold", "calibration"])
def test_what_sees_no_weights_asks_for_a_value(missing: str):
    settings: dict[str, Any] = {missing: None}
    config, salience = dataclasses.replace(OWN, **settings), np.zeros((3, 360), dtype=np.float32)
    calls = [lambda: decode(salience, config), lambda: compare_salience(salience, salience, config)]
    if missing == "calibration":
        calls += [lambda: pitch(salience, config), lambda: pitch(salience[:0], config)]
    else:
        f0_hz, confidence = np.full(3, 100.0), np.full(3, 0.5)
        calls += [lambda: voicing(f0_hz, confidence, config), lambda: PitchCurve(f0_hz, confidence).voiced(config)]
    for call in calls:
        with pytest.raises(ConfigError, match=f"{missing} is None.*give {missing}=.*estimator"):
            call()


@pytest.mark.parametrize("backend", installed_backends())
def test_load_keeps_the_bundled_weights_own(backend: str):
    """With a lower limit of the range alone, the demo recording is voiced as with the weights' recommendation."""
    checkpoint: Checkpoint = load("small")
    assert checkpoint.threshold is not None
    limited = load_estimator(checkpoint, backend, "cpu", config=DecodeConfig(f0_min_hz=80.0))
    assert decided(limited.config) == (checkpoint.threshold, checkpoint.calibration)
    from rmvpe import audio

    sound = audio.read(ROOT / "examples" / "demo.flac").samples[:160_000]
    plain = load_estimator(checkpoint, backend, "cpu")
    curve = plain.pitch_curve(sound, 16000)
    expected = decode(plain.salience(sound, 16000), plain.config, frame_levels_db(sound, plain.model.mel))[1]
    np.testing.assert_array_equal(curve.voiced(plain.config), expected)
    share, kept = expected.mean(), limited.from_audio(sound, 16000).voiced.mean()
    assert abs(kept - share) < 0.01, f"{kept:.1%} instead of {share:.1%} voiced"
