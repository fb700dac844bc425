"""Frames, padding and windows: counts, what each padded frame shows, and that stitching loses and doubles nothing."""

from itertools import pairwise

import numpy as np
import pytest

from rmvpe import mel
from rmvpe.config import MelConfig, ModelConfig
from rmvpe.framing import (
    Window,
    fade_in,
    frame_times,
    frames_at_hop,
    plan_padding,
    plan_windows,
    reflect_pad,
    round_up,
    samples_of_frames,
    samples_to_frames,
    stitch,
)

MEL = MelConfig()
LENGTHS = [1, 2, 159, 160, 161, 511, 512, 513, 1024, 4959, 4960, 4961, 5120, 16000, 81919]


def test_frame_counts_and_times():
    assert [samples_to_frames(n, 160) for n in (0, 1, 159, 160, 161, 16000)] == [0, 1, 1, 2, 2, 101]
    np.testing.assert_allclose(frame_times(3, MEL), [0.0, 0.01, 0.02])
    np.testing.assert_allclose(frame_times(3, ModelConfig.e2e().mel), [0.0, 0.02, 0.04])
    assert [round_up(n, 32) for n in (0, 1, 32, 33)] == [0, 32, 32, 64]


@pytest.mark.parametrize("hops", [1, 7, 1000, 310078])
def test_a_hop_in_samples_of_the_original_rate_counts_exactly(hops: int):
    hop_s = 512 / 44100
    assert frames_at_hop(512 * hops / 44100, hop_s) == hops + 1
    assert frames_at_hop((512 * hops - 1) / 44100, hop_s) == hops


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("mode", ["silence", "reflect", "zero"])
@pytest.mark.parametrize("mel_config", [MEL, ModelConfig.e2e().mel], ids=["e2e0", "e2e"])
def test_padding_reaches_the_stride_and_keeps_the_frames(n: int, mode: str, mel_config: MelConfig):
    plan = plan_padding(n, mel_config, 32, mode)
    assert plan.n_frames == samples_to_frames(n, mel_config.hop_samples)
    assert plan.padded_frames % 32 == 0
    assert plan.n_frames <= plan.padded_frames < plan.n_frames + 32 + 1
    assert len(plan.frame_source) == plan.padded_frames
    np.testing.assert_array_equal(plan.frame_source[: plan.n_frames], np.arange(plan.n_frames))


def test_what_the_three_paddings_show():
    silence = plan_padding(4961, MEL, 32, "silence")
    assert (silence.padded_frames, silence.zeros_right) == (64, 10240 - 160 - 4961)  # 5120 n - 160 samples
    reflect = plan_padding(30 * 160, MEL, 32, "reflect")
    np.testing.assert_array_equal(reflect.frame_source[30:], [30, 29])
    np.testing.assert_array_equal(
        plan_padding(5 * 160, MEL, 32, "reflect").frame_source[4:12], [4, 5, 4, 3, 2, 1, 0, 1]
    )
    assert set(plan_padding(1, MEL, 32, "reflect").frame_source) == {0}
    zero = plan_padding(30 * 160, MEL, 32, "zero")
    np.testing.assert_array_equal(zero.frame_source[29:], [29, 30, -1])
    with pytest.raises(ValueError, match="unknown padding"):
        plan_padding(100, MEL, 32, "wrap")


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("zeros", [0, 1, 700, 5000])
def test_samples_under_frames_are_those_of_the_whole(n: int, zeros: int):
    audio = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    whole = reflect_pad(np.pad(audio, (0, zeros)), MEL.window_samples // 2)
    frames = samples_to_frames(n + zeros, MEL.hop_samples)
    for first, stop in {(0, frames), (frames // 3, frames // 3 + 1), (frames - 1, frames)}:
        part = samples_of_frames(audio, zeros, first, stop, MEL)
        assert part.dtype == np.float32
        expected = whole[first * 160 : (stop - 1) * 160 + MEL.window_samples]
        np.testing.assert_array_equal(part, expected)


def test_a_window_has_the_spectrogram_of_the_whole():
    audio = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    whole = mel.log_mel(audio, MEL)
    part = mel.log_mel(samples_of_frames(audio, 0, 100, 200, MEL), MEL, centred=False)
    np.testing.assert_array_equal(part, whole[100:200])


@pytest.mark.parametrize(
    ("n_frames", "window", "overlap"), [(32, 128, 32), (128, 128, 32), (160, 128, 32), (1600, 128, 40), (4000, 160, 0)]
)
def test_windows_cover_everything_on_the_pooling_grid(n_frames: int, window: int, overlap: int):
    n_frames = round_up(n_frames, 32)
    windows = plan_windows(n_frames, window, overlap, 32)
    assert windows[0].start == 0
    assert windows[-1].stop == n_frames
    assert all(w.start % 32 == 0 for w in windows)
    assert all(w.stop - w.start == min(window, n_frames) for w in windows[:-1])
    assert min(window, n_frames, overlap + 32) <= windows[-1].stop - windows[-1].start <= window
    assert all(a.stop - b.start >= overlap for a, b in pairwise(windows))
    assert all(a.stop - b.start < overlap + 32 for a, b in pairwise(windows))
    assert all(a.start < b.start for a, b in pairwise(windows))


@pytest.mark.parametrize(("window", "overlap"), [(100, 32), (128, 128), (128, -1), (64, 40)])
def test_impossible_windows(window: int, overlap: int):
    with pytest.raises(ValueError, match="window"):
        plan_windows(1600, window, overlap, 32)


def test_fade_is_a_ramp_between_flat_quarters():
    weight = fade_in(256)
    assert weight[:64].max() < 0.01
    assert weight[-64:].min() > 0.99
    assert np.all(np.diff(weight) >= 0)
    np.testing.assert_allclose(weight + weight[::-1], 1.0, atol=1e-6)
    assert len(fade_in(0)) == 0


@pytest.mark.parametrize("n_frames", [32, 128, 160, 192, 224, 256, 1632])
@pytest.mark.parametrize("overlap", [0, 32, 64])
def test_stitching_gives_every_frame_once_and_in_order(n_frames: int, overlap: int):
    windows = plan_windows(n_frames, 128, overlap, 32)
    truth = np.random.default_rng(0).standard_normal((n_frames, 5)).astype(np.float32)
    blocks = list(stitch(windows, (truth[w.start : w.stop] for w in windows)))
    assert len(blocks) == len(windows)
    np.testing.assert_allclose(np.concatenate(blocks), truth, atol=1e-6)
    assert list(stitch([], iter([]))) == []


def test_where_windows_disagree_neither_edge_counts():
    windows = [Window(0, 128), Window(64, 192)]
    first, second = np.zeros((128, 1), dtype=np.float32), np.ones((128, 1), dtype=np.float32)
    result = np.concatenate(list(stitch(windows, [first, second])))[:, 0]
    np.testing.assert_array_equal(result[: 64 + 15], 0.0)  # the first quarter of the overlap: the new window's edge
    np.testing.assert_array_equal(result[128 - 15 :], 1.0)  # the last quarter: the old window's edge
    assert np.all(np.diff(result) >= 0)
