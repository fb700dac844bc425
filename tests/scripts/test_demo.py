"""`make demo` with one framework, or none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.backends import installed_backends
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


@pytest.mark.parametrize(("present", "missing"), [("torch", "jax"), ("jax", "torch")])
def test_one_framework_is_enough_and_the_other_is_named(present: str, missing: str, tmp_path: Path):
    pytest.importorskip("matplotlib")
    if present not in installed_backends():
        pytest.skip(f"{present} is not installed")
    done = demo(tmp_path, missing)
    assert done.returncode == 0, done.stderr
    assert f"{missing} skipped: " in done.stdout
    assert (tmp_path / "demo.png").is_file()
    assert len((tmp_path / "demo.csv").read_text(encoding="utf-8").splitlines()) == 927


def test_without_any_one_sentence_says_what_to_install(tmp_path: Path):
    done = demo(tmp_path, "torch", "jax")
    assert done.returncode == 2
    assert "run pip install torch" in done.stderr
    assert done.stderr.count("\n") == 1
