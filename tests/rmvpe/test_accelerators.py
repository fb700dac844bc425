"""What is found of drivers and builds without importing a runtime."""

import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.accelerators import NVIDIA_DRIVER, ROCM_DRIVER, has_gpu_driver, torch_has
from tests.helpers.paths import ROOT

CPU_BUILD = """
from typing import Optional
__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']
__version__ = '2.13.0+cpu'
debug = False
cuda: Optional[str] = None
git_version = 'cfe9a3b'
hip: Optional[str] = None
"""
BUILDS = {
    CPU_BUILD: False,
    CPU_BUILD.replace("cuda: Optional[str] = None", "cuda: Optional[str] = '13.0'"): True,
    CPU_BUILD.replace("hip: Optional[str] = None", "hip: Optional[str] = '7.1.52802'"): True,
    "__version__ = '1.13.1'\ncuda = None\nhip = None\n": False,  # older builds have no annotations
    "__version__ = '1.13.1'\ncuda = '11.7'\nhip = None\n": True,
    "": False,
}


def test_a_driver_is_a_file(tmp_path: Path):
    here, missing = tmp_path / "libcuda.so.1", tmp_path / "kfd"
    here.touch()
    assert has_gpu_driver([str(missing), str(here)])
    assert not has_gpu_driver([str(missing)])
    assert not has_gpu_driver([])


def test_every_system_has_its_place():
    assert any(path.startswith("/proc/") for path in NVIDIA_DRIVER)
    assert any("wsl" in path for path in NVIDIA_DRIVER)
    assert any(path.endswith("nvcuda.dll") for path in NVIDIA_DRIVER)
    assert ROCM_DRIVER == ("/dev/kfd",)


def with_torch(folder: Path, version: str | bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch in `folder` that must not be imported, before all others."""
    package = folder / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('torch was imported')\n")
    if version is not None:
        (package / "version.py").write_bytes(version if isinstance(version, bytes) else version.encode())
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "torch", raising=False)


@pytest.mark.parametrize(("version", "has"), BUILDS.items())
def test_the_build_of_torch_is_read(version: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with_torch(tmp_path, version, monkeypatch)
    assert torch_has() == has


@pytest.mark.parametrize("version", [None, b"\xff\xfe\x00cuda"])
def test_another_way_of_building_torch_is_given_the_benefit_of_the_doubt(
    version: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with_torch(tmp_path, version, monkeypatch)
    assert torch_has()


def in_fresh_python(code: str, folder: Path) -> str:
    """What a program without our packages' libraries prints: of site-packages it sees `folder` alone."""
    start = f"import sys; sys.path += [{str(ROOT)!r}, {str(folder)!r}]; "
    done = subprocess.run([sys.executable, "-I", "-S", "-c", start + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The module by its file: the package `rmvpe` itself needs numpy
LOAD = (
    "import importlib.util; "
    f"spec = importlib.util.spec_from_file_location('accelerators', {str(ROOT / 'rmvpe' / 'accelerators.py')!r}); "
    "found = importlib.util.module_from_spec(spec); spec.loader.exec_module(found); "
)


@pytest.mark.parametrize(
    ("package", "has"),
    [
        (None, (False, False, False)),
        ("onnxruntime", (False, False, False)),
        ("onnxruntime_gpu", (False, True, False)),
        ("onnxruntime_directml", (False, True, False)),
        ("jax_cuda12_plugin", (False, False, True)),
        ("jax_cuda13_plugin", (False, False, True)),
        ("jax_rocm7_plugin", (False, False, True)),
    ],
)
def test_packages_for_gpus_are_known_by_their_metadata(package: str | None, has: tuple[bool, ...], tmp_path: Path):
    if package is not None:
        metadata = tmp_path / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
    code = LOAD + "print(found.torch_has(), found.onnx_has(), found.jax_has())"
    assert in_fresh_python(code, tmp_path) == " ".join(map(str, has))


def test_a_card_of_torch_sdaa_is_an_accelerator(tmp_path: Path):
    code = LOAD + "print(found.torch_has_one())"
    if sys.platform != "darwin":
        assert in_fresh_python(code, tmp_path) == "False"  # no torch
    (tmp_path / "torch_sdaa").mkdir()
    (tmp_path / "torch_sdaa" / "__init__.py").write_text("raise AssertionError('torch_sdaa was imported')\n")
    assert in_fresh_python(code, tmp_path) == "True"


def test_looking_imports_no_runtime():
    code = (
        "import sys, rmvpe.accelerators as found; found.torch_has_one(); found.onnx_has(); found.jax_has(); "
        "print([name for name in ('torch', 'jax', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
