"""The examples without arguments: they run on the bundled recording and give sane numbers."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.checkpoint.store import load
from tests.helpers.paths import ROOT

pytest.importorskip("torch")


def run(name: str, folder: Path, *flags: str) -> str:
    """The example as a user runs it, in an empty folder; returns what it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *flags], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_predict(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert "Hz, median" in run("predict.py", tmp_path)
    assert len((tmp_path / "pitch" / "demo.csv").read_text(encoding="utf-8").splitlines()) > 800
    assert (tmp_path / "pitch" / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_recordings(tmp_path: Path) -> None:
    pytest.importorskip("mir_eval")
    last = run("evaluate_recordings.py", tmp_path).splitlines()[-1]
    assert last.startswith("all: RPA ")
    assert float(last.split()[2]) > 90.0  # clean harmonics along a known f0


@pytest.mark.skipif(importlib.util.find_spec("pyworld") is None, reason="pyworld is not installed")
def test_fine_tune(tmp_path: Path) -> None:
    pytest.importorskip("grain")
    printed = run("fine_tune.py", tmp_path).splitlines()
    scores = {line.partition(":")[0]: float(line.split()[1]) for line in printed[-2:]}
    assert set(scores) == {"before", "after"}
    assert all(60.0 < score <= 100.0 for score in scores.values())
    written = load(tmp_path / "fine-tuned" / "run" / "best.safetensors")
    assert written.threshold is not None


@pytest.mark.parametrize("name", ["pitch_loss_torch.py", "pitch_loss_jax.py"])
def test_pitch_as_a_loss(name: str, tmp_path: Path) -> None:
    if "jax" in name:
        pytest.importorskip("flax")
        pytest.importorskip("orbax.checkpoint")
    lines = run(name, tmp_path).splitlines()
    losses = [float(line.partition("loss ")[2].partition(",")[0]) for line in lines]
    assert losses[-1] < losses[0] / 2
    pitch = float(lines[-1].partition("f0 ")[2].strip("[ ").split()[0])
    assert abs(pitch - 233.08) < 2.0  # Hz; it started at 220
