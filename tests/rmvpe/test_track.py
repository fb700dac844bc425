"""F0Track: files there and back, other hops, gaps."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.errors import UserError
from rmvpe.track import WRITERS, F0Track
from tests.helpers.paths import ROOT


def glide(n: int = 200, hop_s: float = 0.01) -> F0Track:
    """One octave per second upward, unvoiced at frames 0-9, 50-69 and the last 20."""
    time_s = np.arange(n) * hop_s
    voiced = np.ones(n, dtype=bool)
    voiced[:10] = voiced[50:70] = voiced[-20:] = False
    return F0Track(time_s, np.where(voiced, 110.0 * 2**time_s, 0.0), voiced, np.where(voiced, 0.9, 0.01))


def empty() -> F0Track:
    return F0Track(*np.zeros((4, 0)))


def test_types_are_fixed_and_lengths_checked():
    track = F0Track([0, 1], [0, 100], [0, 1], [0, 1])  # type: ignore[arg-type]
    assert [getattr(track, n).dtype for n in ("time_s", "f0_hz", "voiced", "confidence")] == [
        np.float64,
        np.float64,
        np.bool_,
        np.float32,
    ]
    with pytest.raises(ValueError, match="one length"):
        F0Track(np.zeros(3), np.zeros(3), np.zeros(2), np.zeros(3))
    assert glide().hop_s == pytest.approx(0.01)
    assert empty().hop_s is None


@pytest.mark.parametrize(
    "track", [glide(), glide(1), glide(200, 512 / 44100), empty()], ids=["10 ms", "one", "512", "none"]
)
def test_csv_and_npz_there_and_back(track: F0Track, tmp_path: Path):
    track.write(tmp_path / "t.npz")
    track.write(tmp_path / "t.csv")
    exact, text = F0Track.read(tmp_path / "t.npz"), F0Track.read(tmp_path / "t.csv")
    for name in ("time_s", "f0_hz", "voiced", "confidence"):
        np.testing.assert_array_equal(getattr(exact, name), getattr(track, name))
    np.testing.assert_array_equal(text.voiced, track.voiced)
    np.testing.assert_allclose(text.time_s, track.time_s, atol=5.1e-7)  # half the last digit of each column
    np.testing.assert_allclose(text.f0_hz, track.f0_hz, atol=5.1e-4)
    np.testing.assert_allclose(text.confidence, track.confidence, atol=5.1e-5)


def test_csv_reads_well(tmp_path: Path):
    glide().write(tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "time_s,f0_hz,voiced,confidence"
    assert lines[1] == "0.000000,0.000,0,0.0100"
    assert lines[11] == "0.100000,117.895,1,0.9000"  # 110 * 2^0.1
    assert len(lines) == 201


def test_npy_is_f0_alone(tmp_path: Path):
    glide().write(tmp_path / "t.npy")
    array = np.load(tmp_path / "t.npy")
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, glide().f0_hz, rtol=1e-6)
    again = F0Track.read(tmp_path / "t.npy")
    np.testing.assert_array_equal(again.voiced, glide().voiced)
    np.testing.assert_allclose(again.time_s, glide().time_s)


def test_line_k_of_a_pv_file_is_the_time_k_times_10_ms(tmp_path: Path):
    track = glide()
    track.write(tmp_path / "t.pv")
    lines = (tmp_path / "t.pv").read_text().splitlines()
    assert len(lines) == len(track) - 1  # time 0 has no line
    for k in (9, 10, 40, 60, 100):
        midi = 69 + 12 * np.log2(track.f0_hz[k] / 440) if track.voiced[k] else 0
        assert float(lines[k - 1]) == pytest.approx(midi, abs=1e-5)
    again = F0Track.read(tmp_path / "t.pv")
    np.testing.assert_allclose(again.f0_hz[1:], track.f0_hz[1:], rtol=1e-6)
    np.testing.assert_allclose(again.time_s, track.time_s)


def test_pv_reads_as_the_training_data_does(tmp_path: Path):
    sources = pytest.importorskip("rmvpe.data.readers.hybrid")
    glide().write(tmp_path / "t.pv")
    np.testing.assert_allclose(sources.read_label(tmp_path / "t.pv"), glide().f0_hz[1:], rtol=1e-6)


def test_pv_of_another_hop_is_refused_and_nothing_is_left(tmp_path: Path):
    with pytest.raises(UserError, match="10 ms, not per 5 ms"):
        glide(hop_s=0.005).write(tmp_path / "t.pv")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    """A limit on the size of files stands for a full disk."""
    code = f"""
import resource
from pathlib import Path
from tests.rmvpe.test_track import WRITERS, UserError, glide
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for name in WRITERS:
    try:
        glide().write(Path({str(tmp_path)!r}) / f"t.{{name}}")
    except UserError as error:
        print(error)
