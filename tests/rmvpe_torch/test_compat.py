"""Versions that do not fit, said in one sentence; and what SDAA's older stack (torch 2.0) needs."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmvpe.backends import check_numpy  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe_torch import compat, device  # noqa: E402
from tests.helpers.paths import ROOT  # noqa: E402


@pytest.mark.parametrize("torch_version", ["2.0.0a0+gitdfe6533", "2.0.1+cu117", "2.2.2"])
def test_numpy_2_beside_an_old_torch(torch_version: str):
    versions = {"torch": torch_version, "numpy": "2.2.6"}
    with pytest.raises(UserError, match=r"torch 2\.[02].* numpy 2\.2\.6 is installed: run pip install 'numpy<2'"):
        check_numpy("torch", versions.__getitem__)
    check_numpy("jax", versions.__getitem__)  # JAX does not care about torch
    check_numpy("torch", (versions | {"numpy": "1.26.4"}).__getitem__)


@pytest.mark.parametrize("torch_version", ["2.3.0", "2.4.0a0+git4451b0e", "2.13.0", "3.0.0"])
def test_numpy_2_beside_a_newer_torch(torch_version: str):
    check_numpy("torch", {"torch": torch_version, "numpy": "2.4.6"}.__getitem__)


def test_the_installed_versions_fit():
    check_numpy("torch")
    assert torch.from_numpy(np.ones(3)).sum() == 3


def test_saving_warns_of_nothing(tmp_path: Path):
    """Torch 2.0 warns of its own storages; warnings are errors here."""
    path = tmp_path / "a.pt"
    with path.open("wb") as file:
        compat.save({"x": torch.ones(2)}, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of torch.load, which only this test uses
        assert torch.equal(torch.load(path, weights_only=True)["x"], torch.ones(2))


# --- torch_sdaa, as a package in a folder: what it states, how it is called


def install_torch_sdaa(folder: Path, code: str, requires: str, version: str = "1.3.0") -> None:
    """A package torch_sdaa with this code, whose metadata asks for `requires`."""
    about = folder / f"torch_sdaa-{version}.dist-info"
    about.mkdir()
    (folder / "torch_sdaa.py").write_text(code)
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: torch_sdaa\nVersion: {version}\n"
        f"Requires-Dist: numpy\nRequires-Dist: {requires}\n"
    )


@pytest.mark.parametrize(
    ("requires", "installed", "fits"),
    [
        ("torch==2.0.0a0", "2.0.0a0+gitdfe6533", True),
        ("torch==2.0.0", "2.0.0a0+gitdfe6533", True),
        ("torch>=2.0.0a0", "2.0.0a0+gitdfe6533", True),
        ("torch (==2.7.1)", "2.7.1", True),
        ("torch", "2.13.0+cpu", True),
        ("torch==2.0.0a0", "2.13.0+cpu", False),
        ("torch (==2.7.1)", "2.13.0", False),
        ("torch<2.1,>=2.0", "2.1.0a0+git1", False),
    ],
)
def test_the_torch_that_torch_sdaa_asks_for(
    requires: str, installed: str, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install_torch_sdaa(tmp_path, "", requires)
    monkeypatch.syspath_prepend(tmp_path)
    found = device.sdaa_torch_mismatch(installed)
    if fits:
        assert found == ""
    else:
        assert f"torch_sdaa 1.3.0 asks for torch{requires[5:].strip(' ()')[:3]}" in found
        assert f"torch {installed} is installed" in found
        assert "Tecorigin" in found


BROKEN = "raise ImportError('undefined symbol: _ZN2at4_ops5emptyE')"
# Records how it is called. The device has a name that torch knows, but nothing computes there
RECORDER = """
import types
from contextlib import nullcontext

import torch

CALLS = []


def recorder(name, result=nullcontext):
    def call(*arguments, **named):
        CALLS.append((name, *map(str, arguments), *sorted(named.items())))
        return result()

    return call


