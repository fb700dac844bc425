"""Several recordings in one pass: their windows put together are `stitch`ed, and salience is that of each alone."""

import numpy as np
import pytest

import rmvpe
from rmvpe import salience as reader_module
from rmvpe.audio import read
from rmvpe.backends import Backend, installed_backends
from rmvpe.batches import batch_of
from rmvpe.framing import plan_windows, stitch
from rmvpe.salience import SalienceReader
from tests.helpers.paths import ROOT


def test_a_batch_knows_where_each_frame_is_and_how_windows_fade():
    rng = np.random.default_rng(0)
    lengths = [320, 32, 800]
    plans = [plan_windows(n, 256, 96, 32) for n in lengths]
    log_mels = [[rng.normal(size=(w.stop - w.start, 5)).astype(np.float32) for w in plan] for plan in plans]
    batch = batch_of(log_mels, plans)
    assert batch.log_mel.shape == (2 + 1 + 5, 256, 5)
    assert batch.frames.tolist() == lengths
    flat, share = batch.log_mel.reshape(-1, 5), batch.share[..., None]
    joined = flat[batch.before] * (1 - share) + flat[batch.after] * share
    for row, plan, windows, n in zip(joined, plans, log_mels, lengths):
        np.testing.assert_array_equal(row[:n], np.concatenate(list(stitch(plan, windows))))


@pytest.mark.parametrize("framework", [name for name in installed_backends() if name != "onnx"])
def test_one_pass_over_several_recordings_is_each_alone(framework: str):
    """As an accelerator does it, here on the CPU: batches of windows, one GRU over all recordings."""
    estimator = rmvpe.load("small", framework, "cpu")
    samples = read(ROOT / "examples" / "demo.flac").samples
    recordings = [samples[: 16000 * 4], samples[3000 : 3000 + 16000 * 7], samples[5000:21000]]
    reader = SalienceReader(estimator.backend, estimator.model, window_frames=320, overlap_frames=96)
    alone = [np.concatenate(list(reader.blocks(each, "silence"))) for each in recordings]
    batches(estimator.backend, windows=2)
    together = reader.together(recordings, "silence")
    for found, wanted in zip(together, alone):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
    (one,) = [np.concatenate(list(reader.blocks(recordings[1], "silence")))]
    np.testing.assert_allclose(one, alone[1], rtol=0, atol=2e-5)


def batches(network: Backend, windows: int) -> None:
    """Make a network on the CPU behave as on an accelerator."""
    network.batch_windows, network.whole_batches = windows, True


@pytest.mark.parametrize("framework", installed_backends())
@pytest.mark.parametrize("high_register", [False, True])
def test_from_batch_is_from_audio(framework: str, high_register: bool):
    estimator = rmvpe.load("small", framework, "cpu").with_config(high_register=high_register)
    samples = read(ROOT / "examples" / "demo.flac").samples
    clips = [samples[:40000], samples[:0], samples[9000:20000], samples[20000:60000], samples[:1]]
    for found, clip in zip(estimator.from_batch(clips, 16000), clips, strict=True):
        assert found == estimator.from_audio(clip, 16000)
    assert estimator.from_batch([], 16000) == []


def test_groups_are_of_similar_lengths_and_not_too_long(monkeypatch):
    monkeypatch.setattr(reader_module, "MOST_FRAMES", 1000)
    estimator = rmvpe.load("small", installed_backends()[0], "cpu")
    estimator.backend.batch_windows = 3
    reader = SalienceReader(estimator.backend, estimator.model)
    lengths = [20000, 1000, 90000, 1500, 1200, 400000, 0]
    groups = reader.groups([np.zeros(n, np.float32) for n in lengths])
    assert groups == [[6, 1, 4], [3, 0], [2], [5]]
    assert not reader.fits(np.zeros(400000, np.float32))
