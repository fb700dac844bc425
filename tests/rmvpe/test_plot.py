"""Pictures: whole or absent, for any audio, without touching pyplot."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.errors import UserError
from rmvpe.notes.note import Note
from rmvpe.pictures.file import is_our_picture, mark
from rmvpe.pictures.panels import MAX_F0_POINTS, line_points
from rmvpe.pictures.rows import MAX_ROWS, row_seconds
from rmvpe.pictures.spectrogram import LOWEST_HZ, log_frequency_picture
from rmvpe.pictures.theme import theme_named
from rmvpe.plot import draw, plot_track
from rmvpe.track import F0Track

pytest.importorskip("matplotlib")
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def voice(seconds: float) -> tuple[np.ndarray, F0Track]:
    """Ten harmonics of a vibrato around 220 Hz, with a pause, and its track."""
    time = np.arange(int(seconds * 16000)) / 16000
    f0_hz = 220 * 2 ** (0.05 * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(f0_hz) / 16000
    sound = sum(np.sin(k * phase) / k for k in range(1, 11)) * 0.2 * ((time < 1) | (time > 1.5))
    frames = np.arange(len(time) // 160 + 1) * 0.01
    voiced = (frames < 1) | (frames > 1.5)
    f0_frames = f0_hz[np.minimum(np.arange(len(frames)) * 160, max(len(time) - 1, 0))] if len(time) else np.zeros(1)
    return np.asarray(sound), F0Track(frames, f0_frames * voiced, voiced, np.where(voiced, 0.8, 0.1))


@pytest.mark.parametrize("ending", ["png", "PNG", "svg", "pdf"])
def test_a_picture_is_written(ending: str, tmp_path: Path):
    plot_track(*voice(2.0), tmp_path / f"voice.{ending}", title="a voice")
    content = (tmp_path / f"voice.{ending}").read_bytes()
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert content.startswith(starts[ending.lower()])
    assert [path.name for path in tmp_path.iterdir()] == [f"voice.{ending}"]


def test_a_picture_needs_no_pyplot(tmp_path: Path):
    """No window, no global state; in a process of its own, because other tests use pyplot."""
    code = f"""
import sys, numpy as np
from rmvpe.plot import plot_track
from rmvpe.track import F0Track
plot_track(np.zeros(1600), F0Track(np.arange(11) * 0.01, *np.zeros((3, 11))), {str(tmp_path / "a.png")!r})
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


@pytest.mark.parametrize("n", [0, 1, 100, 5000])
def test_any_audio_can_be_drawn(n: int, tmp_path: Path):
    frames = n // 160 + 1 if n else 0
    track = F0Track(np.arange(frames) * 0.01, *np.zeros((3, frames)))
    for sound in (np.zeros(n), np.full(n, 0.5)):
        plot_track(sound, track, tmp_path / "few.png")
    assert (tmp_path / "few.png").stat().st_size > 1000


def test_the_picture_shows_a_tone_at_its_frequency_and_time():
    time = np.arange(32000) / 16000
    sound = 0.5 * np.sin(2 * np.pi * 880 * time) * (time > 1)
    picture, step_s = log_frequency_picture(sound)
    assert picture[:, int(0.5 / step_s)].max() < picture[:, int(1.5 / step_s)].max() - 5
    row = picture[:, int(1.5 / step_s)].argmax()
    rows_hz = np.geomspace(LOWEST_HZ, 5000.0, len(picture))
    assert rows_hz[row] == pytest.approx(880, rel=0.02)


def test_long_audio_keeps_the_picture_small():
    picture, step_s = log_frequency_picture(np.zeros(16000 * 300, dtype=np.float32), max_columns=500)
    assert picture.shape[1] <= 500
    assert picture.shape[1] * step_s == pytest.approx(300, rel=0.01)


def test_a_column_of_long_audio_is_the_same_moment_of_short_audio():
    """Where the windows of two columns do not touch, only what lies under them is read."""
    sound = np.random.default_rng(0).standard_normal(16_000 * 60).astype(np.float32)
    few, step_s = log_frequency_picture(sound, max_columns=100)
    assert step_s * 16_000 > 2048
    every, short_s = log_frequency_picture(sound, max_columns=10_000)
    columns = np.round(np.arange(few.shape[1]) * step_s / short_s).astype(int)
    np.testing.assert_allclose(few, every[:, columns], rtol=1e-5)


def test_both_panels_share_the_time_axis():
    sound, track = voice(2.0)
    upper, lower = draw(sound, track, "title").axes
    assert upper.get_xlim() == lower.get_xlim() == (0.0, 2.0)
    assert upper.get_title(loc="left") == "title"