torch._C._rename_privateuse1_backend("sdaa")
amp = types.SimpleNamespace(autocast=recorder("autocast"), GradScaler=recorder("GradScaler"))
torch.sdaa = types.ModuleType("sdaa")
vars(torch.sdaa).update(
    is_available=lambda: True,
    device_count=lambda: 4,
    current_device=lambda: 0,
    _is_in_bad_fork=lambda: False,
    manual_seed=recorder("manual_seed"),
    manual_seed_all=lambda seed: None,
    set_device=recorder("set_device"),
    amp=amp,
)
"""


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, which finds the torch_sdaa of `folder`."""
    paths = os.pathsep.join([str(folder), str(ROOT)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TORCH_SDAA")}
    environment |= {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore", **variables}
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True)


def test_info_warns_of_a_torch_sdaa_that_does_not_start(tmp_path: Path):
    install_torch_sdaa(tmp_path, BROKEN, "torch==1.13.1")
    done = run(tmp_path, "-m", "rmvpe", "info")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("torch_sdaa")]
    assert "warning: torch_sdaa cannot be used (undefined symbol: _ZN2at4_ops5emptyE)" in line
    assert f"torch_sdaa 1.3.0 asks for torch==1.13.1 and torch {torch.__version__} is installed" in line
    assert "cpu" in next(line for line in done.stdout.splitlines() if line.startswith("torch "))


def test_info_warns_of_another_torch_even_if_torch_sdaa_starts(tmp_path: Path):
    install_torch_sdaa(tmp_path, RECORDER, "torch==1.13.1", version="9.9")
    done = run(tmp_path, "-m", "rmvpe", "info")
    assert "warning: torch_sdaa 9.9 asks for torch==1.13.1" in done.stdout, done
    assert "sdaa:0, sdaa:1, sdaa:2, sdaa:3" in done.stdout


def test_info_says_that_a_fitting_torch_sdaa_works(tmp_path: Path):
    install_torch_sdaa(tmp_path, RECORDER, "torch>=2.0.0a0")
    assert "torch_sdaa works" in " ".join(run(tmp_path, "-m", "rmvpe", "info").stdout.split())


def test_a_wrong_torch_is_one_sentence_for_who_asks_for_the_card(tmp_path: Path):
    install_torch_sdaa(tmp_path, BROKEN, "torch==1.13.1")
    flags = ("predict", "examples/demo.flac", "-o", str(tmp_path / "a.csv"), "--backend", "torch", "--device", "sdaa")
    done = run(tmp_path, "-m", "rmvpe", *flags)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "torch_sdaa 1.3.0 asks for torch==1.13.1" in done.stderr


def test_only_what_tecorigin_documents_is_called(tmp_path: Path):
    install_torch_sdaa(tmp_path, RECORDER, "torch>=2.0.0a0")
    code = """
import torch
from rmvpe_torch import device
card = device.resolve("sdaa:1")
assert device.resolve() == torch.device("sdaa:0")  # the first that works: no CUDA here
kind = device.kind_of(card)
assert (kind.count(), kind.process_group, kind.complex_fft, kind.ranks_per_card) == (4, "tccl", False, 4)
assert device.amp_dtype(card) == torch.float16
device.seed(card, 7)
device.set_device(card)
for dtype in (torch.float16, torch.bfloat16, torch.float32):
    with device.autocast(card, dtype):
        pass
device.grad_scaler(card, enabled=False)
import torch_sdaa
print(*torch_sdaa.CALLS, sep="\\n")
"""
    done = run(tmp_path, "-c", code, CUDA_VISIBLE_DEVICES="")
    assert done.stdout.splitlines() == [
        "('manual_seed', '7')",
        "('set_device', 'sdaa:1')",
        "('autocast',)",
        "('autocast', ('dtype', torch.bfloat16))",
        "('GradScaler', ('enabled', False))",
    ], done.stderr


# --- float32 convolutions


def test_a_users_variable_stays():
    environ = {"TORCH_SDAA_CONV_USE_FP32": "0"}
    device.use_float32_convolutions(environ)
    assert environ == {"TORCH_SDAA_CONV_USE_FP32": "0", "TORCH_SDAA_CONV2D_BACKWARD_USE_FP32": "1"}


def test_who_asks_for_float32_convolutions():
    """Prediction does; training, with its validation, only if the run's config says so."""
    code = """
import os
import rmvpe
from rmvpe.checkpoint.store import load
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe_torch.cli import TorchProcesses
from rmvpe_torch.device import SDAA_FLOAT32_VARIABLES
from rmvpe_torch.train import TorchTrainer

small, checkpoint = ModelConfig.small(), load("small")
asks = {
    "predict": lambda: rmvpe.load("small", backend="torch", device="cpu"),
    "predict bfloat16": lambda: rmvpe.load("small", backend="torch", device="cpu", conv_dtype="bfloat16"),
    "train": lambda: TorchProcesses("cpu", None).start(),
    "train float32": lambda: TorchProcesses("cpu", None, sdaa_conv_fp32=True).start(),
    "validate": lambda: TorchTrainer(TrainConfig(model=small)).network(checkpoint),
    "validate float32": lambda: TorchTrainer(TrainConfig(model=small, sdaa_conv_fp32=True)).network(checkpoint),
}
for name, start in asks.items():
    start()
    print(name, *(os.environ.pop(variable, None) for variable in SDAA_FLOAT32_VARIABLES), sep=": ")
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TORCH_SDAA")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "predict: 1: 1",
        "predict bfloat16: None: None",
        "train: None: None",
        "train float32: 1: 1",
        "validate: None: None",
        "validate float32: 1: 1",
    ], done.stderr


@pytest.mark.parametrize(
    ("version", "device", "expected"),
    [
        ("2.4.0+cpu", "cpu", True),
        ("2.3.1", "cpu", False),
        ("2.0.0a0+gitdfe6533", "cpu", False),
        ("2.13.0", "cuda", False),
    ],
)
def test_adam_is_fused_on_the_cpu_where_torch_can(monkeypatch, version: str, device: str, expected: bool):
    monkeypatch.setattr(torch, "__version__", version)
    assert compat.has_fused_adam(device) is expected
