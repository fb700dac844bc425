"""Evaluation: the mix is at the ratio it says, a perfect network scores one, and the threshold is the best one."""

import numpy as np
import pytest

from rmvpe.config import ModelConfig
from rmvpe.data.augment import rms
from rmvpe.evaluate import CLEAN, best_threshold, evaluate, mixed, readings, snr_name, spread
from rmvpe.framing import frame_times, samples_to_frames
from rmvpe.targets import f0_at_times, salience_target
from tests.hybrid import glide

pytest.importorskip("mir_eval")
MODEL = ModelConfig.small()


class Glides:
    """Three glides with noise beside them, as `Hybrid` gives them."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict:
        voice, f0_hz = glide(index)
        noise = np.random.default_rng(index).normal(0, 0.1, len(voice)).astype(np.float32)
        time_s = 0.01 * np.arange(1, len(f0_hz))
        return {"name": str(index), "voice": voice, "accompaniment": noise, "f0_hz": f0_hz[1:], "time_s": time_s}


def oracle(confidence_voiced: float, confidence_unvoiced: float):
    """A network that knows the answer by the audio's samples, with a confidence of its own."""
    items = [Glides()[index] for index in range(3)]

    def salience_of(audio: np.ndarray) -> np.ndarray:
        item = max(items, key=lambda item: abs(float(np.dot(item["voice"], audio[: len(item["voice"])]))))
        times = frame_times(samples_to_frames(len(audio), 160), MODEL.mel)
        f0_hz = f0_at_times(item["time_s"], item["f0_hz"], times)
        target = salience_target(np.where(f0_hz > 0, f0_hz, 200.0))
        return target * np.where(f0_hz > 0, confidence_voiced, confidence_unvoiced)[:, None].astype(np.float32)

    return salience_of


def test_a_perfect_network_scores_one_at_every_ratio():
    rows = evaluate(oracle(0.9, 0.1), Glides(), MODEL, threshold=0.5, snr_db=(CLEAN, 20.0))
    assert set(rows) == {"clean", "20 dB"}
    for scores in rows.values():
        assert scores["RPA"] == pytest.approx(1.0)
        assert scores["OA"] > 0.99
        assert scores["VFA"] < 0.02
        assert scores["octave"] == 0
        assert scores["lag"] == 0


def test_pitch_accuracy_does_not_depend_on_the_threshold():
    low, high = (
        evaluate(oracle(0.4, 0.1), Glides(), MODEL, threshold=threshold, snr_db=(CLEAN,))["clean"]
        for threshold in (0.2, 0.5)
    )
    assert low["RPA"] == high["RPA"] == pytest.approx(1.0)
    assert low["VR"] > 0.99
    assert high["VR"] == 0.0


def test_the_best_threshold_lies_between_the_confidences():
    rows = readings(oracle(0.6, 0.3), Glides(), MODEL, (CLEAN, 20.0))
    assert 0.3 < best_threshold(rows, [0.1, 0.2, 0.45, 0.7]) < 0.6


def test_mixed_is_deterministic_and_never_clips():
    item = Glides()[0]
    loud = mixed(item, -30.0, MODEL)
    np.testing.assert_array_equal(loud, mixed(item, -30.0, MODEL))
    assert np.abs(loud).max() <= 1.0
    music = mixed(item, 10.0, MODEL) - item["voice"]
    voiced = item["voice"][: int(1.7 * 16000)]
    assert 20 * np.log10(rms(voiced) / rms(music)) == pytest.approx(10.0, abs=0.1)
    np.testing.assert_array_equal(mixed(item, CLEAN, MODEL), item["voice"])


def test_names_and_spread():
    assert [snr_name(snr) for snr in (CLEAN, 0.0, -5.0)] == ["clean", "0 dB", "-5 dB"]
    assert spread(100, 5) == [0, 25, 50, 74, 99]
    assert spread(3, 10) == [0, 1, 2]
