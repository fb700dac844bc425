"""`benchmarks/notes.py`: our notes beside those of other programs, for which small stand-ins answer here."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import notes
from rmvpe.backends import installed_backends
from rmvpe.pitch import hz_to_midi
from tests.helpers.settings import decoding
from tests.helpers.waves import waves

pytest.importorskip("mir_eval")
pytestmark = pytest.mark.skipif(not installed_backends(), reason="needs torch, jax or onnxruntime")
NOTES = [(0.25, 0.75, 57.0), (1.0, 1.5, 60.0)]
SWIFT = """
from types import SimpleNamespace
class SwiftF0:
    def detect(self, samples, rate):
        assert samples.dtype == "float32" and rate == 16000
        print("a library may print")
        if abs(samples).max() > 0.3:
            raise ValueError("too loud")
        return samples
def segment_notes(result):
    return [SimpleNamespace(start=0.25, end=0.75, pitch_hz=220.0)]
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of two recordings with the same two notes, a tone and something louder."""
    time_s = np.arange(32_000) / 16_000
    for name, level in (("a", 0.2), ("b", 0.4)):
        soundfile.write(tmp_path / f"{name}.wav", level * np.sin(2 * np.pi * 220 * time_s), 16_000)
        (tmp_path / f"{name}.txt").write_text("".join(f"{on} {off} {midi}\n" for on, off, midi in NOTES))
    return tmp_path


@pytest.fixture
def swift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package swift_f0 for the other program's process."""
    packages = tmp_path / "packages"
    (packages / "swift_f0-9.dist-info").mkdir(parents=True)
    (packages / "swift_f0-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: swift-f0\nVersion: 9\n")
    (packages / "swift_f0.py").write_text(SWIFT)
    monkeypatch.setenv("PYTHONPATH", str(packages))


@pytest.mark.usefixtures("swift")
def test_both_get_the_same_sound_and_are_scored_alike(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.json"
    flags = ["--data", f"folder:{data}", "--limit", "1", "--swift-f0", sys.executable, "--json", str(out)]
    assert notes.main(flags) == 0
    printed = capsys.readouterr()
    assert "| clean | swift-f0 | 1 | 2 | 1 | 0.667 (0.667 to 0.667) |" in printed.out
    assert "| clean | rmvpe | 1 | 2 |" in printed.out
    assert "swift-f0 9, segment_notes" in printed.out
    record = json.loads(out.read_text())
    assert record["programs"]["swift-f0"]["means"]["clean"]["COnP P"] == 1.0
    assert record["programs"]["swift-f0"]["means"]["clean"]["COnP R"] == 0.5
    assert set(record["intervals"]) == {"rmvpe", notes.BARE, "swift-f0", notes.BOUND}
    assert record["programs"][notes.BOUND]["means"]["clean"]["COn F1"] == 1.0
    ours = record["programs"]["rmvpe"]["means"]["clean"]["COnPOff F1"]
    gain, low, high = record["differences"]["swift-f0"]["clean"]["COnPOff"]
    assert gain == low == high == pytest.approx(ours - 2 / 3)  # one file: no spread
    assert f"| clean | swift-f0 | {gain:+.3f}" in printed.out.partition("higher by")[2]


@pytest.mark.usefixtures("swift")
def test_a_file_on_which_one_program_fails_is_left_out_for_all(data: Path, capsys: pytest.CaptureFixture[str]):
    assert notes.main(["--data", f"folder:{data}", "--swift-f0", sys.executable]) == 1
    printed = capsys.readouterr()
    assert "| clean | rmvpe | 1 | 2 |" in printed.out
    assert "swift-f0: ValueError: too loud" in printed.err


@pytest.mark.parametrize("python", [sys.executable, "no/such/python"])
def test_a_program_that_is_not_there_is_named(
    python: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (data / "empty").mkdir()
    (data / "empty" / "basic_pitch.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(data / "empty"))
    assert notes.main(["--data", f"folder:{data}", "--basic-pitch", python]) == 2
    message = capsys.readouterr().err
    assert "basic-pitch" in message
    assert ("not here" in message) == (python == sys.executable)


def test_the_interval_holds_the_mean_and_narrows_with_files():
    rng = np.random.default_rng(1)
    few, many = rng.uniform(0, 1, 10), rng.uniform(0, 1, 1000)
    for values in (few, many):
        low, high = notes.interval(values.tolist())
        assert low < values.mean() < high
        # for a mean of many values the normal interval; a tenth for the skew of ten values and of the bootstrap
        assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(len(values)), rel=0.1)
    assert notes.interval(few.tolist()) == notes.interval(few.tolist())


def test_the_bound_has_the_reference_times_and_our_pitch():
    estimator = waves(256, 64, decoding())  # one pitch wherever it is loud
    audio = np.concatenate([0.3 * np.sin(np.arange(16_000) / 5), np.zeros(16_000)]).astype(np.float32)
    reference = np.array([[0.2, 0.7, 60.0], [1.3, 1.7, 60.0]])
    found = notes.at_reference_times(estimator, audio, reference)
    assert np.array_equal(found[:, :2], reference[:, :2])
    track = estimator.from_audio(audio, 16_000)
    assert found[0, 2] == pytest.approx(float(np.median(hz_to_midi(track.f0_hz[20:70]))))
    assert found[1, 2] == notes.NO_PITCH
    assert np.array_equal(reference[:, 2], [60.0, 60.0])
