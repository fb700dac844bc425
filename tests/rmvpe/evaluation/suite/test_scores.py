"""Scores of clips are those of the definitions; intervals cover what they say and are the same in every run."""

import math

import numpy as np
import pytest

from rmvpe.config import DecodeConfig
from rmvpe.decode import PitchCurve
from rmvpe.evaluation.metrics import melody_scores
from rmvpe.evaluation.suite.clips import Clip
from rmvpe.evaluation.suite.scores import (
    RESAMPLINGS,
    SCORES,
    SHARES,
    ClipScores,
    clip_scores,
    difference,
    draws,
    near_an_end,
    summary,
)

pytest.importorskip("mir_eval")
CONFIG = DecodeConfig(threshold=0.5)
TIME_S = np.arange(100) * 0.01


def clip(f0_hz: np.ndarray) -> Clip:
    return Clip("a", np.zeros(16_000, np.float32), 16_000, TIME_S, f0_hz)


def scored(reference_hz: np.ndarray, found_hz: np.ndarray, voiced: np.ndarray) -> ClipScores:
    curve = PitchCurve(found_hz, np.where(voiced, 0.9, 0.1).astype(np.float32))
    return clip_scores(clip(reference_hz), TIME_S, curve, CONFIG)


def counted(right: int, of: int, cents: float = 5.0, name: str = "RPA") -> ClipScores:
    """A clip with so many right frames."""
    counts = dict.fromkeys(SHARES, 0.0) | {name: float(right)}
    return ClipScores("a", counts, dict.fromkeys(SHARES, float(of)), np.full(10, cents))


def test_scores_of_a_clip_are_those_of_mir_eval_and_of_the_definitions() -> None:
    reference = np.where((np.arange(100) >= 20) & (np.arange(100) < 80), 200.0, 0.0)
    found = np.full(100, 202.0)  # 17 cents high
    found[30:36] = 400.0  # an octave: RCA, not RPA
    found[40:44] = 300.0  # a fifth: neither
    found[78:80] = 250.0  # at the end of the note
    voiced = (np.arange(100) >= 15) & (np.arange(100) < 75)
    voiced[30:33] = False
    one = scored(reference, found, voiced)
    scores = one.scores()
    expected = {"RPA": 48 / 60, "RCA": 54 / 60, "VR": 52 / 60, "VFA": 5 / 40, "VO": 3 / 60, "RPA mid": 44 / 54}
    for name, share in expected.items():
        assert scores[name] == pytest.approx(share), name
    right = 60 - 6 - 4 - 5  # voiced, and the pitch right; the two last frames of the note are unvoiced
    assert scores["OA"] == pytest.approx((right + 35) / 100)
    assert scores["cents"] == pytest.approx(1200 * np.log2(202 / 200))

    from rmvpe.evaluation.metrics import align

    whole = melody_scores(align(TIME_S, reference, TIME_S, found, voiced))
    assert {name: scores[name] for name in whole} == pytest.approx(whole)


def test_without_a_voice_only_false_alarms_count() -> None:
    scores = scored(np.zeros(100), np.full(100, 200.0), np.arange(100) < 25).scores()
    assert scores["VFA"] == 0.25
    assert scores["OA"] == 0.75
    assert all(math.isnan(scores[name]) for name in ("RPA", "RPA mid", "RCA", "VR", "VO", "cents"))


def test_frames_within_30_ms_of_an_end_are_three_at_10_ms_and_six_at_5() -> None:
    sung = (np.arange(100) >= 20) & (np.arange(100) < 50)
    assert np.flatnonzero(near_an_end(TIME_S, sung) & sung).tolist() == [20, 21, 22, 47, 48, 49]
    assert np.flatnonzero(near_an_end(TIME_S / 2, sung) & sung).tolist() == [*range(20, 26), *range(44, 50)]
    everything = near_an_end(TIME_S, np.ones(100, dtype=bool))  # a recording's beginning and end count
    assert np.flatnonzero(everything).tolist() == [0, 1, 2, 97, 98, 99]


def test_draws_are_with_replacement_and_always_the_same() -> None:
    drawn = draws(12)
    assert drawn.shape == (RESAMPLINGS, 12)
    assert (drawn.sum(axis=1) == 12).all()
    assert np.mean(drawn == 0) == pytest.approx((11 / 12) ** 12, abs=0.01)
    assert (drawn == draws(12)).all()


def test_clips_weigh_by_their_frames() -> None:
    pooled = summary([counted(10, 10), counted(0, 30)])["RPA"]
    assert pooled.value == 0.25
    assert (pooled.low, pooled.high) == (0.0, 1.0)


def test_equal_clips_have_no_spread_and_one_clip_has_no_interval() -> None:
    same = summary([counted(9, 10)] * 8)
    assert (same["RPA"].low, same["RPA"].value, same["RPA"].high) == (0.9, 0.9, 0.9)
    assert same["cents"].value == same["cents"].low == 5.0
    alone = summary([counted(9, 10)])["RPA"]
    assert alone.value == 0.9
    assert math.isnan(alone.low)


def test_a_resampled_median_is_that_of_the_frames_drawn() -> None:
    rng = np.random.default_rng(0)
    clips = [
        ClipScores("a", dict.fromkeys(SHARES, 0.0), dict.fromkeys(SHARES, 1.0), rng.exponential(10.0 * k + 1, 50))
        for k in range(6)
    ]
    found = summary(clips)["cents"]
    medians = [
        np.median(np.concatenate([np.repeat(one.cents, times) for one, times in zip(clips, row)])) for row in draws(6)
    ]
    assert found.value == np.median(np.concatenate([one.cents for one in clips]))
    assert (found.low, found.high) == pytest.approx(
        tuple(np.percentile(medians, (2.5, 97.5))), rel=0.05
    )  # ours is one of the errors


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """60 clips of a share that varies from clip to clip: the truth is inside in 95 % of 80 such sets, or nearly."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(80):
        shares = rng.beta(8, 2, 60)
        found = summary([counted(round(1000 * share), 1000) for share in shares])["RPA"]
        inside += found.low <= 0.8 <= found.high
    assert 0.87 <= inside / 80 < 1.0  # 3 standard deviations below 0.95


def test_a_paired_difference_sees_what_single_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    hard = rng.integers(300, 900, 12)  # how many of 1000 are right: clips differ widely
    before = [counted(int(right), 1000) for right in hard]
    after = [counted(int(right) + 10, 1000) for right in hard]
    gain = difference(after, before)["RPA"]
    assert gain.value == pytest.approx(0.01)
    assert gain.is_beyond_noise
    assert summary(after)["RPA"].low < summary(before)["RPA"].high  # apart, they overlap


def test_the_same_scores_do_not_differ_and_noise_is_not_marked() -> None:
    clips = [counted(k, 20) for k in range(12)]
    same = difference(clips, clips)
    assert all(same[name].value == 0.0 and not same[name].is_beyond_noise for name in SCORES)
    swapped = [counted(k + (1 if k % 2 else -1), 20) for k in range(1, 13)]
    assert not difference(swapped, [counted(k, 20) for k in range(1, 13)])["RPA"].is_beyond_noise
