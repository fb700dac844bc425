"""What every drop-in class keeps to, whatever its project: answers, inputs, lengths, thresholds, one network."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.backends import choose_backend, is_installed
from rmvpe.hosts.tensors import to_numpy
from tests.helpers.hosts import DROP_INS, FRAMEWORKS, DropIn, voice

HAS_TORCH = is_installed("torch")
pytestmark = pytest.mark.skipif(not FRAMEWORKS, reason="no runtime is installed")
ALL = [
    pytest.param(row, id=name, marks=pytest.mark.skipif(row.tensor and not HAS_TORCH, reason="it answers with tensors"))
    for name, row in DROP_INS.items()
]


def built(drop_in: DropIn, **named: Any) -> Any:
    return drop_in.make(weights="small", device="cpu", **named)


@pytest.mark.parametrize("drop_in", ALL)
def test_the_default_is_that_of_the_estimator(drop_in: DropIn):
    expected = rmvpe.load("small", device="cpu").from_audio(voice(), 16000)
    assert 0.1 < expected.voiced.mean() < 0.9
    host = built(drop_in)
    for threshold in ((), (drop_in.threshold,)):
        np.testing.assert_array_equal(drop_in.f0(host, voice(), *threshold), expected.f0_hz.astype(np.float32))


@pytest.mark.parametrize("drop_in", ALL)
def test_answers_are_new_and_may_be_edited(drop_in: DropIn):
    host = built(drop_in)
    first = drop_in.call(host, voice())
    kept = to_numpy(first).copy()
    assert str(first.dtype).removeprefix("torch.") == drop_in.dtype
    first *= 2.0
    first[:] = 7.0
    np.testing.assert_array_equal(drop_in.f0(host, voice()), kept)


@pytest.mark.parametrize("drop_in", ALL)
def test_every_kind_of_input_gives_the_same_bits(drop_in: DropIn):
    host, sound = built(drop_in), voice()  # read-only: nobody writes into it
    spread = np.zeros((len(sound), 2), dtype=np.float32)
    spread[:, 1] = sound
    inputs: list[Any] = [sound.astype(np.float64), spread[:, 1], sound[::-1].copy()[::-1]]
    if HAS_TORCH:
        import torch

        tensor = torch.from_numpy(sound.copy())
        inputs += [tensor, tensor.double(), tensor.clone().requires_grad_()]
    expected = drop_in.f0(host, sound)
    for given in inputs:
        before = to_numpy(given).copy()
        np.testing.assert_array_equal(drop_in.f0(host, given), expected)
        np.testing.assert_array_equal(to_numpy(given), before)


@pytest.mark.parametrize("drop_in", ALL)
def test_every_length_has_its_frames(drop_in: DropIn):
    host = built(drop_in)
    for n in (0, 1, 2, 159, 160, 161, 512, 513, 1024, 2560, 2561, 4960, 5119, 6000):
        f0_hz = drop_in.f0(host, voice()[:n])
        assert f0_hz.shape == (drop_in.frames(n),), n
        assert np.isfinite(f0_hz).all()


@pytest.mark.parametrize("drop_in", ALL)
def test_a_higher_threshold_never_makes_a_frame_voiced(drop_in: DropIn):
    host, before, counts = built(drop_in), np.ones(len(voice()) // 160 + 1, dtype=bool), []
    for threshold in (-1.0, 0.0, 0.001, 0.01, drop_in.threshold, 0.1, 0.3, 0.9, 1.0, 2.0):
        voiced = drop_in.f0(host, voice(), threshold) > 0
        assert not (voiced & ~before).any()
        before = voiced
        counts.append(int(voiced.sum()))
    assert counts[0] == len(voiced)
    assert len(set(counts)) > 4  # it does something


@pytest.mark.parametrize("drop_in", ALL)
def test_two_constructions_share_one_network(drop_in: DropIn):
    hosts = [built(drop_in), built(drop_in), built(drop_in, backend=choose_backend())]
    assert len({id(host._host.estimator.backend) for host in hosts}) == 1


@pytest.mark.parametrize("drop_in", ALL)
def test_silence_is_unvoiced(drop_in: DropIn):
    assert not drop_in.f0(built(drop_in), np.zeros(8000)).any()


@pytest.mark.parametrize("drop_in", ALL)
def test_an_unknown_keyword_is_answered_with_the_right_ones(drop_in: DropIn):
    with pytest.raises(rmvpe.UserError, match=r"no argument 'zzz': it takes .*\bmodel_path\b.*\bweights\b") as caught:
        built(drop_in, zzz=1)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_backend_answers_alike(framework: str):
    expected = rmvpe.load("small", framework, "cpu").from_audio(voice(), 16000).f0_hz
    host = rmvpe.RMVPE(weights="small", backend=framework, device="cpu")
    assert host.model.backend.name == framework
    np.testing.assert_array_equal(host.infer_from_audio(voice()), expected.astype(np.float32))


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "torch"])
def test_torch_is_not_needed_where_no_tensor_is(framework: str):
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np; from rmvpe import RMVPE; "
        f"host = RMVPE(weights='small', backend='{framework}', device='cpu'); "
        "hidden = host.mel2hidden(host.mel_extractor(np.zeros((1, 4960)))); "
        "print(host.infer_from_audio(np.zeros(4960)).shape, host.decode(hidden[0]).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(32,) (32,)"
