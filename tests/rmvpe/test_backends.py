"""Choosing a backend, and what in a user's folder must not get in its way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.backends import BACKENDS, is_installed
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("backend", [name for name in BACKENDS if is_installed(name)])
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
