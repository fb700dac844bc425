"""F0Track: files there and back, other hops, gaps."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rmvpe.errors import UserError
from rmvpe.track import FIELDS, WRITERS, F0Track
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


def test_a_slice_keeps_its_times():
    track = glide()
    part, thinned = track[100:120], track[20:40:4]
    assert len(part) == 20
    np.testing.assert_array_equal(part.time_s, track.time_s[100:120])
    np.testing.assert_array_equal(thinned.f0_hz, track.f0_hz[20:40:4])
    assert thinned.hop_s == pytest.approx(0.04)
    assert len(track[300:]) == 0
    for wrong in (5, (1, 2), slice(None, None, -1)):
        with pytest.raises(UserError):
            track[wrong]  # type: ignore[index]
    with pytest.raises(TypeError):
        iter(track)  # type: ignore[call-overload]


def test_a_slice_is_resampled_from_its_own_first_time():
    part = glide()[100:120]
    new = part.resampled(0.005)
    np.testing.assert_allclose(new.time_s, 1.0 + 0.005 * np.arange(39), rtol=1e-12)
    np.testing.assert_allclose(new.f0_hz, 110.0 * 2**new.time_s, rtol=1e-9)
    assert new.voiced.all()


@pytest.mark.parametrize("name", ["npy", "pv"])
def test_a_format_without_times_refuses_what_does_not_begin_at_0(name: str, tmp_path: Path):
    with pytest.raises(UserError, match=rf"begins at 1 s, and a {name} file has no times: choose csv or npz"):
        glide()[100:].write(tmp_path / f"t.{name}")
    gap = F0Track(*(np.delete(getattr(glide(), field), 3) for field in FIELDS))
    with pytest.raises(UserError, match=r"not evenly spaced|10 ms, not per"):
        gap.write(tmp_path / f"t.{name}")
    assert not list(tmp_path.iterdir())
    for other in ("csv", "npz"):
        glide()[100:].write(tmp_path / f"t.{other}")
        np.testing.assert_allclose(F0Track.read(tmp_path / f"t.{other}").time_s, glide().time_s[100:], atol=1e-6)


def test_equal_tracks_have_equal_values():
    assert glide() == glide()
    assert glide()[:30] == glide(100)[:30]
    assert glide() != glide(150)
    assert glide() != glide(hop_s=0.02)
    assert glide() != "a track"
    with pytest.raises(TypeError, match="unhashable"):
        hash(glide())


def test_a_track_in_a_line():
    assert repr(glide()) == "F0Track(200 frames, 0.00 to 1.99 s, 75% voiced, median 227.0 Hz)"
    assert repr(glide()[100:120]) == "F0Track(20 frames, 1.00 to 1.19 s, 100% voiced, median 235.0 Hz)"
    assert repr(glide(5)) == "F0Track(5 frames, 0.00 to 0.04 s, 0% voiced)"
    assert repr(empty()) == "F0Track(0 frames)"


@pytest.mark.parametrize("n", [0, 1, 5, 200, 5000])
def test_html_is_sound_and_small(n: int):
    import xml.etree.ElementTree as ElementTree

    track = F0Track(np.arange(n) * 0.01, np.full(n, 200.0), np.arange(n) % 50 > 9, np.ones(n))
    tree = ElementTree.fromstring(track._repr_html_())
    lines = tree.findall(".//{*}polyline")
    assert bool(lines) == bool(track.voiced.any())
    assert len(lines) <= 100  # one for each voiced run
    assert len(track._repr_html_()) < 40_000
    assert "200 Hz" in track._repr_html_() or not lines


def test_the_picture_in_html_shows_the_f0():
    """A glide upward is a line from the lower left to the upper right."""
    track = F0Track(np.arange(100) * 0.01, np.geomspace(100, 400, 100), np.ones(100), np.ones(100))
    (points,) = re.findall(r'points="([^"]*)"', track._repr_html_())
    x, y = np.array([pair.split(",") for pair in points.split()], dtype=float).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) < 0).all()
    assert x[0] < 60 < 600 < x[-1] < 640


def test_lists_and_tables():
    pandas = pytest.importorskip("pandas")
    track = glide()
    lists = json.loads(json.dumps(track.to_dict()))
    assert list(lists) == list(FIELDS)
    assert F0Track(**lists) == track
    frame = track.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(FIELDS)
    np.testing.assert_array_equal(frame["f0_hz"].to_numpy(), track.f0_hz)


def test_a_plot_into_given_axes_leaves_pyplot_alone():
    pytest.importorskip("matplotlib")
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    pyplot.switch_backend("agg")
    before = pyplot.get_fignums()
    axes = Figure().subplots()
    assert glide().plot(axes) is axes
    assert pyplot.get_fignums() == before
    (line,) = axes.get_lines()
    drawn = np.asarray(line.get_ydata(), dtype=float)
    np.testing.assert_array_equal(drawn[np.isfinite(drawn)], glide().f0_hz[glide().voiced])
    made = glide().plot()
    assert len(pyplot.get_fignums()) == len(before) + 1
    pyplot.close(pyplot.get_fignums()[-1])
    assert made is not axes
    empty().plot(axes)
    glide(5).plot(axes)


def test_the_sound_of_a_track_has_its_pitch():
    track = F0Track(np.arange(100) * 0.01, np.full(100, 440.0), np.arange(100) >= 50, np.ones(100))
    sound = track.sonify(8000)
    assert sound.shape == (8000,)
    assert np.abs(sound[:3800]).max() < 1e-6
    loud = sound[4200:7800]
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(np.sqrt(0.5), rel=0.1)
    assert np.abs(np.fft.rfft(loud)).argmax() * 8000 / len(loud) == pytest.approx(440.0, abs=2.3)
    assert len(track[50:].sonify(8000)) == 4000
    assert not glide(5).sonify().any()
    assert len(empty().sonify()) == 0


@pytest.mark.parametrize(
    ("call", "package"),
    [("to_dataframe()", "pandas"), ("plot()", "matplotlib")],
)
def test_a_missing_library_is_one_sentence(call: str, package: str, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"{package}, which is not installed: run pip install {package}"):
        getattr(glide(), call.removesuffix("()"))()


HEADER = "time_s,f0_hz,voiced,confidence\n"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0,100,1\n", "columns"),
        ("0,nan,0,0\n", "f0_hz nan is not a finite number"),
        ("0,inf,1,1\n", "f0_hz inf is not a finite number"),
        ("0,-100,1,1\n", "f0_hz -100 is neither 0 nor from 1"),
        ("0,1e9,1,1\n", r"f0_hz 1e\+09 is neither 0 nor from 1"),
        ("0,100,2,1\n", "voiced 2 is not 0 or 1"),
        ("0,100,1,7\n", "confidence 7 is not between 0 and 1"),
        ("0,0,1,1\n", "f0_hz 0 is no pitch, but the frame is voiced"),
        ("0.01,100,1,1\n0,100,1,1\n", "in frame 1, time_s 0 does not come after"),
        ("0,100,1,1\n0,100,1,1\n", "in frame 1, time_s 0 does not come after"),
        ("0,100,yes,1\n", "could not convert"),
    ],
)
def test_a_csv_that_holds_no_track(rows: str, words: str, tmp_path: Path):
    (tmp_path / "t.csv").write_text(HEADER + rows)
    with pytest.raises(UserError, match=rf"t\.csv is no csv file of an f0 track: .*{words}"):
        F0Track.read(tmp_path / "t.csv")


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"), "claims 1000000000000 numbers"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), "claims -1 numbers"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"x" * 8), "pickled objects"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }", b"\0" * 8), r"shape \[1, 2\]"),
        (npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8), "holds <U2"),
        (npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8), "holds complex64"),
        (npy("(" * 60), ""),
        (npy("{'descr': '<f4'}"), ""),
        (b"\x93NUMPY\x09\x00", ""),
    ],
)
def test_an_odd_npy_header_is_one_sentence(content: bytes, words: str, tmp_path: Path):
    (tmp_path / "t.npy").write_bytes(content)
    with pytest.raises(UserError, match=rf"t\.npy is no npy file of an f0 track: .*{words}"):
        F0Track.read(tmp_path / "t.npy")


def test_an_npz_that_unpacks_to_more_is_refused(tmp_path: Path):
    np.savez(tmp_path / "t.npz", time_s=np.arange(3.0), f0_hz=np.zeros(3), voiced=np.zeros(3), confidence=np.zeros(2))
    with pytest.raises(UserError, match=r"t\.npz .*confidence has the shape \[2\], not \[3\]"):
        F0Track.read(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", time_s=np.arange(3.0), f0_hz=np.zeros(3))
    with pytest.raises(UserError, match=r"t\.npz .*it has no voiced, confidence"):
        F0Track.read(tmp_path / "t.npz")
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FIELDS:
            archive.writestr(f"{name}.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"))
    with pytest.raises(UserError, match="claims 99999999999 numbers"):
        F0Track.read(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("line", "words"), [("440", "line 1 is 440, which is no MIDI number"), ("-1", "-1"), ("nan", "nan")]
)
def test_a_pv_of_other_numbers(line: str, words: str, tmp_path: Path):
    (tmp_path / "t.pv").write_text(f"{line}\n")
    with pytest.raises(UserError, match=rf"t\.pv .*{words}"):
        F0Track.read(tmp_path / "t.pv")


@pytest.mark.parametrize("hop_s", [5, 10.0, 1.01])
def test_a_hop_in_milliseconds_is_told(hop_s: float):
    with pytest.raises(UserError, match=rf"hop_s is in seconds \(hop_s={hop_s / 1000:g} is {hop_s:g} ms\)"):
        glide().resampled(hop_s)
    with pytest.raises(UserError, match="hop_s must be a number of seconds"):
        glide().resampled("10")  # type: ignore[arg-type]
