"""What the library logs, under the name rmvpe; it configures nothing."""

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rmvpe
from rmvpe import audio
from rmvpe.backends import installed_backends
from tests.rmvpe.test_recommended import estimator


@pytest.mark.parametrize("backend", installed_backends())
def test_load_says_what_runs_where(backend: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "rmvpe")
    loaded = rmvpe.load("small", backend, "cpu")
    (record,) = [record for record in caplog.records if record.name == "rmvpe"]
    assert record.levelno == logging.INFO
    message = record.getMessage()
    assert message == (f"weights small, {backend} on cpu, {loaded.backend.threads} threads, convolutions in float32")
    assert loaded.backend.threads is not None
    assert loaded.backend.threads >= 1


def test_what_is_odd_about_a_file_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(1600), 16000)
    read, warnings = audio.read, (f"{path} ends after 3.20 s",)
    monkeypatch.setattr(audio, "read", lambda p, **how: replace(read(p, **how), warnings=warnings, notes=("left",)))
    caplog.set_level(logging.INFO, "rmvpe")
    estimator().from_file(path)
    list(estimator().from_files([path]))
    expected = [("rmvpe", logging.WARNING, warnings[0]), ("rmvpe", logging.INFO, "left")]
    assert caplog.record_tuples == 2 * expected


def test_a_program_that_configures_no_logging_still_sees_warnings():
    """Python's own last resort prints them: a recording that is cut off must not pass silently."""
    code = "import rmvpe, logging; logging.getLogger('rmvpe').warning('x'); print(logging.getLogger().handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "x\n")
