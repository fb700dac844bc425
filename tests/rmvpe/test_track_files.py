"""Track files for other programs: what RVC makes of a curve file, what Praat reads in a PitchTier."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.errors import UserError
from rmvpe.ownership import is_complete, is_ours
from rmvpe.track import F0Track
from tests.rmvpe.test_track import empty, glide


def rvc_curve(path: Path, n_frames: int) -> np.ndarray:
    """The f0 per 10 ms by the rules of RVC's branch 20240604: NaN where the file replaces nothing.

    Numbers separated by commas, float32, straight lines in Hz, the first line at frame 0, the count of frames 16 bits.
    """
    table = np.array([[float(word) for word in line.split(",")] for line in path.read_text().split()], np.float32)
    span = int(np.round((table[:, 0].max() - table[:, 0].min()) * 100 + 1))
    count = (span + 2**15) % 2**16 - 2**15
    f0_hz = np.full(n_frames, np.nan)
    values = np.interp(np.arange(max(count, 0)), table[:, 0] * 100, table[:, 1])
    f0_hz[: len(values)] = values[:n_frames]
    return f0_hz


def test_rvc_reads_the_f0_back(tmp_path: Path):
    glide().write(tmp_path / "t.curve")
    found = rvc_curve(tmp_path / "t.curve", 200)
    # Half a thousandth by rounding; float32 times are off by up to 2e-5 of a frame, times 220 Hz at an edge
    np.testing.assert_allclose(found, glide().f0_hz, atol=0.006)
    assert (tmp_path / "t.curve").read_text().splitlines()[10] == "0.100000,117.895"


def test_the_longest_curve_that_rvc_counts(tmp_path: Path):
    n = 32_767
    whole = F0Track(np.arange(n) * 0.01, np.full(n, 220.0), np.ones(n), np.ones(n))
    whole.write(tmp_path / "t.curve")
    np.testing.assert_allclose(rvc_curve(tmp_path / "t.curve", n), 220.0)
    longer = F0Track(np.arange(n + 1) * 0.01, np.full(n + 1, 220.0), np.ones(n + 1), np.ones(n + 1))
    with pytest.raises(UserError, match=r"32768 frames.*cut the recording"):
        longer.write(tmp_path / "longer.curve")
    assert not (tmp_path / "longer.curve").exists()


def test_no_frames_are_one_unvoiced_line(tmp_path: Path):
    empty().write(tmp_path / "t.curve")
    assert rvc_curve(tmp_path / "t.curve", 3).tolist()[0] == 0.0


def test_what_rvc_would_misread_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="curve file has one line per 10 ms, not per 5 ms"):
        glide(hop_s=0.005).write(tmp_path / "t.curve")
    with pytest.raises(UserError, match=r"begins at 0\.5 s, and RVC takes"):
        glide()[50:].write(tmp_path / "t.curve")
    uneven = glide()
    uneven.time_s[3] += 0.004
    with pytest.raises(UserError, match="not evenly spaced, and RVC takes"):
        uneven.write(tmp_path / "t.curve")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "hop_s"), [("curve", 0.01), ("pitchtier", 0.01), ("pitchtier", 512 / 44100)])
def test_there_and_back(suffix: str, hop_s: float, tmp_path: Path):
    track = glide(200, hop_s)
    track.write(tmp_path / f"t.{suffix}")
    found = F0Track.read(tmp_path / f"t.{suffix}", hop_s)
    np.testing.assert_allclose(found.time_s, track.time_s, atol=1e-9)
    np.testing.assert_array_equal(found.voiced, track.voiced)
    np.testing.assert_allclose(found.f0_hz, track.f0_hz, atol=5.1e-4)  # three digits


def praat_points(path: Path) -> tuple[float, list[tuple[float, float]]]:
    """The end and the points of a PitchTier, by Praat itself."""
    parselmouth = pytest.importorskip("parselmouth")
    call: Any = parselmouth.praat.call
    tier = parselmouth.read(str(path))
    assert call(tier, "Get start time") == 0.0
    numbers = range(1, call(tier, "Get number of points") + 1)
    points = [(call(tier, "Get time from index", k), call(tier, "Get value at index", k)) for k in numbers]
    return call(tier, "Get end time"), points


def test_praat_reads_the_voiced_frames(tmp_path: Path):
    glide().write(tmp_path / "t.PitchTier")
    end_s, points = praat_points(tmp_path / "t.PitchTier")
    assert end_s == pytest.approx(1.99)
    expected = np.column_stack([glide().time_s, glide().f0_hz])[glide().voiced]
    np.testing.assert_allclose(points, expected, atol=5.1e-4)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_without_voice_praat_reads_no_point(n: int, tmp_path: Path):
    F0Track(np.arange(n) * 0.01, np.zeros(n), np.zeros(n), np.zeros(n)).write(tmp_path / "t.pitchtier")
    assert is_ours(tmp_path / "t.pitchtier", "pitchtier")
    assert is_complete(tmp_path / "t.pitchtier", "pitchtier")
    assert praat_points(tmp_path / "t.pitchtier") == (max(n - 1, 1) * 0.01, [])


@pytest.mark.parametrize("command", ["Save as text file", "Save as short text file"])
def test_what_praat_saved_is_read_but_is_not_ours(command: str, tmp_path: Path):
    parselmouth = pytest.importorskip("parselmouth")
    call: Any = parselmouth.praat.call
    path = tmp_path / "t.PitchTier"
    glide().write(path)
    assert is_complete(path, "pitchtier")
    tier = parselmouth.read(str(path))
    call(tier, "Add point", 0.6, 150.0)
    call(tier, command, str(path))
    assert not is_ours(path, "pitchtier")
    found = F0Track.read(path)
    assert found.f0_hz[60] == 150.0
    assert len(found) == 200
    assert found.voiced.sum() == glide().voiced.sum() + 1


HEAD = 'File type = "ooTextFile"\nObject class = "PitchTier"\n\nxmin = 0\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD.replace("PitchTier", "TextGrid") + "xmax = 1\npoints: size = 0\n", "no PitchTier that Praat saved"),
        (HEAD + "xmax = 1\npoints: size = 1\n", "as many points as it says"),
        (HEAD + "xmax = 1\npoints: size = 1\nnumber = 0.0123\nvalue = 220\n", "point at 0.0123 s is no frame"),
        (HEAD + "xmax = 1\npoints: size = 1\nnumber = 1.5\nvalue = 220\n", "point at 1.5 s is no frame"),
        (HEAD + "xmax = 1\npoints: size = 1\nnumber = -0.5\nvalue = 220\n", "point at -0.5 s is no frame"),
        (HEAD + "xmax = 1\npoints: size = 1\nnumber = 0.5\nvalue = -1\n", "point at 0.5 s is -1 Hz"),
        (HEAD + "xmax = 1\npoints: size = 1\nnumber = 0.5\nvalue = 1e9\n", "1 to 24000 Hz"),
        (HEAD + "xmax = 1e300\npoints: size = 0\n", "more than 10000000 frames"),
        (HEAD + "xmax = -3\npoints: size = 0\n", "ends at -3 s"),
    ],
)
def test_a_pitchtier_that_is_no_track(text: str, words: str, tmp_path: Path):
    (tmp_path / "t.PitchTier").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"t\.PitchTier is no PitchTier file of an f0 track: .*{words}"):
        F0Track.read(tmp_path / "t.PitchTier")


@pytest.mark.parametrize("text", ["time,f0\n0,220\n", "0 220\n", "0,220,1\n", "0.0,220\n0.0,221\n", ""])
def test_a_curve_that_is_no_track(text: str, tmp_path: Path):
    (tmp_path / "t.curve").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.curve is no curve file of an f0 track"):
        F0Track.read(tmp_path / "t.curve")


@given(st.lists(st.booleans(), max_size=60), st.sampled_from([0.005, 0.01, 512 / 44100, 0.02]))
def test_a_pitchtier_keeps_every_frame(tmp_path_factory: pytest.TempPathFactory, voicing: list[bool], hop_s: float):
    voiced = np.array(voicing, dtype=bool)
    track = F0Track(np.arange(len(voiced)) * hop_s, np.where(voiced, 300.0, 0.0), voiced, voiced)
    path = tmp_path_factory.getbasetemp() / "t.pitchtier"
    track.write(path)
    assert is_complete(path, "pitchtier")
    found = F0Track.read(path, hop_s)
    assert found.voiced[: len(voiced)].tolist() == voicing
    assert not found.voiced[len(voiced) :].any()
