"""The steps between audio and f0: together they are `infer_from_audio`; Applio replaces some of them in real time."""

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.backends import is_installed
from rmvpe.checkpoint.store import Checkpoint, load
from rmvpe.hosts.applio import RMVPE0Predictor
from rmvpe.mel import log_mel
from tests.helpers.hosts import FRAMEWORKS, voice

pytestmark = pytest.mark.skipif(not FRAMEWORKS, reason="no runtime is installed")
needs_torch = pytest.mark.skipif(not is_installed("torch"), reason="torch is not installed")


@pytest.fixture(scope="module")
def host() -> rmvpe.RMVPE:
    return rmvpe.RMVPE(weights="small", device="cpu")


@pytest.mark.parametrize("frames", [32, 64, 160])
def test_the_steps_of_a_window_in_real_time_are_the_whole_call(host: rmvpe.RMVPE, frames: int):
    sound = voice()[: frames * 160 - 160]
    hidden = host.mel2hidden(host.mel_extractor(sound[None], center=True))
    assert hidden.shape == (1, frames, 360)
    f0_hz = host.decode(hidden[0], thred=0.03)
    assert (f0_hz > 0).any()
    np.testing.assert_array_equal(f0_hz, host.infer_from_audio(sound))


@pytest.mark.parametrize("n", [1, 700, 7000, 20001])
def test_other_lengths_come_close(host: rmvpe.RMVPE, n: int):
    whole = host.infer_from_audio(voice()[:n])
    steps = host.decode(host.mel2hidden(host.extract_mel(voice()[:n]))[0])
    assert whole.shape == steps.shape
    assert ((whole > 0) == (steps > 0)).mean() > 0.9


@pytest.mark.parametrize("pad", ["zero", "reflect"])
def test_with_published_weights_the_steps_are_the_whole_call_at_any_length(pad: str):
    small = load("small")
    published = Checkpoint(small.config, small.tensors, {})
    host: Any = rmvpe.RMVPE if pad == "zero" else RMVPE0Predictor
    host = host(weights=published, device="cpu")
    sound = voice()[:9000]
    f0_hz = host.decode(host.mel2hidden(host.mel_extractor(sound[None]))[0], thred=0.3)
    np.testing.assert_array_equal(f0_hz, host.infer_from_audio(sound, 0.3))


def test_log_mel_is_ours(host: rmvpe.RMVPE):
    config = host.model.model.mel
    extractor = host.mel_extractor
    assert (extractor.hop_length, extractor.n_mel_channels, extractor.sampling_rate) == (160, 128, 16000)
    batch = np.stack([voice()[:4000], voice()[4000:8000]])
    mels = extractor(batch)
    for row, mel in zip(batch, mels):
        np.testing.assert_array_equal(mel, log_mel(row, config).T)
    lower = extractor(batch, keyshift=-12, speed=2, center=False)[1]
    slow = dataclasses.replace(config, hop_samples=320)
    np.testing.assert_array_equal(lower, log_mel(batch[1], slow, key_shift_semitones=-12, centred=False).T)
    assert extractor(np.zeros((1, 0))).shape == (1, 128, 0)
    assert host.mel2hidden(np.zeros((1, 128, 0))).shape == (1, 0, 360)


def test_cents(host: rmvpe.RMVPE):
    assert host.cents_mapping.dtype == np.float32
    assert host.cents_mapping.shape == (368,)
    np.testing.assert_allclose(host.cents_mapping[[3, 4, 363, 364]], [0.0, 1997.3794, 9177.3794, 0.0], rtol=1e-6)
    hidden = host.mel2hidden(host.mel_extractor(voice()[:15840]))[0]
    cents, f0_hz = host.to_local_average_cents(hidden, thred=0.03), host.decode(hidden, 0.03)
    np.testing.assert_array_equal(cents == 0, f0_hz == 0)
    voiced = cents > 0
    assert voiced.any()
    np.testing.assert_allclose(10 * 2 ** (cents[voiced] / 1200), f0_hz[voiced], rtol=1e-5)


def test_the_model_may_be_deleted():
    host = rmvpe.RMVPE(weights="small", device="cpu")
    del host.model
    assert not hasattr(host, "model")
    assert host.infer_from_audio(voice()[:1000]).shape == (7,)


@needs_torch
def test_steps_answer_tensors_with_tensors(host: rmvpe.RMVPE):
    import torch

    mel = host.mel_extractor(torch.from_numpy(voice()[None, :4960].copy()))
    hidden = host.mel2hidden(mel)
    answers = [mel, hidden, host.decode(hidden[0]), host.to_local_average_cents(hidden[0])]
    assert {(type(answer), answer.dtype) for answer in answers} == {(torch.Tensor, torch.float32)}
    assert [tuple(answer.shape) for answer in answers] == [(1, 128, 32), (1, 32, 360), (32,), (32,)]


@needs_torch
def test_applio_replaces_methods_in_real_time():
    import torch

    host: Any = RMVPE0Predictor("rvc/models/predictors/rmvpe.pt", "cpu", weights="small")

    def infer_from_audio(self: Any, audio: Any, thred: float) -> Any:
        return self.decode(self.mel2hidden(self.mel_extractor(audio.unsqueeze(0), center=True)).squeeze(0), thred=thred)

    def to_local_average_cents(self: Any, salience: Any, thred: float) -> Any:
        raise AssertionError("our decode decides voicing by the weights' threshold")

    expected = host.infer_from_audio(voice()[:10080])
    host.cents_mapping = torch.from_numpy(host.cents_mapping)
    host.infer_from_audio = types.MethodType(infer_from_audio, host)
    host.to_local_average_cents = types.MethodType(to_local_average_cents, host)
    f0_hz = host.infer_from_audio(torch.from_numpy(voice()[:10080].copy()), thred=0.03)
    f0_hz *= 1.0  # as the host does
    np.testing.assert_array_equal(f0_hz.numpy(), expected)
