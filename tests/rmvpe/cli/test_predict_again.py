"""`rmvpe predict` again, from and to the standard streams, with files that fail in ways that nobody expected."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.backends import installed_backends
from tests.helpers.paths import ROOT

soundfile = pytest.importorskip("soundfile")
pytestmark = pytest.mark.skipif(not installed_backends(), reason="no framework is installed")


NAMES = [b"x" * 251, "あ".encode() * 83, b"\xe9t\xe9", b"two\nlines", b"red\x1b[31m", b"$$ a_b$"]


def predict(*arguments: str, cwd: Path, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error."""
    command = [sys.executable, "-m", "rmvpe", "predict", *arguments, "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, env=environment)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings in the folder `in`."""
    (tmp_path / "in").mkdir()
    time_s = np.arange(8000) / 16_000
    for name in ("a", "b"):
        soundfile.write(tmp_path / "in" / f"{name}.wav", 0.3 * np.sin(2 * np.pi * 220 * time_s), 16_000)
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "npz", "npy", "pv"])
def test_the_same_command_again_replaces_its_results(kind: str, folder: Path):
    for _ in range(2):
        code, _, errors = predict("in", "-o", "out", "--format", kind, "--plot", cwd=folder)
        assert code == 0, errors
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(
        ["a.png", f"a.{kind}", "b.png", f"b.{kind}"]
    )


def test_a_label_beside_the_recordings_is_kept(folder: Path):
    (folder / "in" / "a.csv").write_text("0.00,220\n")
    code, _, errors = predict("in", "-o", "in", cwd=folder)
    assert code == 2
    assert "a.csv exists" in errors
    assert (folder / "in" / "a.csv").read_text() == "0.00,220\n"
    assert not (folder / "in" / "b.csv").exists()
    assert predict("in", "-o", "in", "--force", cwd=folder)[0] == 0
    assert (folder / "in" / "a.csv").read_text().startswith("time_s,f0_hz,voiced,confidence\n")


def test_skip_existing_takes_a_run_up_again(folder: Path):
    assert predict("in", "-o", "out", "--format", "npz", cwd=folder)[0] == 0
    first, second = folder / "out" / "a.npz", folder / "out" / "b.npz"
    whole, kept = first.read_bytes(), second.stat()
    first.write_bytes(whole[:500])
    code, out, errors = predict("in", "-o", "out", "--format", "npz", "--skip-existing", "--force", cwd=folder)
    assert code == 0
    assert b"b.wav" not in out
    assert "1 of 2 files skipped" in errors
    assert first.read_bytes() == whole
    assert second.stat().st_mtime_ns == kept.st_mtime_ns
    code, out, errors = predict("in", "-o", "out", "--format", "npz", "--skip-existing", cwd=folder)
    assert (code, out) == (0, b"")
    assert "2 of 2 files skipped" in errors


def test_standard_input_and_output(folder: Path):
    assert predict("in/a.wav", "-o", "a.csv", cwd=folder)[0] == 0
    expected = (folder / "a.csv").read_bytes()
    code, out, errors = predict("-", "-o", "-", cwd=folder, stdin=(folder / "in" / "a.wav").read_bytes())
    assert (code, out) == (0, expected)
    assert " -> " in errors
    assert predict("-", "-o", "out/", cwd=folder, stdin=(folder / "in" / "a.wav").read_bytes())[0] == 0
    assert (folder / "out" / "stdin.csv").read_bytes() == expected
    code, out, errors = predict("in", "-o", "-", cwd=folder)
    assert (code, out) == (2, b"")


def test_quiet_prints_errors_only(folder: Path):
    assert predict("in", "-o", "out", "-q", cwd=folder) == (0, b"", "")
    (folder / "in" / "c.wav").write_bytes(b"no sound")
    code, out, errors = predict("in", "-o", "out", "-q", cwd=folder)
    assert (code, out) == (1, b"")
    assert "c.wav" in errors
    assert "Traceback" not in errors
    assert "Traceback" in predict("in", "-o", "out", "--debug", cwd=folder)[2]


def test_a_truncated_recording_gives_a_result_and_exit_code_1(folder: Path):
    whole = (folder / "in" / "a.wav").read_bytes()
    (folder / "in" / "a.wav").write_bytes(whole[: len(whole) // 2])
    code, _, errors = predict("in", "-o", "out", cwd=folder)
    assert code == 1
    assert "a.wav ends after 0.25 s, but its header says 0.50 s" in errors
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.csv", "b.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="names there are Unicode without controls")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_legal_name(name: bytes, folder: Path):
    os.rename(folder / "in" / "a.wav", os.path.join(os.fsencode(folder), b"in", name + b".wav"))
    code, out, errors = predict("in", "-o", "out", "--plot", cwd=folder)
    assert code == 0, errors
    assert sorted(os.listdir(os.fsencode(folder / "out"))) == sorted(
        [b"b.csv", b"b.png", name + b".csv", name + b".png"]
    )
    assert b"\x1b[31m" not in out + errors.encode()
    assert len(out.splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize("kind", ["csv", "npz", "npy", "pv", "png", "sonified.wav"])
def test_a_full_disk_names_the_file(kind: str, folder: Path):
    flags = {"png": ["--plot"], "sonified.wav": ["--sonify"]}.get(kind, [])
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000) if {flags!r} else (100, 100))
from rmvpe.__main__ import main
sys.exit(main(["predict", "in/a.wav", "-o", "out/a.{"npy" if flags else kind}", *sys.argv[1:]]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, "--device", "cpu", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert f"cannot write out/a.{kind}: " in done.stderr
    left = [path.name for path in (folder / "out").iterdir()]
    assert left == (["a.npy"] if flags else [])
