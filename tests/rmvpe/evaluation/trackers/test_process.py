"""A tracker in its own process: its own memory, its own end, and no end later than that of the main process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.evaluation.trackers.adapters import TrackerSpec
from rmvpe.evaluation.trackers.process import TrackerError, TrackerExited, TrackerProcess
from tests.helpers.paths import ROOT
from tests.helpers.simple_trackers import RATE_HZ, SPECS, open_environment

SILENCE, LONG = np.zeros(RATE_HZ, dtype=np.float32), np.zeros(3 * RATE_HZ, dtype=np.float32)
# Prints the number of the tracker's process, then waits for ever
MAIN_PROGRAM = """
import multiprocessing, threading
from rmvpe.evaluation.trackers.adapters import TrackerSpec
from rmvpe.evaluation.trackers.process import TrackerProcess
from tests.helpers.simple_trackers import SPECS

if __name__ == "__main__":
    with TrackerProcess(SPECS["autocorrelation"]):
        print(multiprocessing.active_children()[0].pid, flush=True)
        threading.Event().wait()
"""


def test_a_process_counts_its_own_memory():
    block = np.ones(40_000_000)  # these 320 MB do not belong to the tracker
    with TrackerProcess(SPECS["autocorrelation"]) as process:
        timed = process.predict(SILENCE)
        peak = process.peak_memory()
    assert len(block)
    assert not timed.track.voiced.any()
    assert peak is None or 10e6 < peak < 250e6
    with pytest.raises(TrackerError, match="ended"):
        process.predict(SILENCE)


def test_an_error_of_the_tracker_is_one_sentence_and_the_process_goes_on():
    with TrackerProcess(SPECS["fragile"]) as process:
        with pytest.raises(TrackerError) as error:
            process.predict(LONG)
        assert str(error.value) == "RuntimeError: too long for me"
        assert not isinstance(error.value, TrackerExited)
        assert len(process.predict(SILENCE).track)


def test_a_crash_names_the_exit_code_every_time():
    with TrackerProcess(SPECS["crashing"]) as process:
        for call in (lambda: process.predict(LONG), lambda: process.predict(SILENCE), process.peak_memory):
            with pytest.raises(TrackerExited, match="ended with exit code 3"):
                call()


def test_the_number_of_threads_is_set_in_the_process_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with TrackerProcess(TrackerSpec("Environment", open_environment), threads=3) as process:
        assert process.settings == "OMP 3, numba 3"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_tracker_ends_when_the_main_process_is_killed(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(MAIN_PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    # The tracker's process inherits this pipe too: it is at its end only when both processes have ended
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, env=environment, text=True) as main:
        assert main.stdout is not None
        tracker = int(main.stdout.readline())
        main.kill()
        try:
            main.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.kill(tracker, signal.SIGKILL)
            raise
