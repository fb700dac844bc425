"""The layers: who may import whom, and what `import rmvpe` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

STANDARD = set(sys.stdlib_module_names)
HOST_LIBRARIES = {
    "tensorboardX",
    "soundfile",
    "soxr",
    "safetensors",
    "tqdm",
    "mir_eval",
    "matplotlib",
    "grain",
    "absl",
    "pyworld",
    "ml_dtypes",
    "mido",
}
TORCH = {"torch", "torch_sdaa"}
JAX = {"jax", "flax", "optax", "orbax", "tensorstore"}
# package: what its modules may import anywhere, besides the standard library and numpy
ALLOWED = {
    "rmvpe": HOST_LIBRARIES | {"rmvpe"},
    "rmvpe_torch": {"rmvpe", "rmvpe_torch"} | TORCH,
    "rmvpe_jax": {"rmvpe", "rmvpe_jax", "convert"} | JAX,
    "convert": {"rmvpe", "rmvpe_torch", "rmvpe_jax", "convert"} | HOST_LIBRARIES,
}
# These decide what the answer is; they must not need a host library
NUMPY_ONLY = ["pitch", "framing", "mel", "targets", "decode", "level", "high_register", "config"]
# The core reaches a framework in one place: where the user's choice of backend is looked up
BACKEND_LOOKUP = {"rmvpe/estimator.py"}
# Other projects' trackers and what they speak, for comparison only, inside the functions that start them
TRACKERS = {"rmvpe/evaluation/trackers/adapters.py"}
PEERS = {"torch", "torchfcpe", "swift_f0", "torchcrepe", "pesto", "parselmouth", "librosa"}


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names.add((node.module or "").split(".")[0])
    return names - STANDARD - {"numpy", "typing_extensions"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_its_own_layer_or_lower(package: str):
    for path in modules(package):
        forbidden = imported(path) - ALLOWED[package]
        if str(path.relative_to(ROOT)) in BACKEND_LOOKUP:
            forbidden -= {"rmvpe_torch", "rmvpe_jax"} | TORCH | JAX
        if str(path.relative_to(ROOT)) in TRACKERS:
            forbidden -= PEERS
            assert not imported(path, top_level_only=True) & PEERS
        assert not forbidden, f"{path.relative_to(ROOT)} imports {sorted(forbidden)}"


def test_what_decides_the_answer_needs_numpy_alone():
    for name in NUMPY_ONLY:
        assert imported(ROOT / "rmvpe" / f"{name}.py") <= {"rmvpe"}, name
    for name in ("names", "apply"):
        assert imported(ROOT / "convert" / f"{name}.py") <= {"rmvpe", "convert"}, name


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_import_rmvpe_loads_no_heavy_library():
    loaded = run("import rmvpe, sys; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))").split()
    heavy = (TORCH | JAX | HOST_LIBRARIES) & set(loaded)
    assert not heavy


def test_import_rmvpe_is_quick():
    # Best of five in-process times: the machine may be busy. Numpy's own import is part of it.
    code = "import time; t = time.perf_counter(); import rmvpe; print(time.perf_counter() - t)"
    assert min(float(run(code)) for _ in range(5)) < 0.3


@pytest.mark.parametrize(("package", "absent"), [("rmvpe_torch.infer", "jax"), ("rmvpe_jax.infer", "torch")])
def test_a_framework_never_loads_the_other(package: str, absent: str):
    pytest.importorskip(package.split("_")[1].split(".")[0])
    assert run(f"import {package}, sys; print('{absent}' in sys.modules)") == "False"
