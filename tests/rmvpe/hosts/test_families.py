"""What single families add: a range, a batch, a length with filled gaps, a pitch for every frame."""

import inspect
import math
from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.backends import is_installed
from rmvpe.hosts import applio, fumiama, rmvpe_onnx, rvc, seedvc, vietnamese, wokada
from rmvpe.hosts.fumiama import filled, resized
from tests.helpers.hosts import FRAMEWORKS, voice

needs_runtime = pytest.mark.skipif(not FRAMEWORKS, reason="no runtime is installed")
needs_torch = pytest.mark.skipif(not is_installed("torch"), reason="torch is not installed")
OURS: dict[str, Any] = {"weights": "small", "device": "cpu"}


@pytest.mark.parametrize(
    ("host", "positional"),
    [
        (rvc.RMVPE, ["model_path", "is_half", "device", "use_jit"]),
        (seedvc.RMVPE, ["model_path", "is_half", "device", "use_jit"]),
        (wokada.RMVPE, ["model_path", "is_half", "device", "use_jit"]),
        (wokada.TensorRMVPE, ["model_path", "is_half", "device", "use_jit"]),
        (fumiama.RMVPE, ["model_path", "is_half", "device", "use_jit"]),
        (applio.RMVPE0Predictor, ["model_path", "device"]),
        (vietnamese.RMVPE, ["model_path", "is_half", "device", "providers", "onnx", "hpa", "compile_model"]),
        (rmvpe_onnx.RMVPE, ["model_path", "device"]),
    ],
)
def test_constructors_have_the_projects_order(host: Any, positional: list[str]):
    rows = inspect.signature(host).parameters.values()
    assert [row.name for row in rows if row.kind is row.POSITIONAL_OR_KEYWORD][: len(positional)] == positional


def test_rmvpe_has_the_class_of_rvc():
    assert rmvpe.RMVPE is rvc.RMVPE


@needs_runtime
def test_f0_out_of_the_range_is_unvoiced_or_clipped():
    host = vietnamese.RMVPE(f0_min=200.0, f0_max=420.0, **OURS)
    whole = host.infer_from_audio(voice())
    inside = (whole >= 200.0) & (whole <= 420.0)
    assert 0 < inside.sum() < (whole > 0).sum()
    np.testing.assert_array_equal(host.infer_from_audio_with_pitch(voice()), np.where(inside, whole, 0.0))
    wide = host.infer_from_audio_with_pitch(voice(), 0.03, f0_min=0.0, f0_max=2000.0)
    np.testing.assert_array_equal(wide, whole)
    clipping = vietnamese.RMVPE(out_of_range="clip", **OURS)
    np.testing.assert_array_equal(
        clipping.infer_from_audio_with_pitch(voice(), f0_min=200, f0_max=420), np.clip(whole, 200.0, 420.0)
    )
    with pytest.raises(rmvpe.UserError, match="unknown out_of_range 'mute': choose unvoiced or clip"):
        vietnamese.RMVPE(out_of_range="mute", **OURS)


@needs_runtime
def test_the_third_argument_may_be_onnx():
    host = vietnamese.RMVPE(None, False, True, weights="small")
    assert host.infer_from_audio(voice()[:1000]).shape == (7,)


@needs_runtime
@needs_torch
def test_a_row_of_a_batch_does_not_depend_on_the_others():
    import torch

    host = seedvc.RMVPE(**OURS)
    batch = torch.zeros(2, 8000)
    batch[0], batch[1, :3000] = torch.from_numpy(voice()[:8000].copy()), torch.from_numpy(voice()[8000:11000].copy())
    answer = host.infer_from_audio_batch(batch, thred=0.03)
    assert answer.shape == (2, 51)
    for row, alone in zip(answer, batch):
        np.testing.assert_array_equal(row.numpy(), host.infer_from_audio(alone))
    assert host.infer_from_audio_batch(batch.numpy()).dtype == torch.float32
    with pytest.raises(rmvpe.UserError, match=r"a batch must be \[batch, samples\]"):
        host.infer_from_audio_batch(voice())


def stretched(f0_hz: np.ndarray, n_frames: int) -> list[float]:
    """`resized` and then `filled`, frame by frame."""
    track = []
    for frame in range(n_frames):
        position = frame * len(f0_hz) / n_frames
        low = math.floor(position)
        share = position - low
        high = min(low + 1, len(f0_hz) - 1)
        a, b = float(f0_hz[low]), float(f0_hz[high])
        track.append(a if share == 0 else a + share * (b - a) if a > 0 and b > 0 else 0.0)
    voiced = [frame for frame, value in enumerate(track) if value > 0]
    if not voiced:
        return track
    for frame in range(n_frames):
        before = [other for other in voiced if other <= frame]
        after = [other for other in voiced if other >= frame]
        if before and after:
            a, b = before[-1], after[0]
            track[frame] = track[a] + (track[b] - track[a]) * ((frame - a) / (b - a) if b > a else 0.0)
        else:
            track[frame] = track[before[-1]] if before else track[after[0]]
    return track


@pytest.mark.parametrize("n_frames", [1, 3, 40, 41, 77, 200])
def test_the_rule_of_fumiama(n_frames: int):
    rng = np.random.default_rng(n_frames)
    f0_hz = (rng.uniform(100, 400, 41) * (rng.uniform(size=41) > 0.3)).astype(np.float32)
    np.testing.assert_allclose(filled(resized(f0_hz, n_frames)), stretched(f0_hz, n_frames), rtol=1e-9)
    assert not filled(resized(np.zeros(41, dtype=np.float32), n_frames)).any()


@needs_runtime
def test_compute_f0():
    host = fumiama.RMVPE("rmvpe.pt", False, "cpu", weights="small")
    plain = rvc.RMVPE(**OURS).infer_from_audio(voice())
    for n_frames in (None, 100, 201):
        f0_hz = host.compute_f0(voice(), n_frames, filter_radius=0.03)
        assert f0_hz.dtype == np.float64
        np.testing.assert_allclose(f0_hz, stretched(plain, n_frames or len(voice()) // 160), rtol=1e-6)
    assert host.compute_f0(np.zeros(4000)).tolist() == [0.0] * 25
    assert host.compute_f0(voice()[:0]).shape == host.compute_f0(voice()[:100]).shape == (0,)


@needs_runtime
def test_rmvpe_onnx_gives_every_frame_a_pitch():
    host = rmvpe_onnx.RMVPE(device="cpu")
    track = rmvpe.load("small", device="cpu").from_audio(voice(), 16000)
    time_s, f0_hz, confidence, salience = host.predict(np.stack([voice(), voice()], axis=1), 16000)
    assert (f0_hz > 0).all()
    assert salience.shape == (len(time_s), 360)
    np.testing.assert_allclose(time_s, track.time_s, rtol=1e-6)
    np.testing.assert_array_equal(confidence, track.confidence)
    voiced = confidence >= host.threshold
    np.testing.assert_array_equal(voiced, track.voiced)
    np.testing.assert_array_equal(f0_hz[voiced], track.f0_hz[voiced].astype(np.float32))
    assert [len(part) for part in host.predict(voice()[:0], 16000)] == [0, 0, 0, 0]
