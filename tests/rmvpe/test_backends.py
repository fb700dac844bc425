"""Choosing a backend, and what in a user's folder must not get in its way."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.backends import (
    BACKENDS,
    BESIDES,
    DEVICE_BACKENDS,
    MODULES,
    choose_backend,
    device_name,
    installed_backends,
    is_installed,
    is_on_cpu,
)
from rmvpe.errors import UserError
from rmvpe.processes import cpus_of_this_process
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("backend", [name for name in BACKENDS if is_installed(MODULES[name])])
def test_a_users_own_convert_does_not_break_loading(backend: str, tmp_path: Path):
    """A script beside a file convert.py: Python searches the script's folder first."""
    (tmp_path / "convert.py").write_text("raise SystemExit('the user\\'s own file was imported')\n")
    script = tmp_path / "sing.py"
    script.write_text(f"import rmvpe\nprint(rmvpe.load('small', backend={backend!r}, device='cpu').backend.name)\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [backend]


def test_what_is_missing_is_not_installed():
    assert not is_installed("no_such_package")
    assert not is_installed("no_such_package.part")  # as "orbax.checkpoint" without orbax
    assert is_installed("numpy.linalg")


class Machine:
    """What a machine has, as `rmvpe.accelerators`: the backends whose installed build is for a GPU, and an accelerator
    for torch."""

    def __init__(self, *gpu_builds: str, torch_has_one: bool = False):
        self.torch_has_one = lambda: torch_has_one
        self.torch_has, self.jax_has, self.onnx_has = (lambda name=name: name in gpu_builds for name in BACKENDS)


CPU_ONLY = Machine()


def test_what_leads_to_the_cpu():
    gpus = Machine(*BACKENDS, torch_has_one=True)
    assert is_on_cpu("auto", "cpu", gpus)
    assert not is_on_cpu("auto", "cuda:1", CPU_ONLY)
    (backend, *_) = installed_backends()
    assert is_on_cpu(backend, "auto", CPU_ONLY)
    assert not is_on_cpu(backend, "auto", gpus)


def choose(
    installed: str,
    backend: str = "auto",
    device: object = "auto",
    conv_dtype: str = "float32",
    machine: object = CPU_ONLY,
) -> str:
    """The choice among `installed` backends, such as "torch onnx"."""
    modules = {module for name in installed.split() for module in (MODULES[name], *BESIDES.get(name, ()))}
    return choose_backend(backend, device, conv_dtype, modules.__contains__, (3, 11, 0), machine)


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        ("torch jax onnx", "onnx"),
        ("torch jax", "torch"),
        ("jax onnx", "onnx"),
        ("torch", "torch"),
        ("jax", "jax"),
        ("onnx", "onnx"),
    ],
)
def test_on_a_cpu_it_is_onnx_then_torch_then_jax(installed: str, found: str):
    assert choose(installed) == choose(installed, device="cpu") == choose(installed, device=None) == found


@pytest.mark.parametrize(
    ("installed", "found"),
    [("torch jax onnx", "torch"), ("torch onnx", "torch"), ("jax onnx", "onnx"), ("jax", "jax")],
)
def test_where_torch_has_an_accelerator_it_is_torch(installed: str, found: str):
    assert choose(installed, machine=Machine("torch", torch_has_one=True)) == found


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", "gpu:0", 0, np.int64(1), " CUDA "])
def test_a_gpu_goes_to_the_build_that_is_for_one(device: object):
    everything = "torch jax onnx"
    assert choose(everything, device=device, machine=Machine("torch", "onnx", "jax")) == "torch"
    assert choose(everything, device=device, machine=Machine("onnx", "jax")) == "onnx"
    assert choose(everything, device=device, machine=Machine("jax")) == "jax"
    # None is: the preferred one says what is missing
    assert choose(everything, device=device) == "torch"
    assert choose("jax onnx", device=device) == "onnx"


@pytest.mark.parametrize(
    ("device", "found"), [("sdaa:0", "torch"), ("mps", "torch"), ("tpu", "jax"), ("dml:1", "onnx"), ("coreml", "onnx")]
)
def test_a_device_of_one_runtime_chooses_it(device: str, found: str):
    assert choose("torch jax onnx", device=device) == found
    others = " ".join(name for name in BACKENDS if name != found)
    assert choose(others, device=device) in others  # its message names the devices it has