def test_what_cannot_be_drawn_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match=r"voice\.csv is not a picture file: .* \.png"):
        plot_track(*voice(0.1), tmp_path / "voice.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        plot_track(*voice(0.1), tmp_path / "file" / "voice.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install matplotlib"):
        plot_track(*voice(0.1), tmp_path / "voice.png")


@pytest.mark.parametrize("ending", ["png", "PNG", "svg", "pdf"])
def test_our_pictures_are_known_by_their_mark_and_others_are_not(ending: str, tmp_path: Path):
    ours, foreign = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    plot_track(*voice(0.5), ours, title="(rmvpe) \u65e5\u672c /Info 1 0 R")
    assert is_our_picture(ours)
    draw(*voice(0.5), "rmvpe Software /Creator (rmvpe) <dc:title>rmvpe</dc:title>").savefig(foreign)
    assert not is_our_picture(foreign)


def test_pictures_with_other_marks_are_not_ours(tmp_path: Path):
    figure = draw(*voice(0.1))
    for ending in ("png", "svg", "pdf"):
        for text in ("RMVPE", "rmvpe2", "my rmvpe", ""):
            figure.savefig(tmp_path / f"a.{ending}", metadata=dict.fromkeys(mark(f"a.{ending}"), text))
            assert not is_our_picture(tmp_path / f"a.{ending}"), text


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_damaged_pictures_never_fail(ending: str, tmp_path: Path):
    path = tmp_path / f"a.{ending}"
    plot_track(*voice(0.1), path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content[: int(rng.integers(len(content)))] if rng.random() < 0.5 else content)
        for place in rng.integers(max(len(damaged), 1), size=8):
            damaged[place : place + 1] = rng.bytes(1)
        damaged[-60:] = bytes(damaged[-60:]).replace(b"startxref\n", b"startxref\n9999")
        path.write_bytes(damaged)
        assert is_our_picture(path) in (True, False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_what_is_no_picture_is_not_ours(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "text.png").write_text("tEXtSoftware\0rmvpe /Creator (rmvpe)")
    (tmp_path / "empty.png").touch()
    for name in ("fifo.png", "text.png", "empty.png", "absent.png", ".", "nul\0.png"):
        assert not is_our_picture(tmp_path / name), name


def test_the_mark_is_read_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plot_track(*voice(0.1), tmp_path / "a.png")
    for name in ("matplotlib", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    assert is_our_picture(tmp_path / "a.png")


def test_a_title_that_is_too_long_for_a_line_is_whole(tmp_path: Path):
    sound, track = voice(0.5)
    name = "\u65e5\u672c $x^2$ " * 20
    title = draw(sound, track, name).axes[0].get_title(loc="left")
    assert "\n" in title
    assert title.replace("\n", "").replace("\u25a1\u25a1", "\u65e5\u672c") == name


def labels_of(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_notes_are_a_panel_of_their_own_with_the_f0_over_them():
    sound, track = voice(2.0)
    notes = [Note(0.0, 1.0, 57.0), Note(1.5, 2.0, 58.0)]
    upper, roll, lower = draw(sound, track, notes=notes).axes
    assert [text.get_text() for text in roll.texts] == ["A3", "A#3"]
    assert {"C3", "G3", "C4"} <= {label.get_text() for label in roll.get_yticklabels()}
    assert any(len(np.asarray(line.get_xdata())) > 100 for line in roll.lines)
    assert upper.get_xlim() == roll.get_xlim() == lower.get_xlim()
    assert upper.get_title(loc="right").endswith("2 notes")
    assert len(draw(sound, track, notes=[]).axes) == 3
    assert len(draw(sound, track).axes) == 2


def test_the_threshold_is_a_line_at_its_height_and_the_hysteresis_a_second_one():
    def levels(figure: Figure) -> dict[float, str]:
        lines = [line for line in figure.axes[-1].lines if len(np.asarray(line.get_xdata())) == 2]
        return {round(float(np.asarray(line.get_ydata())[0]), 6): str(line.get_linestyle()) for line in lines}

    assert levels(draw(*voice(2.0))) == {}
    assert levels(draw(*voice(2.0), threshold=0.61)) == {0.61: "--"}
    figure = draw(*voice(2.0), threshold=0.61, hysteresis=0.1)
    assert levels(figure) == {0.61: "--", 0.51: ":"}
    assert [text.get_text() for text in figure.texts] == ["dashed: threshold 0.61, dotted: voiced runs end at 0.51"]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_theme_gives_every_colour(theme: str, tmp_path: Path):
    from matplotlib.colors import to_hex, to_rgb
    from matplotlib.image import imread

    colours = theme_named(theme)
    figure = draw(*voice(2.0), notes=[Note(0.0, 1.0, 57.0)], theme=theme, threshold=0.5)
    assert to_hex(figure.get_facecolor()) == colours.paper
    for axes in figure.axes:
        assert to_hex(axes.get_facecolor()) == colours.paper
    (line,) = (line for line in figure.axes[0].lines if line.get_color() == colours.f0)
    assert len(np.asarray(line.get_xdata())) > 100
    plot_track(*voice(2.0), tmp_path / "a.png", theme=theme)
    np.testing.assert_allclose(imread(tmp_path / "a.png")[0, 0, :3], to_rgb(colours.paper), atol=0.002)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_silence_has_the_colour_of_the_paper(theme: str, tmp_path: Path):
    from matplotlib.image import imread

    frames = np.arange(201) * 0.01
    plot_track(np.zeros(32_000), F0Track(frames, *np.zeros((3, 201))), tmp_path / "a.png", theme=theme)
    picture = imread(tmp_path / "a.png")[:, :, :3]
    height, width = picture.shape[:2]
    inside = picture[height // 4 : height // 2, width // 4 : 3 * width // 4].reshape(-1, 3)
    # Most of it: the lines of the Cs are drawn over it
    assert np.mean(np.abs(inside - picture[0, 0]).max(axis=1) < 0.01) > 0.95


def test_an_unknown_theme_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="'blue' is no theme"):
        plot_track(*voice(0.1), tmp_path / "a.png", theme="blue")
    assert not list(tmp_path.iterdir())


def test_long_audio_has_rows_in_minutes_and_seconds():
    sound, track = voice(75.0)
    figure = draw(sound, track, "75 s", notes=[Note(0.0, 1.0, 57.0), Note(29.8, 30.5, 58.0), Note(70.0, 71.0, 60.0)])
    rows = figure.axes[::2]
    assert [axes.get_xlim() for axes in rows] == [(0.0, 30.0), (30.0, 60.0), (60.0, 75.0)]
    assert labels_of(figure.axes[3])[:2] == ["0:30", "0:35"]
    assert [[text.get_text() for text in axes.texts] for axes in rows] == [["A3", "A#3"], [], ["C4"]]
    # The last row is at the scale of the others
    first, last = rows[0].get_position(), rows[2].get_position()
    assert last.width == pytest.approx(first.width / 2)


def test_short_audio_is_in_seconds():
    axes = draw(*voice(5.0)).axes[-1]
    assert labels_of(axes) == ["0", "0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5"]
    assert axes.get_xlabel() == "time (s)"


@pytest.mark.parametrize("duration_s", [40.1, 600.0, 601.0, 3600.0, 86_400.0, 1e6])
def test_rows_are_never_more_than_twenty(duration_s: float):
    assert 1 <= np.ceil(duration_s / row_seconds(duration_s)) <= MAX_ROWS
    assert row_seconds(600.0) == 30.0
    assert row_seconds(3600.0) == 180.0


def test_an_hour_is_a_picture_of_bounded_size(tmp_path: Path):
    from matplotlib.image import imread

    time_s = np.arange(360_001) * 0.01
    voiced = time_s % 1 < 0.8
    f0_hz = np.where(voiced, 220 * 2 ** (np.floor(time_s) % 5 / 12), 0.0)
    track = F0Track(time_s, f0_hz, voiced, np.where(voiced, 0.9, 0.1))
    notes = [Note(k, k + 0.8, 57.0 + k % 5) for k in range(3600)]
    for ending, most in (("png", 6_000_000), ("svg", 12_000_000)):
        path = tmp_path / f"hour.{ending}"
        plot_track(np.zeros(3600 * 16_000, dtype=np.float32), track, path, notes=notes, threshold=0.5)
        assert path.stat().st_size < most
    height, width = imread(tmp_path / "hour.png").shape[:2]
    assert width == 1650
    assert height < 8000


def test_the_f0_of_a_long_row_is_thinned_and_keeps_its_pitch_and_pauses():
    time_s = np.arange(100_000) * 0.01
    voiced = time_s % 10 < 5
    track = F0Track(time_s, np.where(voiced, 330.0, 0.0), voiced, np.ones(100_000))
    points_s, octaves = line_points(track)
    assert len(points_s) <= MAX_F0_POINTS
    np.testing.assert_allclose(octaves[np.isfinite(octaves)], np.log2(330.0))
    assert np.isfinite(octaves).mean() == pytest.approx(0.5, abs=0.05)


def test_where_only_the_track_is_known_there_is_no_spectrogram():
    _, track = voice(2.0)
    for notes in (None, [Note(0.0, 1.0, 57.0)]):
        roll, lower = draw(None, track, notes=notes).axes
        assert not roll.images
        assert any(len(np.asarray(line.get_xdata())) > 100 for line in roll.lines)
        assert lower.get_xlim() == (0.0, 2.0)
    _, track = voice(50.0)
    assert not any(axes.images for axes in draw(None, track).axes)
    assert any(axes.images for axes in draw(*voice(50.0)).axes)
    draw(None, F0Track(*np.zeros((4, 0))))


def test_rows_of_more_than_a_minute_have_neither_spectrogram_nor_names():
    time_s = np.arange(0, 1500, 0.1)
    track = F0Track(time_s, np.full(len(time_s), 220.0), np.ones(len(time_s)), np.ones(len(time_s)))
    for duration_s, is_detailed in ((1100, True), (1300, False)):
        figure = draw(np.zeros(16_000 * duration_s), track, notes=[Note(3.0, 4.0, 57.0)])
        assert bool(figure.axes[0].images) == is_detailed
        assert len(figure.axes[0].texts) == is_detailed
