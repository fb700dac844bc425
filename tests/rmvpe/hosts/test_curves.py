"""The rules for f0 curves against the same rules in plain Python, and by hand."""

import numpy as np
import pytest

from rmvpe.hosts import curves
from tests.rmvpe.hosts import naive_rules

STEPS_S = (0.005, 512 / 44100, 320 / 32000, 128 / 24000, 768 / 44100, 0.0123456, 0.1)


def curve(seed: int, frames: int = 120) -> np.ndarray:
    """An f0 with voiced runs and gaps of all short lengths, float64 [frames]."""
    rng = np.random.default_rng(seed)
    runs = [np.full(rng.integers(1, 9), voiced) for voiced in rng.integers(0, 2, frames)]
    return np.where(np.concatenate(runs)[:frames], rng.uniform(60, 900, frames), 0.0)


CURVES = [*(curve(seed) for seed in range(6)), curve(7, 1), curve(8, 2), np.zeros(9), np.full(5, 220.0)]


def test_gaps_are_filled_on_a_straight_line_in_hz_or_in_octaves():
    gap = np.array([0, 100.0, 0, 0, 400, 0])
    np.testing.assert_allclose(curves.fill_linear(gap), [100, 100, 200, 300, 400, 400])
    gap = np.array([0, 100.0, 0, 400, 0])
    np.testing.assert_allclose(curves.fill_log2(gap), [100, 100, 200, 400, 400])


@pytest.mark.parametrize("f0_hz", CURVES)
def test_filling_as_frame_by_frame(f0_hz: np.ndarray):
    expected = naive_rules.filled(f0_hz.tolist(), (f0_hz > 0).tolist())
    np.testing.assert_allclose(curves.fill_linear(f0_hz), expected)
    np.testing.assert_allclose(curves.fill_log2(f0_hz), naive_rules.filled_in_octaves(f0_hz.tolist()))


@pytest.mark.parametrize("f0_hz", CURVES)
@pytest.mark.parametrize("step_s", STEPS_S)
def test_another_hop_as_frame_by_frame(f0_hz: np.ndarray, step_s: float):
    for length in (0, 1, 7, 200):
        found = curves.at_hop(f0_hz, 0.01, step_s, length)
        np.testing.assert_allclose(found, naive_rules.aligned(f0_hz.tolist(), step_s, length), rtol=1e-9, atol=1e-9)
        shares = naive_rules.aligned((f0_hz == 0).astype(float).tolist(), step_s, length)
        found_unvoiced = curves.unvoiced_at_hop(f0_hz == 0, 0.01, step_s, length)
        assert found_unvoiced.tolist() == [share > 0.5 + 1e-6 for share in shares]


def test_the_last_time_on_the_new_grid_is_repeated():
    """Not the last frame: the hosts do not go to the end of the curve."""
    found = curves.at_hop(np.array([0.0, 10, 20, 30]), 0.01, 0.02, 5)
    np.testing.assert_allclose(found, [0, 20, 20, 20, 20])


def test_a_frame_halfway_between_is_voiced():
    unvoiced = curves.unvoiced_at_hop(np.array([True, False, True, False]), 0.01, 0.005, 6)
    assert unvoiced.tolist() == [True, False, False, False, True, False]


@pytest.mark.parametrize(("n", "length"), [(1, 1), (5, 5), (5, 3), (3, 7), (101, 86), (1001, 861), (100, 0)])
def test_a_nearest_stretch_repeats_and_drops_frames(n: int, length: int):
    found = curves.stretch_nearest(np.arange(n, dtype=np.float32), length)
    assert found.dtype == np.float32
    assert found.tolist() == [frame * n // length for frame in range(length)]


def test_a_nearest_stretch_is_that_of_torch():
    """Also where a frame falls on another exactly, and torch's float32 rounds it down, as in the last of these."""
    torch = pytest.importorskip("torch")
    for n, length in [(101, 86), (86, 101), (1001, 861), (3001, 2584), (400, 640), (926, 870)]:
        values = torch.arange(n, dtype=torch.float32)
        expected = torch.nn.functional.interpolate(values[None, None], size=length, mode="nearest")[0, 0].numpy()
        assert np.array_equal(curves.stretch_nearest(values.numpy(), length), expected)


@pytest.mark.parametrize("gap", [2, 6])
@pytest.mark.parametrize("f0_hz", CURVES)
def test_short_runs_are_erased_as_frame_by_frame(f0_hz: np.ndarray, gap: int):
    inside = curves.within_range(f0_hz, 100, 700)
    found = curves.erase_short_runs(inside, gap)
    assert found.tolist() == naive_rules.without_glitches(f0_hz.tolist(), 100, 700, gap)


def test_a_run_of_the_limit_is_erased_and_a_longer_one_is_kept():
    f0_hz = np.array([0, 0, 0, 500, 500, 0, 0, 500, 500, 500, 0, 0])
    assert curves.erase_short_runs(f0_hz, 2).tolist() == [0, 0, 0, 0, 0, 0, 0, 500, 500, 500, 0, 0]


def test_a_limit_of_the_range_is_inside_it():
    found = curves.within_range(np.array([49.9, 50, 1000, 1000.1], np.float32), 50, 1000)
    assert found.dtype == np.float32
    assert found.tolist() == [0, 50, 1000, 0]


def test_no_frames_become_frames_of_zeros():
    nothing = np.zeros(0, np.float32)
    assert curves.at_hop(nothing, 0.01, 0.02, 3).tolist() == [0, 0, 0]
    assert curves.stretch_nearest(nothing, 3).tolist() == [0, 0, 0]
    assert curves.unvoiced_at_hop(nothing > 0, 0.01, 0.02, 3).all()
    assert len(curves.fill_linear(nothing)) == len(curves.fill_log2(nothing)) == 0
    assert len(curves.erase_short_runs(nothing, 2)) == 0


@pytest.mark.parametrize(
    "rule",
    [
        curves.fill_linear,
        curves.fill_log2,
        lambda f0_hz: curves.stretch_nearest(f0_hz, len(f0_hz)),
        lambda f0_hz: curves.at_hop(f0_hz, 0.01, 0.01, len(f0_hz)),
        lambda f0_hz: curves.within_range(f0_hz, 100, 200),
        lambda f0_hz: curves.erase_short_runs(f0_hz, 3),
    ],
)
def test_the_array_that_is_given_is_neither_changed_nor_returned(rule):
    f0_hz = curve(3)
    kept = f0_hz.copy()
    result = rule(f0_hz)
    result[:] = -1
    assert np.array_equal(f0_hz, kept)
