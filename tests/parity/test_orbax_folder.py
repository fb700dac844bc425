"""An Orbax folder loads directly as weights, for all backends and in the commands."""

from pathlib import Path

import numpy as np
import pytest

import rmvpe
import rmvpe_jax.checkpoint
import rmvpe_torch
from rmvpe.backends import BACKENDS
from rmvpe.checkpoint.store import load
from rmvpe.cli.main import main
from tests.helpers.paths import ROOT

RECORDING = ROOT / "examples" / "demo.flac"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = load("small")
    path = tmp_path_factory.mktemp("orbax") / "ckpt"
    rmvpe_jax.checkpoint.save(path, weights.tensors, weights.config, weights.metadata)
    return path


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_estimator_of_the_folder_is_that_of_the_file(folder: Path, backend: str) -> None:
    samples = np.sin(0.08 * np.arange(8000)).astype(np.float32)
    found, expected = (
        rmvpe.load(name, backend=backend, device="cpu").from_audio(samples, 16000) for name in (folder, "small")
    )
    np.testing.assert_array_equal(found.f0_hz, expected.f0_hz)
    np.testing.assert_array_equal(found.voiced, expected.voiced)


def test_a_module_of_the_folder_has_its_weights(folder: Path) -> None:
    state = rmvpe_torch.load_model(folder).state_dict()
    assert all(np.array_equal(state[name].numpy(), tensor) for name, tensor in load("small").tensors.items())


def test_predict_takes_the_folder(folder: Path, tmp_path: Path) -> None:
    for weights, name in ((str(folder), "a.csv"), ("small", "b.csv")):
        command = ["predict", str(RECORDING), "--weights", weights, "--backend", "torch", "--device", "cpu"]
        assert main([*command, "-o", str(tmp_path / name)]) in (0, None)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
