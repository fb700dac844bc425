"""Tones of f0 and of notes: their pitch, when they are heard, no clicks; the stereo file beside a recording."""

from pathlib import Path

import numpy as np
import pytest

from rmvpe.audio import find_audio
from rmvpe.errors import UserError
from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes
from rmvpe.ownership import is_complete, is_ours
from rmvpe.sonify import TONE_RMS, tone_of_notes, tone_of_track, write_beside
from rmvpe.track import F0Track

RATE = 16_000


def track(f0_hz: np.ndarray, voiced: np.ndarray, time_s: np.ndarray | None = None) -> F0Track:
    times = np.arange(len(f0_hz)) * 0.01 if time_s is None else time_s
    return F0Track(times, np.where(voiced, f0_hz, 0.0), voiced, np.ones(len(f0_hz)))


def pitch_hz(sound: np.ndarray, rate: int = RATE) -> float:
    """The strongest frequency, to a tenth of a hertz."""
    padded = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 10 * rate))
    return float(padded.argmax()) / 10


def steepest(sound: np.ndarray) -> float:
    return float(np.abs(np.diff(sound)).max())


def test_a_tone_has_the_pitch_where_voiced_and_is_silent_elsewhere():
    voiced = (np.arange(300) < 100) | (np.arange(300) >= 200)
    sound = track(np.where(np.arange(300) < 150, 220.0, 330.0), voiced).sonify(RATE)
    assert len(sound) == 48_000
    assert pitch_hz(sound[2000:14_000]) == pytest.approx(220.0, abs=0.1)
    assert pitch_hz(sound[34_000:46_000]) == pytest.approx(330.0, abs=0.1)
    assert not sound[16_000:31_900].any()
    assert np.abs(sound).max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_nothing_clicks(rate: int):
    """From sample to sample the tone moves no further than its own frequency and its fades need."""
    rng = np.random.default_rng(0)
    f0_hz = 300.0 * 2.0 ** np.cumsum(rng.uniform(-0.03, 0.03, 400))
    f0_hz[200:] *= 2.0  # an octave in one frame
    sound = track(f0_hz, rng.uniform(size=400) > 0.1).sonify(rate)
    fade = np.pi / 2 / (0.005 * rate)
    assert steepest(sound) < 2 * np.pi * f0_hz.max() / rate + fade
    assert abs(sound[0]) < 1e-9
    assert abs(sound[-1]) < fade


def test_a_gap_in_the_times_is_silent():
    time_s = np.concatenate([np.arange(100) * 0.01, 3.0 + np.arange(100) * 0.01])
    sound = track(np.full(200, 220.0), np.ones(200, bool), time_s).sonify(RATE)
    assert len(sound) == 64_000
    assert not sound[16_100:47_900].any()
    assert sound[:15_000].std() == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert sound[49_000:63_000].std() == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_notes_are_heard_from_onset_to_offset_at_their_pitch():
    notes = Notes((Note(0.5, 1.0, 69.0), Note(1.0, 1.5, 69.5), Note(2.0, 2.5, 57.0)))
    sound = notes.sonify(RATE)
    assert len(sound) == 40_000
    for first, hz in ((8000, 440.0), (16_000, 440.0 * 2 ** (0.5 / 12)), (32_000, 220.0)):
        assert pitch_hz(sound[first + 200 : first + 7800]) == pytest.approx(hz, abs=0.1)
    assert not sound[:8000].any()
    assert not sound[24_001:32_000].any()
    assert steepest(sound) < 2 * np.pi * 453.0 / RATE + np.pi / 2 / 80
    assert len(Notes().sonify()) == 0


def test_the_file_has_the_recording_left_and_the_tone_right(tmp_path: Path):
    soundfile = pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    samples = (0.05 * rng.standard_normal(48_000)).astype(np.float32)
    samples[:24_000] *= 0.02  # where the tone is not heard
    path = tmp_path / "a.sonified.wav"
    write_beside(samples, tone_of_track(track(np.full(300, 220.0), np.arange(300) >= 150)), path)
    sound, rate = soundfile.read(path)
    assert rate == RATE
    assert sound.shape == (48_000, 2)
    np.testing.assert_allclose(sound[:, 0], samples, atol=1 / 32_768)
    assert not sound[:23_900, 1].any()
    assert sound[24_500:, 1].std() == pytest.approx(sound[24_500:, 0].std(), rel=0.03)
    assert pitch_hz(sound[24_500:, 1]) == pytest.approx(220.0, abs=0.1)


@pytest.mark.parametrize("gain", [0.0, 1e-5, 8.0])
def test_no_side_drowns(gain: float, tmp_path: Path):
    """Silence has a tone that is heard; sound above full scale is not clipped, and the tone follows it."""
    soundfile = pytest.importorskip("soundfile")
    time_s = np.arange(16_000) / RATE
    samples = (gain * np.sin(2 * np.pi * 100 * time_s)).astype(np.float32)
    write_beside(samples, tone_of_notes([Note(0.0, 1.0, 60.0)]), tmp_path / "a.wav")
    sound, _ = soundfile.read(tmp_path / "a.wav")
    left, right = sound.std(axis=0)
    assert np.abs(sound).max() <= 1.0
    if gain > 1:
        np.testing.assert_allclose(sound[:, 0], samples / gain, atol=1e-3)
        assert right == pytest.approx(TONE_RMS[1] / gain, rel=0.05)
    else:
        assert left < 1e-4
        assert right == pytest.approx(TONE_RMS[0], rel=0.05)


def test_blocks_have_no_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("soundfile")
    sung = tone_of_track(track(np.linspace(200.0, 400.0, 200), np.arange(200) % 50 > 5))
    samples = np.full(32_000, 0.1, np.float32)
    write_beside(samples, sung, tmp_path / "whole.wav")
    monkeypatch.setattr("rmvpe.sonify.BLOCK", 777)
    write_beside(samples, sung, tmp_path / "parts.wav")
    assert (tmp_path / "whole.wav").read_bytes() == (tmp_path / "parts.wav").read_bytes()


def test_no_voice_and_no_samples(tmp_path: Path):
    soundfile = pytest.importorskip("soundfile")
    silent = tone_of_track(track(np.zeros(10), np.zeros(10, bool)))
    for n_samples in (0, 1600):
        write_beside(np.full(n_samples, 0.1, np.float32), silent, tmp_path / "a.wav")
        sound, _ = soundfile.read(tmp_path / "a.wav", always_2d=True)
        assert sound.shape == (n_samples, 2)
        assert not sound[:, 1].any()


def test_our_file_is_known_and_no_recording_is(tmp_path: Path):
    soundfile = pytest.importorskip("soundfile")
    ours, cut, other = tmp_path / "song.sonified.wav", tmp_path / "cut.wav", tmp_path / "other.sonified.wav"
    write_beside(np.full(16_000, 0.1, np.float32), tone_of_notes([Note(0.0, 1.0, 60.0)]), ours)
    cut.write_bytes(ours.read_bytes()[:20_000])
    soundfile.write(other, np.zeros((16_000, 2)), RATE)
    assert is_complete(ours, "sound")
    assert is_ours(cut, "sound")
    assert not is_complete(cut, "sound")
    assert not is_ours(other, "sound")
    assert [file.path for file in find_audio([tmp_path])] == [other]
    assert [file.path for file in find_audio([ours])] == [ours]  # named by the user: read


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    pytest.importorskip("soundfile")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*a\.wav"):
        write_beside(np.zeros(10, np.float32), tone_of_notes([]), tmp_path / "file" / "a.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
