"""`make demo` with all frameworks, with one, or none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.backends import BACKENDS, MODULES, installed_backends
from tests.helpers.paths import ROOT


def demo(folder: Path, *missing: str) -> subprocess.CompletedProcess[str]:
    """The demo where these frameworks are not installed."""
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"
        f"sys.argv = ['demo', '-o', {str(folder)!r}]\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'demo.py')!r}, run_name='__main__')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("present", BACKENDS)
def test_one_framework_is_enough_and_the_others_are_named(present: str, tmp_path: Path):
    pytest.importorskip("matplotlib")
    if present not in installed_backends():
        pytest.skip(f"{present} is not installed")
    others = [name for name in BACKENDS if name != present]
    done = demo(tmp_path, *(MODULES[name] for name in others))
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\w+) skipped: ", done.stdout, re.MULTILINE) == others
    assert "Δ" not in done.stdout
    assert (tmp_path / "demo.png").is_file()
    assert len((tmp_path / "demo.csv").read_text(encoding="utf-8").splitlines()) == 927


def test_each_further_framework_is_compared_with_the_first(tmp_path: Path):
    pytest.importorskip("matplotlib")
    names = installed_backends()
    if len(names) < 2:
        pytest.skip("fewer than two frameworks are installed")
    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr
    for name in names[1:]:
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"{names[0]} and {name}: "))
        assert " 0 voicing flips" in line


def test_without_any_one_sentence_says_what_to_install(tmp_path: Path):
    done = demo(tmp_path, *MODULES.values())
    assert done.returncode == 2
    assert "run pip install onnxruntime onnx or pip install torch" in done.stderr
    assert done.stderr.count("\n") == 1
