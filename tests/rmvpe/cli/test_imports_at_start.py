"""What commands do not import, because they do not use it: each such module would make every start slower."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.backends import BACKENDS, MODULES, PACKAGES, installed_backends
from tests.helpers.paths import ROOT

SOUND, NOTES, F0 = "sound.wav", "notes.mid", "f0.csv"
COMMANDS = {
    "predict": ["predict", SOUND, "-o", F0, "--device", "cpu"],
    "notes": ["notes", SOUND, "-o", NOTES, "--device", "cpu"],
}
# Neither command draws, asks the hub, compares trackers, trains or resamples 16 kHz
NEVER = (
    "IPython.terminal",
    "grain",
    "huggingface_hub",
    "matplotlib",
    "mir_eval",
    "multiprocessing.connection",
    "numpy.random",
    "orbax",
    "pandas",
    "rmvpe.data",
    "rmvpe.evaluation",
    "rmvpe.pictures.panels",
    "rmvpe.plot",
    "rmvpe.training",
    "scipy",
    "soxr",
    "tensorboardX",
    "tensorstore",
)
# Of one backend: what it loads by itself is not ours to leave out, what it does not is
NOT_WITH = {
    # What torch computes symbolic shapes with: a third of a second for the size of an empty tensor
    "torch": ("sympy", "torch._dynamo", "torch._inductor", "torch.onnx", "torch.utils.tensorboard"),
    "jax": ("jax.experimental.jax2tf", "tensorflow"),
    "onnx": ("onnx.reference", "onnxruntime.tools", "onnxruntime.transformers"),
}
# np.median asks numpy.ma for masked arrays, and notes take medians
ALSO_NOT = {"predict": ("numpy.ma", "rmvpe.notes.find", "rmvpe.notes.notes", "rmvpe.notes.midi"), "notes": ()}
THEIR_OWN = {"multiprocessing.connection", "numpy.ma", "numpy.random", "scipy"}  # torch and JAX import these themselves


def modules_after(arguments: list[str], folder: Path) -> set[str]:
    """All that is imported when a command has ended."""
    code = (
        "import sys; from rmvpe.cli.main import main; done = main(sys.argv[1:]); "
        "print('\\n'.join(sys.modules)); sys.exit(done)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def below(modules: set[str], names: tuple[str, ...] | set[str]) -> list[str]:
    """Which of the names are imported, or something below them is."""
    return [name for name in sorted(names) if any(found == name or found.startswith(f"{name}.") for found in modules)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a short tone at the network's rate."""
    tone = np.sin(np.arange(8000) * (2 * np.pi * 220 / 16000)).astype(np.float32)
    soundfile.write(tmp_path / SOUND, tone, 16000)
    return tmp_path


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_what_it_uses(command: str, backend: str, folder: Path):
    if backend not in installed_backends():
        pytest.skip(f"{backend} is not installed")
    found = modules_after([*COMMANDS[command], "--backend", backend], folder)
    assert MODULES[backend] in found
    others = {name for other in BACKENDS if other != backend for name in (MODULES[other], PACKAGES[other])}
    unused = {*NEVER, *ALSO_NOT[command]} - (THEIR_OWN if backend in ("torch", "jax") else set())
    assert below(found, others | unused | {*NOT_WITH[backend]}) == []


def test_f0_that_is_there_needs_no_runtime(folder: Path):
    (folder / F0).write_text("time_s,f0_hz,voiced,confidence\n0.00,220.0,1,0.9\n0.01,220.0,1,0.9\n", encoding="utf-8")
    found = modules_after(["notes", F0, "-o", NOTES], folder)
    assert below(found, {*MODULES.values(), *PACKAGES.values(), *NEVER}) == []


@pytest.mark.parametrize("arguments", [["--version"], ["predict", "--help"], ["benchmark", "--help"]])
def test_help_needs_no_runtime(arguments: list[str], folder: Path):
    code = (
        "import sys\nfrom rmvpe.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n    print('imported:', *sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert below(set(done.stdout.partition("imported:")[2].split()), {*MODULES.values(), *PACKAGES.values()}) == []