"""
    paths = [tmp_path / f"t.{name}" for name in WRITERS]
    for path in paths:
        path.write_text("old")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for path, message in zip(paths, done.stdout.splitlines(), strict=True):
        assert str(path) in message
        assert "make room" in message
        assert path.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_unknown_formats(tmp_path: Path):
    with pytest.raises(UserError, match=r"t\.txt.*choose one of csv"):
        glide().write(tmp_path / "t.txt")
    with pytest.raises(UserError, match="unknown format 'xml'"):
        glide().write(tmp_path / "t.txt", "xml")
    glide().write(tmp_path / "t.txt", "csv")
    assert (tmp_path / "t.txt").read_text().startswith("time_s,")


CONTENTS = [b"not a track\n", b"time_s,f0_hz,voiced,confidence\n1,2\n", b"\x93NUMPY", b"PK\x03\x04", b""]


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name in WRITERS for content in CONTENTS if (name, content) != ("pv", b"")],  # that is a track
)
def test_files_of_another_kind_are_named(name: str, content: bytes, tmp_path: Path):
    (tmp_path / f"t.{name}").write_bytes(content)
    with pytest.raises(UserError, match=rf"t\.{name} is no {name} file"):
        F0Track.read(tmp_path / f"t.{name}")
    with pytest.raises(UserError, match="does not exist"):
        F0Track.read(tmp_path / f"gone.{name}")


def test_a_folder_in_the_way(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        glide().write(tmp_path / "file" / "t.csv")


@pytest.mark.parametrize("hop_s", [0.0025, 0.004, 512 / 44100, 0.02, 0.0333])
def test_another_hop_is_interpolated_in_log_frequency_inside_voiced_runs(hop_s: float):
    track = glide()
    new = track.resampled(hop_s)
    np.testing.assert_array_equal(new.time_s, np.arange(len(new)) * hop_s)  # k * hop exactly, not accumulated
    assert new.time_s[-1] <= track.time_s[-1] < new.time_s[-1] + hop_s
    np.testing.assert_array_equal(new.voiced, new.f0_hz > 0)
    inside = new.voiced & (new.time_s > 0.1) & (new.time_s < 0.49)
    np.testing.assert_allclose(new.f0_hz[inside], 110.0 * 2 ** new.time_s[inside], rtol=1e-9)  # exact for a log glide
    # Beside an unvoiced frame the nearer one decides: no pitch is smeared into silence by more than half a frame
    expected = track.voiced[np.minimum(np.floor(new.time_s / 0.01 + 0.5 - 1e-9).astype(int), 199)]
    edges = np.abs(np.subtract.outer(new.time_s, [0.095, 0.495, 0.695, 1.795])).min(axis=1) < 1e-6
    np.testing.assert_array_equal(new.voiced[~edges], expected[~edges])


def test_the_same_hop_changes_nothing_and_a_multiple_picks_frames():
    track = glide()
    for name in ("time_s", "f0_hz", "voiced"):
        np.testing.assert_allclose(getattr(track.resampled(0.01), name), getattr(track, name), rtol=1e-12)
        np.testing.assert_allclose(getattr(track.resampled(0.02), name), getattr(track, name)[::2], rtol=1e-12)


def test_a_length_can_be_asked_for():
    track = glide().resampled(0.0025, n_frames=803)  # 199 hops of 10 ms, and 7.5 ms of audio after them
    assert len(track) == 803
    assert not track.voiced[-10:].any()
    voiced_to_the_end = F0Track(np.arange(3) * 0.01, np.full(3, 200.0), np.ones(3), np.ones(3))
    held = voiced_to_the_end.resampled(0.0025, n_frames=12)
    assert held.voiced.tolist() == [True] * 11 + [False]  # half a frame after the last


@pytest.mark.parametrize("hop_s", [0.0, -0.01, float("nan"), float("inf"), 1e-6])
def test_impossible_hops(hop_s: float):
    with pytest.raises(UserError, match="hop"):
        glide().resampled(hop_s)


def test_resampling_nothing():
    assert len(empty().resampled(0.005)) == 0


def test_gaps_are_bridged_in_log_frequency():
    filled = glide().interpolated()
    np.testing.assert_array_equal(filled.voiced, glide().voiced)
    np.testing.assert_allclose(filled.f0_hz[10:180], 110.0 * 2 ** filled.time_s[10:180], rtol=1e-9)
    np.testing.assert_allclose(filled.f0_hz[:10], filled.f0_hz[10], rtol=1e-12)
    np.testing.assert_allclose(filled.f0_hz[180:], filled.f0_hz[179], rtol=1e-12)
    np.testing.assert_array_equal(filled.resampled(0.005).voiced, glide().resampled(0.005).voiced)
    assert np.all(filled.resampled(0.005).f0_hz > 0)


def test_a_track_without_voice_stays_without():
    silent = F0Track(np.arange(5) * 0.01, np.zeros(5), np.zeros(5), np.zeros(5))
    assert not silent.interpolated().f0_hz.any()
    assert len(empty().interpolated()) == 0
