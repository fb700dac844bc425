"""Pictures: whole or absent, for any audio, without touching pyplot."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.errors import UserError
from rmvpe.plot import LOWEST_HZ, draw, is_our_picture, log_frequency_picture, mark, plot_track
from rmvpe.track import F0Track

pytest.importorskip("matplotlib")


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