def test_every_backend_is_behind_some_device():
    assert {name for names in DEVICE_BACKENDS.values() for name in names} == set(BACKENDS)
    assert set(DEVICE_BACKENDS["cpu"]) == set(BACKENDS)
    assert choose("torch jax onnx", device="abacus") in BACKENDS  # which names the devices it has


@pytest.mark.parametrize("conv_dtype", ["bfloat16", "float16"])
def test_a_lower_precision_prefers_who_computes_in_it(conv_dtype: str):
    assert choose("torch jax onnx", conv_dtype=conv_dtype) == "torch"
    assert choose("jax onnx", conv_dtype=conv_dtype, device="cpu") == "jax"
    assert choose("onnx", conv_dtype=conv_dtype) == "onnx"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_by_name_is_taken_or_named(backend: str):
    assert choose("torch jax onnx", backend, device="cpu") == backend
    others = " ".join(name for name in BACKENDS if name != backend)
    with pytest.raises(UserError, match=f"{backend} is not installed: run pip install"):
        choose(others, backend)


def test_onnxruntime_without_onnx_is_not_enough():
    """Other programs bring it alone, and a graph cannot be built with it."""
    modules = {"onnxruntime", "jax"}
    assert choose_backend("auto", is_installed=modules.__contains__, python=(3, 11, 0), machine=CPU_ONLY) == "jax"
    with pytest.raises(UserError, match="onnx is not installed: run pip install onnxruntime onnx"):
        choose_backend("onnx", is_installed=modules.__contains__, python=(3, 11, 0), machine=CPU_ONLY)


def test_without_any_it_says_what_to_install():
    with pytest.raises(UserError, match=r"none of onnx, torch, jax is installed: run pip install onnxruntime onnx or "):
        choose("")
    with pytest.raises(UserError, match="unknown backend 'tensorflow': choose auto, torch, jax or onnx"):
        choose("torch", "tensorflow")


def test_a_device_object_of_torch_chooses_torch():
    torch = pytest.importorskip("torch")
    assert choose("torch jax onnx", device=torch.device("cpu")) == "torch"
    assert device_name(torch.device("cuda", 1)) == "cuda:1"
    assert device_name(torch.device("cpu")) == "cpu"


def test_a_device_object_of_jax_chooses_jax():
    jax = pytest.importorskip("jax")
    device = jax.devices("cpu")[0]
    assert choose("torch jax onnx", device=device) == "jax"
    assert device_name(device) == "cpu"


@pytest.mark.parametrize("device", [True, 1.5, b"cpu", ["cpu"]])
def test_what_is_no_device_is_said(device: object):
    with pytest.raises(UserError, match=r"device must be a name such as cpu, gpu or cuda:1, or a torch\.device, not"):
        choose("torch jax onnx", device=device)


@pytest.mark.parametrize("backend", installed_backends())
def test_a_backend_has_the_threads_that_were_asked_for(backend: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NPROC", raising=False)
    cpus = cpus_of_this_process()
    assert rmvpe.load("small", backend, "cpu", threads=cpus).backend.threads == cpus
    slips: list[Any] = [0, True, 1.0, "2", 10_000]
    for slip in slips:
        with pytest.raises(UserError, match=r"threads .*(must be a whole number above 0|is too many for the)"):
            rmvpe.load("small", backend, "cpu", threads=slip)


@pytest.mark.skipif(not is_installed("jax"), reason="needs jax")
def test_jax_has_one_thread_for_each_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NPROC", raising=False)
    with pytest.raises(UserError, match=r"JAX takes no threads=.* set NPROC=.* before your program starts"):
        rmvpe.load("small", "jax", "cpu", threads=cpus_of_this_process() + 1)


def test_threads_beside_an_accelerator_are_refused(monkeypatch: pytest.MonkeyPatch):
    card = SimpleNamespace(device="cuda:0", threads=None)
    monkeypatch.setattr("rmvpe.estimator.open_backend", lambda *_: card)
    with pytest.raises(UserError, match="threads is a number for the CPU, and cuda:0 computes"):
        rmvpe.load("small", installed_backends()[0], threads=cpus_of_this_process())
