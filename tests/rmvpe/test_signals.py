"""Ctrl-C, SIGTERM and SIGHUP: one sentence, the exit code of shells, no temporary file; and nothing for a library."""

import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from rmvpe.errors import run_cli
from rmvpe.signals import STOPPING, Stopped, stop_code, stoppable

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="a program there cannot send itself a signal"),
    pytest.mark.usefixtures("usual_signals"),
]
CODES: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SENTENCES: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "stopped by SIGTERM",
    signal.SIGHUP: "stopped by SIGHUP",
}


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOPPING]


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_a_program_in_one_sentence(number: int, capsys: pytest.CaptureFixture[str]):
    before = handlers()
    assert run_cli("program", lambda: os.kill(os.getpid(), number)) == CODES[number]
    assert capsys.readouterr().err == f"program: {SENTENCES[number]}\n"
    assert handlers() == before


def test_a_signal_inside_a_destructor_is_not_lost(capsys: pytest.CaptureFixture[str]):
    """Python prints and drops what a destructor raises."""

    class Object:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def work() -> int:
        made = Object()
        del made
        signal.pause()
        return 0

    assert run_cli("program", work) == 143
    assert capsys.readouterr().err == "program: stopped by SIGTERM\n"


def test_a_stop_may_say_what_was_saved(capsys: pytest.CaptureFixture[str]):
    def work() -> int:
        raise Stopped(signal.SIGTERM, "stopped after iteration 3, whose state is saved")

    assert run_cli("program", work) == stop_code(Stopped(signal.SIGTERM)) == 143
    assert capsys.readouterr().err == "program: stopped after iteration 3, whose state is saved\n"


def test_an_ignored_signal_stays_ignored():
    """`nohup rmvpe predict ...` goes on when its terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_handles_no_signal_leaves_no_temporary_file(number: int, tmp_path: Path):
    """It ends by the signal, as it would without us."""
    code = f"""
import os, time
from rmvpe.files import atomic_path
with atomic_path({str(tmp_path / "song.csv")!r}) as path:
    path.write_text("half")
    os.kill(os.getpid(), {int(number)})
    time.sleep(60)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (-number, "")
    assert list(tmp_path.iterdir()) == []


def test_importing_sets_no_handler():
    code = "import signal as s; a = [s.getsignal(n) for n in (2, 15, 1)]\nimport rmvpe.__main__, rmvpe.cli.predict\n"
    code += "print(a == [s.getsignal(n) for n in (2, 15, 1)])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "True", run.stderr


@pytest.mark.parametrize("module", ["numpy", "rmvpe.cli.predict", "soundfile"])
@pytest.mark.parametrize("number", CODES)
def test_a_signal_during_the_imports(module: str, number: int, tmp_path: Path):
    """The signal comes while `module` is being imported: numpy is the first, soundfile comes with the first file."""
    code = f"""
import os, sys
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Sender())
sys.argv = ["rmvpe", "predict", "short.wav", "-o", "o.csv", "--device", "cpu"]
from rmvpe.__main__ import main
sys.exit(main())
"""
    with wave.open(str(tmp_path / "short.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == CODES[number], run.stderr
    assert run.stderr.splitlines()[-1].endswith(f": {SENTENCES[number]}")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("to_all", [False, True], ids=["to the program", "to its processes"])
@pytest.mark.parametrize("number", CODES)
def test_finished_results_stay_and_no_temporary_file(
    number: int, to_all: bool, jobs: int, tmp_path: Path, voice: np.ndarray
):
    """A folder of recordings is stopped after its first result; a terminal sends Ctrl-C to all processes in it."""
    import soundfile

    songs, out = tmp_path / "songs", tmp_path / "out"
    songs.mkdir()
    for name in range(200):
        soundfile.write(songs / f"{name:03}.wav", voice, 16_000)
    command = [sys.executable, "-m", "rmvpe", "predict", str(songs), "-o", str(out), "--jobs", str(jobs)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        assert ".wav" in run.stdout.readline()
        os.killpg(run.pid, number) if to_all else run.send_signal(number)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == CODES[number]
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == f"rmvpe predict: {SENTENCES[number]}"
    with pytest.raises(ProcessLookupError):  # no process of its group is left
        os.killpg(run.pid, 0)
    names = sorted(path.name for path in out.iterdir())
    assert 0 < len(names) < 200
    if jobs == 1:
        assert names == [f"{name:03}.csv" for name in range(len(names))]
    assert all(name.endswith(".csv") and not name.startswith(".") for name in names)
    assert all((out / name).read_text().count("\n") == len(voice) // 160 + 2 for name in names)


@pytest.fixture
def voice() -> np.ndarray:
    time_s = np.arange(8000) / 16_000
    return np.asarray(0.1 * sum(np.sin(2 * np.pi * 200 * k * time_s) / k for k in range(1, 20)))
