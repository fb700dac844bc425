"""`benchmarks/speed.py`: what it measures and how it judges; the reference is a small stand-in with its interface."""

import sys
from pathlib import Path

import pytest

from benchmarks import speed
from benchmarks.speed_runs.material import CLIP_S, Material, seconds_of
from benchmarks.speed_runs.table import ROWS, Line, Measurement, Table
from benchmarks.speed_runs.worker import RUNS, timed_command
from rmvpe.backends import BACKENDS, installed_backends
from tests.helpers.paths import ROOT

INSTALLED = installed_backends()
REFERENCE = """
import numpy as np
import torch
from librosa.filters import mel
from torchaudio.transforms import Resample
import colorednoise.anything

class RMVPE:
    def __init__(self, path):
        self.weights = torch.load(path)["model"]
        assert mel(sr=16000, n_fft=1024, n_mels=128, fmin=30, fmax=8000, htk=True).shape == (128, 513)

    def infer_from_audio(self, audio, sample_rate=16000, device=None):
        assert audio.dtype == np.float32 and device == "cpu"
        return np.zeros(len(audio) // 160 + 1)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the file that makes a checkout of the reference."""
    (tmp_path / "yxlllc" / "src").mkdir(parents=True)
    (tmp_path / "yxlllc" / "src" / "inference.py").write_text(REFERENCE, encoding="utf-8")
    return tmp_path / "yxlllc"


class SameWeights(Material):
    """Names of files instead of files."""

    def weights(self, name: str) -> str:
        """As `Material.weights`."""
        return f"{name}.pt"

    def orbax(self, name: str) -> str:
        """As `Material.orbax`."""
        return f"{name}-orbax"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Everything that can be measured, in short."""
    material = SameWeights(tmp_path, ROOT / "examples" / "demo.flac", 3.0)
    return Table(material, "yxlllc", BACKENDS, has_before=True, has_swift_f0=True, n_clips=3, n_folder=4, jobs=2)


def test_all_rows_have_tasks_that_the_worker_knows(table: Table):
    for row in ROWS:
        lines = table.lines(row)
        assert len({line.label for line in lines}) == len(lines), row
        assert {dict(line.measurement.task)["run"] for line in lines} <= set(RUNS), row
        for line in lines:
            assert not line.goal or line.base is not None, f"{row}, {line.label}: a ratio to nothing"


def test_every_goal_of_a_ratio_is_to_the_same_sound(table: Table):
    for row in ("e2e0", "small", "clips", "one-thread", "busy"):
        for line in table.lines(row):
            if line.base is not None:
                files = (dict(made.task)["files"] for made in (line.measurement, line.base))
                assert len(set(files)) == 1, f"{row}, {line.label}"


def test_clips_have_all_lengths(tmp_path: Path):
    material = Material(tmp_path, ROOT / "examples" / "demo.flac", 3.0)
    few, many = material.clips(5), material.clips(20)
    assert many[:5] == few
    lengths = [seconds_of((path,)) for path in many]
    assert CLIP_S[0] <= min(lengths) < 3.0
    assert 9.0 < max(lengths) <= CLIP_S[1]
    assert len(set(lengths)) == 20
    assert abs(sum(lengths) / 20 - 6.0) < 0.5


def test_a_goal_is_judged_by_medians():
    slow, fast = (Measurement(name, (), audio_s=2.0) for name in ("slow", "fast"))
    results = {
        slow: [{"seconds": value, "cpu_seconds": 4.0, "peak_bytes": 2e9} for value in (4.0, 8.0, 100.0)],
        fast: [{"seconds": value, "cpu_seconds": 3.0, "peak_bytes": 1e9} for value in (0.1, 2.0, 3.0)],
    }
    text, met = speed.figures(Line("fast", fast, slow, goal=0.25, goal_bytes=1.1e9), results)
    assert met
    assert text.split()[:6] == ["1.0000", "1.5000", "1.00", "GB", "0.250", "0.750"]
    assert text.count("met") == 2
    text, met = speed.figures(Line("fast", fast, slow, goal=0.24), results)
    assert not met
    assert "NOT MET" in text
    assert speed.figures(Line("fast", fast, slow, goal=0.24), {slow: results[slow], fast: []}) == ("failed", False)


@pytest.mark.skipif(not INSTALLED, reason="needs torch, jax or onnxruntime")
def test_a_cold_command_is_measured(checkout: Path, capsys: pytest.CaptureFixture[str]):
    flags = ["--rows", "cold", "--backends", INSTALLED[-1], "--runs", "1"]
    assert speed.main(["--reference", str(checkout), *flags]) == 0
    line = capsys.readouterr().out.splitlines()[3]
    name, seconds, cpu_seconds, peak, unit, *_ = line.split()
    assert name == INSTALLED[-1]
    assert float(seconds) > 0.1
    assert float(cpu_seconds) > 0.1
    assert 0.05 < float(peak) < 3.0
    assert unit == "GB"


def test_the_reference_runs_with_stand_ins_for_what_it_does_not_need(
    checkout: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("torch")
    flags = ["--rows", "small", "--backends", "torch", "--runs", "1", "--seconds", "2"]
    assert speed.main(["--reference", str(checkout), *flags]) == 1  # nobody is faster than zeros
    said = capsys.readouterr()
    assert "failed" not in said.out + said.err
    assert "NOT MET" in said.out


def test_a_failed_measurement_does_not_end_the_run(checkout: Path, capsys: pytest.CaptureFixture[str]):
    flags = ["--rows", "cold", "--backends", "onnx", "--runs", "1", "--prefix", "false"]
    assert speed.main(["--reference", str(checkout), *flags]) == 1
    said = capsys.readouterr()
    assert "failed: ours, command onnx: exit code 1" in said.err
    assert "failed" in said.out


def test_a_command_that_fails_is_named():
    with pytest.raises(SystemExit, match="exit code 3"):
        timed_command([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rows", "cold,wrong"], "--rows wrong: choose some of e2e0"),
        (["--backends", "tensorflow"], "--backends tensorflow"),
        (["--runs", "0"], "--runs"),
        (["--reference", "."], "src/inference.py"),
        (["--before", "nowhere"], "rmvpe/estimator.py"),
    ],
)
def test_mistakes(flags: list[str], words: str, checkout: Path, capsys: pytest.CaptureFixture[str]):
    assert speed.main(["--reference", str(checkout), *flags]) == 2
    assert words in capsys.readouterr().err
