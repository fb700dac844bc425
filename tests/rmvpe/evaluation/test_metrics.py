"""Metrics on tracks whose scores can be counted by hand."""

import numpy as np
import pytest

from rmvpe.evaluation.metrics import Aligned, align, lag, melody_scores, octave_errors, pool

pytest.importorskip("mir_eval")
TIMES = 0.01 * np.arange(1, 101)


def track(seed: int = 0) -> np.ndarray:
    f0_hz = 200.0 * 2.0 ** np.cumsum(np.random.default_rng(seed).normal(0, 0.02, 100))
    f0_hz[40:60] = 0.0
    return f0_hz


def aligned(est_hz: np.ndarray, est_voiced: np.ndarray) -> Aligned:
    return Aligned(track(), est_hz, est_voiced)


def test_a_perfect_estimate_scores_one():
    ref = track()
    scores = melody_scores(aligned(np.where(ref > 0, ref, 150.0), ref > 0))
    assert scores == pytest.approx({"RPA": 1.0, "RCA": 1.0, "OA": 1.0, "VR": 1.0, "VFA": 0.0})


def test_pitch_is_judged_whatever_the_voicing_decision():
    ref = track()
    scores = melody_scores(aligned(np.where(ref > 0, ref, 150.0), np.zeros(100, dtype=bool)))
    assert scores == pytest.approx({"RPA": 1.0, "RCA": 1.0, "OA": 0.2, "VR": 0.0, "VFA": 0.0})


def test_octave_errors_are_forgiven_by_chroma_and_counted_apart():
    ref = track()
    est = np.where(ref > 0, ref, 150.0)
    est[:20] *= 2.0
    result = aligned(est, ref > 0)
    scores = melody_scores(result)
    assert scores["RPA"] == pytest.approx(0.75)
    assert scores["RCA"] == pytest.approx(1.0)
    assert octave_errors(result) == pytest.approx(0.25)


def test_false_alarms():
    ref = track()
    voiced = ref > 0
    voiced[40:50] = True
    assert melody_scores(aligned(np.where(ref > 0, ref, 150.0), voiced))["VFA"] == pytest.approx(0.5)


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 4])
def test_lag_finds_the_shift(shift: int):
    ref = track(1)
    assert lag(ref, np.roll(ref, shift)) == shift


def test_align_reads_another_grid():
    est_times = np.arange(0, 1.1, 0.005)
    est_hz = 200.0 * 2.0**est_times
    result = align(TIMES, 200.0 * 2.0**TIMES, est_times, est_hz, est_times > 0.5)
    np.testing.assert_allclose(result.est_hz, result.ref_hz, rtol=1e-9)
    np.testing.assert_array_equal(result.est_voiced, TIMES > 0.5 + 1e-9)


def test_an_estimate_that_ends_early_is_unvoiced_from_there():
    est_times = np.arange(0, 0.5, 0.01)
    result = align(TIMES, np.full(100, 200.0), est_times, np.full(50, 200.0), np.ones(50, dtype=bool))
    assert result.est_voiced[:49].all()
    assert not result.est_voiced[51:].any()


def test_pool_weighs_frames_not_files():
    good = Aligned(np.full(90, 200.0), np.full(90, 200.0), np.ones(90, dtype=bool))
    bad = Aligned(np.full(10, 200.0), np.full(10, 300.0), np.ones(10, dtype=bool))
    assert melody_scores(pool([good, bad]))["RPA"] == pytest.approx(0.9)
