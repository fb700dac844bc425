"""The threshold and the calibration of a network in training: fitted where that is possible, else the last ones."""

import dataclasses

import numpy as np
import pytest

from rmvpe.config import DecodeConfig
from rmvpe.decode import PitchCurve
from rmvpe.evaluation.evaluate import Prediction
from rmvpe.evaluation.recommend import MIN_FRAMES, can_be_fitted, recommendations, updated

LAST = {"threshold": "0.61", "calibration": "2.0000,0.5000"}
SCORED_AS = DecodeConfig(threshold=0.1, calibration=(1.0, 0.0))
FRAMES = 400


def prediction(seed: int = 0, voiced: float = 0.6, skill: float = 3.0) -> Prediction:
    """Frames of which the share `voiced` is sung at 200 Hz; `skill` is how well confidence says what is right."""
    rng = np.random.default_rng(seed)
    time_s = 0.01 * np.arange(FRAMES)
    sung = np.arange(FRAMES) < voiced * FRAMES
    right = sung & (rng.random(FRAMES) < 0.9)
    confidence = 1 / (1 + np.exp(-skill * (right - 0.5) - rng.normal(0, 1, FRAMES)))
    est_hz = np.where(right, 200.0, 300.0)
    curve = PitchCurve(est_hz, confidence.astype(np.float32))
    return Prediction(time_s, np.where(sung, 200.0, 0.0), time_s, curve, str(seed))


def rows(*predictions: Prediction) -> dict[str, list[Prediction]]:
    return {"clean": list(predictions), "0 dB": list(predictions)}


def test_a_fit_replaces_the_last_one():
    found = updated(LAST, rows(prediction(0), prediction(1)), SCORED_AS)
    assert found == recommendations(rows(prediction(0), prediction(1)), SCORED_AS)
    assert found.keys() == LAST.keys()
    assert found != LAST
    slope, _ = map(float, found["calibration"].split(","))
    assert slope > 0


@pytest.mark.parametrize(
    "files",
    [
        [prediction(voiced=1.0)],
        [prediction(voiced=0.0)],
        [prediction(voiced=(MIN_FRAMES - 1) / FRAMES)],
        [prediction(voiced=1 - (MIN_FRAMES - 1) / FRAMES)],
        [
            dataclasses.replace(
                prediction(),
                curve=dataclasses.replace(prediction().curve, confidence=np.full(FRAMES, np.nan, np.float32)),
            )
        ],
        [],
    ],
    ids=["all voiced", "none voiced", "hardly any voiced", "hardly any unvoiced", "not finite", "no files"],
)
def test_where_nothing_can_be_fitted_the_last_ones_stay(files):
    given = rows(*files) if files else {}
    assert not can_be_fitted(given)
    assert updated(LAST, given, SCORED_AS) == LAST
    assert updated({}, given, SCORED_AS) == {}


def test_just_enough_frames_of_each_kind():
    assert can_be_fitted(rows(prediction(voiced=MIN_FRAMES / FRAMES)))
    assert can_be_fitted(rows(prediction(voiced=1 - MIN_FRAMES / FRAMES)))


def test_a_threshold_alone_does_not_replace_both():
    """Where more confidence does not mean more often right, as in a network that has learnt nothing."""
    untrained = rows(prediction(skill=-3.0))
    found = recommendations(untrained, SCORED_AS)
    assert found.keys() == {"threshold"}
    assert updated(LAST, untrained, SCORED_AS) == LAST
    assert updated({}, untrained, SCORED_AS) == found
    assert updated({"threshold": "0.30"}, untrained, SCORED_AS) == found


def test_every_fit_can_be_read_again():
    """A slope that its text would round to 0 makes weights that do not load."""
    for seed in range(20):
        found = recommendations(rows(prediction(seed, skill=1e-4 * seed)), SCORED_AS)
        if "calibration" in found:
            slope, offset = map(float, found["calibration"].split(","))
            assert slope > 0
            assert np.isfinite(offset)
        assert 0 < float(found["threshold"]) < 1
