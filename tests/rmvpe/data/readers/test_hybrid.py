"""The Hybrid folder: conventions of the files, lazy excerpts, and one clear sentence for each kind of bad input."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.readers.base import read_mono
from rmvpe.data.readers.hybrid import Hybrid, write_hybrid_pair
from rmvpe.data.readers.labels import read_label
from rmvpe.errors import UserError

RATE = 16_000


def _sine(seconds: float, hz: float, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One stereo item of 1 s: voice 220 Hz, accompaniment 1000 Hz, labels counting up from time 0."""
    f0_hz = np.where(np.arange(101) < 50, 100.0 + np.arange(101), 0.0)
    write_hybrid_pair(tmp_path / "train", "song", _sine(1, 220), 0.1 * _sine(1, 1000), f0_hz)
    return tmp_path


def _edit(root: Path, text: str) -> None:
    (root / "train" / "song.pv").write_text(text, encoding="utf-8")


def test_line_k_is_k_times_10_ms(root: Path) -> None:
    lines = (root / "train" / "song.pv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 100
    # Frame 1 (10 ms) is the first line: MIDI of 101 Hz, with at least four decimals.
    assert float(lines[0]) == pytest.approx(69 + 12 * np.log2(101 / 440), abs=1e-5)
    assert len(lines[0].split(".")[1]) >= 4
    assert lines[-1] == "0"
    item = Hybrid(root, "train")[0]
    np.testing.assert_allclose(item.time_s, 0.01 * np.arange(1, 101))
    # Five decimals of a semitone are 1e-3 cents, 6e-7 of f0.
    np.testing.assert_allclose(item.f0_hz[:49], 100.0 + np.arange(1, 50), rtol=1e-6)
    assert not item.f0_hz[49:].any()
    assert item.f0_hz.dtype == np.float32
    assert item.time_s.dtype == np.float64


def test_channel_0_is_the_accompaniment(root: Path) -> None:
    audio, rate = soundfile.read(root / "train" / "song.wav")
    assert rate == RATE
    assert np.abs(audio[:, 1]).max() > 5 * np.abs(audio[:, 0]).max()
    item = Hybrid(root, "train")[0]
    assert item.name == "song"
    # One step of 16 bits.
    np.testing.assert_allclose(item.voice, _sine(1, 220), atol=2**-15)
    assert item.accompaniment is not None
    np.testing.assert_allclose(item.accompaniment, 0.1 * _sine(1, 1000), atol=2**-15)
    assert item.voice.dtype == item.accompaniment.dtype == np.float32


def test_a_mono_file_is_the_voice_alone(tmp_path: Path) -> None:
    write_hybrid_pair(tmp_path / "train", "solo", _sine(0.5, 220), None, np.full(51, 220.0))
    item = Hybrid(tmp_path, "train")[0]
    assert item.accompaniment is None
    assert len(item.voice) == RATE // 2


def test_flac_and_other_rates_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "valid"
    folder.mkdir()
    soundfile.write(folder / "other.flac", _sine(1, 220, 44_100), 44_100)
    (folder / "other.pv").write_text("57\n" * 100, encoding="utf-8")
    data = Hybrid(tmp_path, "valid")
    voice = data[0].voice
    assert len(voice) == RATE
    # The ends carry the resampler's transients.
    np.testing.assert_allclose(voice[400:-400], _sine(1, 220)[400:-400], atol=1e-3)
    assert len(data.read_excerpt(0, 0.25, 0.5).voice) == RATE // 2


def test_excerpts_are_slices_of_the_item(root: Path) -> None:
    data = Hybrid(root, "train")
    whole, part = data[0], data.read_excerpt(0, 0.3, 0.2)
    np.testing.assert_array_equal(part.voice, whole.voice[4800:8000])
    assert part.accompaniment is not None
    assert whole.accompaniment is not None
    np.testing.assert_array_equal(part.accompaniment, whole.accompaniment[4800:8000])
    # Time 0.3 s is line 30, entry 29; 0.5 s is entry 49.
    np.testing.assert_array_equal(part.f0_hz, whole.f0_hz[29:50])
    np.testing.assert_allclose(part.time_s, 0.01 * np.arange(21), atol=1e-9)
    # 0.304 s to 0.496 s lie within the points 0.30 s and 0.50 s
    np.testing.assert_allclose(data.read_excerpt(0, 0.304, 0.192).time_s, 0.01 * np.arange(21) - 0.004, atol=1e-9)
    assert data.read_excerpt(0, 0.0, 0.2).time_s[0] == pytest.approx(0.01)
    assert len(data.read_excerpt(0, 0.9, 0.5).voice) == RATE // 10
    with pytest.raises(ValueError, match=r"song\.wav has no sound at 1\.5 s"):
        data.read_excerpt(0, 1.5, 0.1)


def test_items_come_sorted_by_name(root: Path) -> None:
    write_hybrid_pair(root / "train", "aria", _sine(0.5, 220), None, np.zeros(51))
    data = Hybrid(root, "train")
    assert [data[index].name for index in range(len(data))] == ["aria", "song"]
    assert data.name(1) == "song"
    assert data.duration_s(0) == 0.5
    data.check()


def test_a_missing_label_is_named(root: Path) -> None:
    (root / "train" / "song.pv").unlink()
    with pytest.raises(FileNotFoundError, match=r"song\.wav has no label: put song\.pv beside it"):
        Hybrid(root, "train")
    with pytest.raises(FileNotFoundError, match=r"song\.pv is missing"):
        read_label(root / "train" / "song.pv")


def test_a_missing_or_empty_split_is_named(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="test is not a folder"):
        Hybrid(root, "test")
    (root / "test").mkdir()
    with pytest.raises(ValueError, match=r"test holds no \.wav or \.flac file"):
        Hybrid(root, "test")


@pytest.mark.parametrize("line", ["A4", "-3", "inf", "-inf", "57,0", "220.0", "1e300"])
def test_a_bad_line_is_named(root: Path, line: str) -> None:
    _edit(root, "57\n" * 9 + f"{line}\n" + "57\n" * 90)
    with pytest.raises(
        ValueError, match=r"song\.pv, line 10: '.*' (is not a MIDI number|has a decimal comma|is above 127)"
    ):
        Hybrid(root, "train")[0]


@pytest.mark.parametrize("lines", [96, 104])
def test_a_label_of_another_length_is_named(root: Path, lines: int) -> None:
    _edit(root, "57\n" * lines)
    with pytest.raises(ValueError, match=rf"song\.wav lasts 1\.00 s but its label 0?[01]\.{lines % 100:02d} s"):
        Hybrid(root, "train")[0]
    with pytest.raises(ValueError, match="one line per 10 ms"):
        Hybrid(root, "train").check()


@pytest.mark.parametrize("lines", [97, 103])
def test_a_label_within_30_ms_is_accepted(root: Path, lines: int) -> None:
    _edit(root, "57\n" * lines)
    assert len(Hybrid(root, "train")[0].f0_hz) == lines


def test_bad_sound_files_are_named(root: Path) -> None:
    path = root / "train" / "song.wav"
    soundfile.write(path, np.zeros((RATE, 3)), RATE)
    with pytest.raises(ValueError, match=r"song\.wav has 3 channels"):
        Hybrid(root, "train")[0]
    path.write_text("not a sound", encoding="utf-8")
    with pytest.raises(ValueError, match=r"song\.wav cannot be read as sound"):
        Hybrid(root, "train")[0]
    with pytest.raises(ValueError, match=r"song\.wav cannot be read as sound"):
        read_mono(path)


def test_two_recordings_of_one_name_are_named(root: Path) -> None:
    soundfile.write(root / "train" / "song.flac", np.zeros(RATE), RATE)
    with pytest.raises(ValueError, match="shares its name with another recording"):
        Hybrid(root, "train")


def test_hidden_files_are_no_recordings(root: Path) -> None:
    (root / "train" / "._song.wav").write_bytes(b"what a Mac puts into archives")
    assert len(Hybrid(root, "train")) == 1


def test_a_part_of_a_resampled_file_is_what_it_is_in_the_whole(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * 44_100)
    soundfile.write(folder / "noise.wav", noise, 44_100)
    (folder / "noise.pv").write_text("57\n" * 400, encoding="utf-8")
    data = Hybrid(tmp_path, "train")
    whole, part = data[0].voice, data.read_excerpt(0, 1.0, 2.0).voice
    # Same phase and real context at both ends: rounding of float32 remains, 100 dB below the noise.
    np.testing.assert_allclose(part, whole[16_000:48_000], atol=1e-6)


def test_writing_checks_lengths_and_leaves_nothing(root: Path) -> None:
    with pytest.raises(ValueError, match="must have one length"):
        write_hybrid_pair(root / "train", "bad", np.zeros(RATE), np.zeros(RATE - 1), np.zeros(101))
    with pytest.raises(ValueError, match="one line per 10 ms"):
        write_hybrid_pair(root / "train", "bad", np.zeros(RATE), None, np.zeros(120))
    assert sorted(path.name for path in (root / "train").iterdir()) == ["song.pv", "song.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX matter")
def test_a_full_disk_is_reported_and_leaves_nothing(root: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = {path: path.read_bytes() for path in (root / "train").iterdir()}
    for bytes_left, seconds in ((1, 1), (20_000, 10)):  # no room for the label, room for the label alone
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, limits[1]))  # the system refuses to write more
        try:
            with pytest.raises(UserError, match=r"cannot write .*song\.(wav|pv).*: ?.*free some space"):
                write_hybrid_pair(root / "train", "song", np.zeros(seconds * RATE), None, np.zeros(seconds * 100 + 1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in (root / "train").iterdir()} == before


def test_recordings_of_other_formats_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_hybrid_pair(tmp_path / "train", "solo", _sine(0.5, 220), None, np.full(51, 220.0))
    for name in ("a.m4a", "b.MP3", ".hidden.mp3", "notes.txt"):
        (tmp_path / "train" / name).write_bytes(b"any")
    for _ in range(2):
        assert len(Hybrid(tmp_path, "train")) == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert "2 recordings are neither .wav nor .flac and are not used (a.m4a ...)" in message


def test_another_format_under_the_name_of_a_wav(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "memo.wav").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    (folder / "memo.pv").write_text("57\n" * 100, encoding="utf-8")
    with pytest.raises(UserError, match=r"memo\.wav cannot be read as sound .*: convert it to \.flac"):
        Hybrid(tmp_path, "train").check()
    soundfile.write(folder / "memo.wav", _sine(1, 220), RATE, format="FLAC")
    data = bytearray((folder / "memo.wav").read_bytes())
    data[21] &= 0xF0
    data[22:42] = bytes(20)  # as ffmpeg writes it to a pipe
    (folder / "memo.wav").write_bytes(data)
    with pytest.raises(UserError, match=r"memo\.wav does not tell its length"):
        Hybrid(tmp_path, "train").check()
