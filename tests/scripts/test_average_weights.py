"""`scripts/average_weights.py`: the mean of files of one network, and a sentence for what has none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.config import MelConfig, ModelConfig
from tests.helpers.paths import ROOT


def tiny(folder: Path, name: str, seed: int, channels: int = 2) -> Path:
    config = ModelConfig(mel=MelConfig(n_mels=8), levels=1, blocks=1, inter_layers=1, channels=channels, gru_hidden=3)
    rng = np.random.default_rng(seed)
    tensors = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in expected_tensors(config).items()}
    save(folder / f"{name}.safetensors", Checkpoint(config, tensors, {"step": str(seed)}))
    return folder / f"{name}.safetensors"


def average(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "average_weights.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_mean_of_three(tmp_path: Path):
    paths = [tiny(tmp_path, name, seed) for seed, name in enumerate("abc")]
    done = average(*paths, "--out", tmp_path / "mean.safetensors")
    assert done.returncode == 0, done.stderr
    found, parts = load(tmp_path / "mean.safetensors"), [load(path) for path in paths]
    assert found.config == parts[0].config
    assert found.metadata["step"] == "2"
    assert "no voicing threshold" not in done.stdout  # none of the files has one
    for name, tensor in found.tensors.items():
        np.testing.assert_allclose(tensor, sum(part.tensors[name] for part in parts) / 3, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("files", "out", "sentence"),
    [
        (["a"], "mean.safetensors", "give two or more files"),
        (["a", "wide"], "mean.safetensors", "wide.safetensors"),
        (["a", "b"], "mean.pt", "must end in .safetensors"),
        (["a", "none"], "mean.safetensors", "does not exist"),
    ],
)
def test_what_has_no_mean(tmp_path: Path, files: list[str], out: str, sentence: str):
    tiny(tmp_path, "a", 0)
    tiny(tmp_path, "b", 1)
    tiny(tmp_path, "wide", 2, channels=4)
    refused = average(*(tmp_path / f"{name}.safetensors" for name in files), "--out", tmp_path / out)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / out).exists()
