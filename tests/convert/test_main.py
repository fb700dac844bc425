"""`python -m convert` as a program: a signal, from its first line on, ends it in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("module", ["convert.program", "numpy", "convert.commands"])
@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize(("number", "code", "sentence"), [(2, 130, "interrupted"), (15, 143, "stopped by SIGTERM")])
def test_a_signal_during_imports_is_one_sentence(
    module: str, number: int, code: int, sentence: str, tmp_path: Path
) -> None:
    program = f"""
import os, runpy, sys
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sender())
sys.argv = ["convert", "inspect", "small"]
runpy.run_module("convert", run_name="__main__")
"""
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    assert run.stderr == f"python -m convert: {sentence}\n"
    assert not run.stdout
