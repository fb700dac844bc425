"""`--threads` reaches every backend, and what a command sets up in a process of its own it leaves alone elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.backends import installed_backends
from rmvpe.cli.main import main
from rmvpe.processes import allowed_cpus, cpus_of_this_process
from tests.helpers.paths import ROOT

SOUND = ROOT / "examples" / "demo.flac"
VARIABLES = ("OMP_NUM_THREADS", "NPROC", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
# Runs the command as its own process would, and prints what it set up
OWN = """
import os, sys
from rmvpe.__main__ import main
code = main()
print({name: os.environ.get(name) for name in ("GOMP_SPINCOUNT", "NPROC")}, len(os.sched_getaffinity(0)))
sys.exit(code)
"""


def predict(folder: Path, *flags: str, code: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    program = ["-c", code] if code else ["-m", "rmvpe"]
    command = [sys.executable, *program, "predict", str(SOUND), "-o", str(folder / "f0.csv"), "--device", "cpu", *flags]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("backend", installed_backends())
@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_command_computes_with_the_threads_that_it_is_given(backend: str, threads: str, tmp_path: Path):
    done = predict(tmp_path, "--backend", backend, "--threads", threads)
    assert done.returncode == 0, done.stderr
    assert f"{backend} on cpu, {threads} threads" in done.stderr


@pytest.mark.parametrize("backend", installed_backends())
def test_without_the_flag_the_environment_decides(backend: str, tmp_path: Path):
    done = predict(tmp_path, "--backend", backend, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert f"{backend} on cpu, 1 threads" in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs an affinity mask")
def test_a_process_of_ours_is_set_up(tmp_path: Path):
    backend = installed_backends()[0]
    done = predict(tmp_path, "--backend", backend, "--threads", "1", code=OWN)
    assert done.stdout.splitlines()[-1] == f"{{'GOMP_SPINCOUNT': '1000', 'NPROC': '1'}} {cpus_of_this_process()}"
    done = predict(tmp_path, "--backend", backend, "--force", code=OWN, NPROC="2", GOMP_SPINCOUNT="7")
    assert done.stdout.splitlines()[-1] == f"{{'GOMP_SPINCOUNT': '7', 'NPROC': '2'}} {cpus_of_this_process()}"


@pytest.mark.parametrize("backend", installed_backends())
def test_a_program_that_calls_the_command_keeps_its_environment(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("NPROC", raising=False)
    before, cpus = {name: os.environ.get(name) for name in VARIABLES}, allowed_cpus()
    flags = ["--backend", backend, "--device", "cpu", "--threads", str(len(cpus)), "-q"]
    assert main(["predict", str(SOUND), "-o", str(tmp_path / "f0.csv"), *flags]) == 0
    assert {name: os.environ.get(name) for name in VARIABLES} == before
    assert allowed_cpus() == cpus


@pytest.mark.parametrize("command", ["predict", "notes"])
@pytest.mark.parametrize(
    ("threads", "sentence"),
    [
        ("0", "--threads must be a whole number above 0, not 0"),
        ("-3", "--threads must be a whole number above 0, not -3"),
        ("9999", "--threads 9999 is too many for the"),
        ("1.5", "argument --threads: invalid int value: '1.5'"),
        ("many", "argument --threads: invalid int value: 'many'"),
    ],
)
def test_impossible_threads_are_one_sentence(
    command: str, threads: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ["-o", str(tmp_path / "out.csv"), "--device", "cpu", "--threads", threads]
    assert main([command, str(SOUND), *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
