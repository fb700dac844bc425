"""docs/fine-tuning.md, word by word: its commands run in order, in an empty folder, only with smaller sizes."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.checkpoint.store import load
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "fine-tuning.md"
SMALL = {"HOURS": "0.008", "MINUTES": "0.2", "STEPS": "2", "BATCH": "2"}  # instead of the sizes in the first block
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "grain", "pyworld")), reason="not all is installed"
)


def blocks() -> list[str]:
    """The page's bash blocks in order, with `SMALL` sizes and without what installs."""
    found = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for name, value in SMALL.items():
        found[0], count = re.subn(rf"\b{name}=\S+", f"{name}={value}", found[0])
        assert count == 1, f"{name} is not in the first block"
    return [re.sub(r"^pip install .*\n", "", block, flags=re.MULTILINE) for block in found]


def follow(folder: Path, script: list[str]) -> None:
    """Run the blocks in one shell; the first command that fails ends it."""
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "rmvpe"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rmvpe "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: the bundled recording in six takes, five pieces of noise as music, and the checkout's files."""
    root = tmp_path_factory.mktemp("guide")
    for name in ("configs", "examples"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("my-voice", "my-music"):
        (root / name).mkdir()
    audio, rate = soundfile.read(ROOT / "examples" / "demo.flac")
    for take, part in enumerate(np.array_split(audio, 6)):
        soundfile.write(root / "my-voice" / f"take {take}.wav", part, rate)
    for number in range(5):
        noise = 0.1 * np.random.default_rng(number).standard_normal(5 * rate)
        soundfile.write(root / "my-music" / f"{number}.wav", noise, rate)
    return root


def scores(path: Path) -> dict[str, float]:
    """RPA by ratio, checked to be a share."""
    pooled = json.loads(path.read_text(encoding="utf-8"))["pooled"]
    found = {ratio: float(row["RPA"]) for ratio, row in pooled.items()}
    assert set(found) == {"clean", "0 dB"}
    return found


def check_weights(run: Path) -> None:
    """They have changed, and carry a threshold."""
    start, end = load("small"), load(run / "last.safetensors")
    changed = [name for name, value in start.tensors.items() if not np.array_equal(value, end.tensors[name])]
    assert len(changed) > 0.9 * len(start.tensors)
    assert load(run / "best.safetensors").threshold is not None


def test_the_guide_in_pytorch(folder: Path) -> None:
    script = blocks()
    assert "rmvpe train torch" in script[3]
    follow(folder, script[:6])
    before, after = scores(folder / "before.json"), scores(folder / "after.json")
    # The voice is real; a network that is right nowhere or everywhere would be a fault of the guide
    assert 0.6 < before["clean"] <= 1.0
    assert 0.6 < after["clean"] <= 1.0
    check_weights(folder / "runs" / "my-voice")
    assert len((folder / "demo.csv").read_text(encoding="utf-8").splitlines()) > 800


@pytest.mark.slow
def test_the_guide_in_jax(folder: Path) -> None:
    script = blocks()
    assert "rmvpe train jax" in script[6]
    if not (folder / "my-data").is_dir():
        follow(folder, script[:2])
    follow(folder, [script[0], script[6]])
    assert 0.6 < scores(folder / "after-jax.json")["clean"] <= 1.0
    check_weights(folder / "runs" / "my-voice-jax")
