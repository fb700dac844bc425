"""benchmarks/hosts.py: what a checkout is taken for, and that a host whose answers are not ours is a failed run."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.host_runs.stage import Report
from benchmarks.host_runs.table import HOSTS
from benchmarks.hosts import main, recognise
from tests.helpers.paths import ROOT

# Stands for main.py of yxlllc's RMVPE; {f0} is what it writes
YXLLLC_MAIN = """
import librosa
import numpy as np
from src import RMVPE

audio, rate = librosa.load("in.wav", sr=None)
f0 = RMVPE("model.pt", hop_length=160).infer_from_audio(audio, rate, device="cpu", thred=0.03, use_viterbi=False)
np.savetxt("out.csv", np.c_[0.01 * np.arange(len(f0)), {f0}], delimiter=",")
"""


def clone(folder: Path, *hosts: str) -> Path:
    """A folder with the files by which these hosts are recognised, all empty."""
    for file in (file for host in hosts for file in HOSTS[host].files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


@pytest.mark.parametrize("host", HOSTS)
def test_each_host_is_recognised_by_its_files(host: str, tmp_path: Path):
    assert recognise(clone(tmp_path, host), None) == host


@pytest.mark.parametrize(
    ("hosts", "arguments", "message"),
    [
        ((), [], "has the files of no known project: give the top folder of a clone of one of rvc, "),
        ((), ["--host", "rvc"], "lacks infer/vc/pipeline.py, which rvc has: give a clone of rvc"),
        (("mangio", "fumiama"), [], "looks like fumiama and mangio: choose with --host"),
    ],
)
def test_another_folder_is_one_sentence(
    hosts: tuple[str, ...],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    assert main(["--checkout", str(clone(tmp_path, *hosts)), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hosts: {tmp_path} ")
    assert message in error
    assert error.count("\n") == 1


def test_a_path_that_is_no_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--checkout", str(tmp_path / "none")]) == 2
    assert "none is no folder: give a clone of one of rvc, " in capsys.readouterr().err


def run(checkout: Path) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, because it replaces modules."""
    command = [sys.executable, str(ROOT / "benchmarks" / "hosts.py"), "--checkout", str(checkout)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


@pytest.mark.parametrize(
    ("f0", "code", "line"),
    [
        ("f0", 0, "yxlllc: 2 passed, 0 failed"),
        ("f0 * 1.001", 1, "FAIL  main.py, the csv: 926 frames, float64, at most 1.73"),
        ("np.full(len(f0), int('no'))", 1, "FAIL  yxlllc runs to its end: ValueError: "),
        ("__import__('no_such_library')", 2, "yxlllc imports no_such_library, which neither "),
    ],
)
def test_the_exit_code_says_whether_all_passed(f0: str, code: int, line: str, tmp_path: Path):
    checkout = clone(tmp_path, "yxlllc")
    (checkout / "main.py").write_text(YXLLLC_MAIN.format(f0=f0), encoding="utf-8")
    done = run(checkout)
    assert done.returncode == code, done.stderr
    assert line in (done.stdout if code < 2 else done.stderr)
    assert sorted(path.name for path in checkout.rglob("*")) == ["inference.py", "main.py", "src"]


F0 = np.array([0.0, 220.0, 221.0, 0.0])


@pytest.mark.parametrize(
    ("f0", "gaps", "passed"),
    [
        (F0.copy(), True, True),
        (F0[:-1], True, False),
        (np.array([0, 220, 221, 222.0]), True, False),
        (np.array([220, 220, 221, 221.0]), False, True),
        (np.array([220, 0, 221, 221.0]), False, False),
        (np.array([0, 220, 221.1, 0.0]), True, False),
        (np.array([np.nan, 220, 221, 0.0]), True, False),
        (np.zeros(4), True, False),
    ],
)
def test_an_f0_that_differs_is_a_failed_line(f0: np.ndarray, gaps: bool, passed: bool):
    report = Report(io.StringIO())
    report.same("f0", f0, F0, gaps=gaps)
    assert (report.passed, report.failed) == (int(passed), int(not passed))


def test_values_beyond_the_tolerance_and_sounds_in_silence_are_failed_lines():
    report = Report(io.StringIO())
    report.near("curve", F0, F0 + 0.5, 1.0, "Hz")
    report.silent("silence", np.zeros(3), 3)
    assert (report.passed, report.failed) == (2, 0)
    report.near("curve", F0, F0 + 1.5, 1.0, "Hz")
    report.near("curve", F0[:-1], F0, 1.0, "Hz")
    report.near("curve", np.full(4, np.nan), F0, 1.0, "Hz")
    report.silent("silence", np.zeros(2), 3)
    report.silent("silence", F0, 4)
    assert (report.passed, report.failed) == (2, 5)
