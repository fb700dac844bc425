"""The network as an nn.Module for other programs: by name and file; any length; compiled, exported, as a loss."""

import copy
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rmvpe_torch  # noqa: E402
from rmvpe.backends import is_installed  # noqa: E402
from rmvpe.checkpoint.store import Checkpoint, save  # noqa: E402
from rmvpe.config import MelConfig, ModelConfig  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe_torch.mel import log_mel  # noqa: E402
from tests.helpers import golden  # noqa: E402

TINY = ModelConfig(
    name="tiny", mel=MelConfig(n_mels=8), levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=3, n_bins=5
)


def mel_of(*shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(3).normal(-6.0, 3.0, shape).astype(np.float32))  # as a log-mel


@pytest.fixture
def checkpoint() -> Checkpoint:
    return golden.checkpoint(TINY)


def test_the_bundled_weights_by_name() -> None:
    model = rmvpe_torch.load_model()
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    with torch.no_grad():
        assert model(mel_of(2, 40, 128)).shape == (2, 40, 360)
    with pytest.raises(UserError, match="there are no weights 'nothing'"):
        rmvpe_torch.load_model("nothing")


def test_a_file_gives_the_checkpoints_network(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save(tmp_path / "a.safetensors", checkpoint)
    with torch.no_grad():
        found = rmvpe_torch.load_model(tmp_path / "a.safetensors")(mel_of(1, 8, 8))
        assert torch.equal(found, rmvpe_torch.load_model(checkpoint)(mel_of(1, 8, 8)))


def test_other_lengths_end_in_silence(checkpoint: Checkpoint) -> None:
    model = rmvpe_torch.load_model(checkpoint)
    silence = torch.full((2, 3, 8), float(np.log(TINY.mel.floor)))
    with torch.no_grad():
        assert torch.equal(model(mel_of(2, 9, 8)), model(torch.cat((mel_of(2, 9, 8), silence), dim=1))[:, :9])


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 9), (1, 0, 8)])
def test_another_shape_is_one_sentence(checkpoint: Checkpoint, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"log_mel must be \[batch, frames, 8\], not"):
        rmvpe_torch.load_model(checkpoint)(torch.zeros(shape))


def test_frozen_weights_get_no_gradient_and_the_input_does(checkpoint: Checkpoint) -> None:
    model = rmvpe_torch.load_model(checkpoint).requires_grad_(False).double()
    found = mel_of(1, 6, 8).double().requires_grad_(True)
    assert torch.autograd.gradcheck(model, found)  # against finite differences
    model(found).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_gru_is_in_the_mode_in_which_cudnn_gives_gradients(checkpoint: Checkpoint) -> None:
    """cuDNN refuses the gradient of a GRU in evaluation mode, where it computes the same: it has no dropout."""
    model: Any = rmvpe_torch.load_model(checkpoint)
    gru = model.fc[0].gru
    assert gru.training
    assert gru.dropout == 0
    assert not any(module.training for module in model.modules() if module is not gru)
    assert copy.deepcopy(model).eval().fc[0].gru.training


@pytest.mark.parametrize("complex_fft", [True, False])
def test_the_spectrogram_has_a_gradient_in_silence_too(complex_fft: bool) -> None:
    audio = torch.zeros(1, 4096)
    audio[:, 2500:] = torch.sin(0.1 * torch.arange(1596))
    audio.requires_grad_(True)
    log_mel(audio, MelConfig(), complex_fft=complex_fft).sum().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
    assert audio.grad.abs().max() > 0


def test_the_spectrogram_keeps_float64() -> None:
    assert log_mel(torch.ones(1, 2048, dtype=torch.float64), MelConfig()).dtype == torch.float64


NEEDS_COMPILER = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "c++")) is None, reason="torch's inductor needs a C++ compiler"
)


# aot_eager: torch traces the network and its gradient, and inductor's kernels, the slow part, are not compiled
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, NEEDS_COMPILER])])
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about torch's own code
def test_compiled_it_is_the_same(checkpoint: Checkpoint, backend: str) -> None:
    model = rmvpe_torch.load_model(checkpoint).requires_grad_(False)
    compiled = torch.compile(model, backend=backend)
    inputs = [mel_of(1, 9, 8).requires_grad_(True) for _ in range(2)]
    results = [function(x) for function, x in zip((model, compiled), inputs)]
    for result in results:
        result.sum().backward()
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)


@pytest.mark.skipif(not hasattr(torch, "export") or not is_installed("torch.export"), reason="a torch without export")
@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about its own GRU
def test_exported_it_is_the_same_for_any_batch(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model = rmvpe_torch.load_model(checkpoint)
    program = torch.export.export(model, (mel_of(2, 9, 8),), dynamic_shapes={"log_mel": {0: torch.export.Dim("batch")}})
    torch.export.save(program, tmp_path / "model.pt2")
    restored = torch.export.load(tmp_path / "model.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(restored(mel_of(3, 9, 8)), model(mel_of(3, 9, 8)))
