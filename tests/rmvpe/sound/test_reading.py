"""Files as people have them: other formats, wrong names, damage. Tones written by the test are the truth."""

import io
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.audio import AudioFile, find_audio, from_array, read, with_unique_names
from rmvpe.data.readers.base import read_audio
from rmvpe.errors import UserError
from rmvpe.sound import reading

RATE = 44_100
WITHIN_S = 0.002


def bursts(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """Short glides, each another: a shift in time shows in the cross-correlation."""
    time_s = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(200 + 150 * time_s + 100 * np.sin(3 * time_s)) / rate
    return 0.4 * np.sin(phase) * (np.sin(2 * np.pi * 1.7 * time_s) > 0.3)


def lag_s(found: np.ndarray) -> float:
    """How much later `found` at 16 kHz is than `bursts`."""
    size = 1 << 18
    truth = read(wav_bytes(bursts())).samples
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(truth, size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return (lag if lag < size // 2 else lag - size) / 16_000


def wav_bytes(audio: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, audio, rate, format=form, subtype=subtype)
    return out.getvalue()


def encode(path: Path, codec: str, form: str, start_s: float = 0.0, picture: bool = False) -> Path:
    """Write `bursts` with PyAV, its timestamps beginning at `start_s`; `picture`: with a film that begins at 0."""
    av = pytest.importorskip("av")
    rate = 48_000 if codec == "libopus" else RATE
    sound = bursts(rate=rate).astype(np.float32)
    with av.open(path, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 128_000
        if picture:
            film = container.add_stream("libvpx" if form == "webm" else "mpeg4", rate=1000)
            film.width = film.height = 64
            film.pix_fmt = "yuv420p"
        resampler = av.AudioResampler(stream.format, "mono", rate)
        frame = av.AudioFrame.from_ndarray(sound[None], "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = (
            rate,
            round(start_s * rate),
            Fraction(1, rate),
        )
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
        if picture:
            for number in range(75):
                image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), "rgb24")
                image.pts, image.time_base = 40 * number + 7, Fraction(1, 1000)  # what ffmpeg adds to negative times
                container.mux(film.encode(image))
            container.mux(film.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "form"),
    [
        *(("aac", form) for form in ("ipod", "adts", "matroska", "flv", "mpegts")),
        *(("ac3", form) for form in ("ac3", "matroska", "mpegts", "ipod")),
        *(("libopus", "webm"), ("wmav1", "asf"), ("wmav2", "asf"), ("alac", "ipod"), ("eac3", "eac3")),
    ],
)
@pytest.mark.parametrize("reader", ["av", "ffmpeg"])
def test_every_format_has_the_time_of_the_original(
    codec: str, form: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = encode(tmp_path / "memo.mp3", codec, form)  # the name is wrong: it must not matter
    if reader == "ffmpeg" and reading.ffmpeg.program() is None:
        pytest.skip("no ffmpeg here")
    monkeypatch.setattr(reading, "second_reader", lambda: reader)
    found = read(path)
    assert abs(lag_s(found.samples)) < WITHIN_S
    assert abs(found.duration_s - 3.0) < 0.06
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("codec", "form", "late_s"),
    [
        *(("mp3", form, 0.025) for form in ("avi", "wav")),
        ("mp2", "mp2", 0.011),
    ],
)
def test_delays_that_no_file_tells_are_as_the_docs_say(codec: str, form: str, late_s: float, tmp_path: Path):
    found = read(encode(tmp_path / "sound", codec, form))
    assert abs(lag_s(found.samples) - late_s) < 0.0006  # docs/formats.md has whole and half milliseconds


@pytest.mark.parametrize(("codec", "form"), [("libopus", "webm"), ("aac", "matroska"), ("aac", "mp4")])
def test_a_picture_does_not_move_the_sound(codec: str, form: str, tmp_path: Path):
    path = encode(tmp_path / "film", codec, form, picture=True)
    assert abs(lag_s(read(path).samples)) < WITHIN_S


def test_a_late_track_is_late(tmp_path: Path):
    found = read(encode(tmp_path / "late.mka", "aac", "matroska", start_s=0.7))
    assert abs(lag_s(found.samples) - 0.7) < WITHIN_S


@pytest.mark.parametrize(("form", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_joined_files_are_read_whole(form: str, subtype: str):
    part = wav_bytes(bursts(), form=form, subtype=subtype)
    found, single = read(part * 3), read(part)
    assert abs(found.duration_s - 3 * single.duration_s) < 0.1
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("FLAC", "PCM_16")]
)
def test_a_truncated_file_is_read_with_a_warning(form: str, subtype: str, tmp_path: Path):
    noise = np.random.default_rng(0).normal(0, 0.02, 5 * RATE)  # enough for several pages
    whole = wav_bytes(bursts(5.0) + noise, form=form, subtype=subtype)
    assert read(whole).warnings == ()
    path = tmp_path / "cut.bin"
    path.write_bytes(whole[: len(whole) // 2])
    found = read(path)
    assert 0.3 < found.duration_s < 4.0
    assert any("cut.bin" in warning and "ends after" in warning for warning in found.warnings)


@pytest.mark.parametrize("form", ["MP3", "OGG"])
def test_what_follows_a_hole_keeps_its_time(form: str, capfd: pytest.CaptureFixture[str]):
    subtype = "VORBIS" if form == "OGG" else "MPEG_LAYER_III"
    random = np.random.default_rng(0).normal(0, 0.1, 10 * RATE)  # many pages
    data = wav_bytes(random, form=form, subtype=subtype)
    middle = len(data) // 2
    found, whole = read(data[:middle] + bytes(400) + data[middle + 400 :]), read(data)
    assert "damaged" in found.warnings[0]
    n = min(len(found.samples), len(whole.samples))
    ends = [recording.samples[n - 32_000 : n] for recording in (found, whole)]
    scores = [np.dot(ends[0][100:-100], ends[1][100 + lag : 31_900 + lag]) for lag in range(-100, 101)]
    assert abs(int(np.argmax(scores)) - 100) <= 1  # a sample of 16 kHz
    assert capfd.readouterr().err == ""


def test_threads_that_read_at_once_leave_standard_error_as_it_was(capfd: pytest.CaptureFixture[str]):
    data = wav_bytes(bursts(1.0), form="MP3", subtype="MPEG_LAYER_III")
    with ThreadPoolExecutor(8) as pool:
        lengths = {len(found.samples) for found in pool.map(lambda _: read(data), range(64))}
    assert len(lengths) == 1
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


@pytest.mark.parametrize("seed", range(5))
def test_the_mp3_decoder_writes_no_lines_of_its_own(seed: int, capfd: pytest.CaptureFixture[str]):
    """Frames whose content is damaged but whose headers are whole: libmpg123 would tell each on standard error."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(wav_bytes(bursts(3.0), form="MP3", subtype="MPEG_LAYER_III"))
    for place in rng.integers(2000, len(damaged), 60):
        damaged[place] ^= 0x55
    read(bytes(damaged))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size", [0, 100])
def test_the_wav_of_a_crashed_recorder_is_read_to_its_end(size: int, tmp_path: Path):
    data = wav_bytes(bursts(2.0))
    path = tmp_path / "take.wav"
    path.write_bytes(data[:4] + bytes(4) + data[8:40] + struct.pack("<I", size) + data[44:])
    found = read(path)
    np.testing.assert_array_equal(found.samples, read(data).samples)
    assert found.notes
    assert not found.warnings
    assert len(read_audio(path)) == 32_000


def test_chunks_and_tags_behind_the_sound_are_no_sound():
    data = wav_bytes(bursts(1.0))
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    for rest in (chunk, b"TAG" + bytes(125)):
        found = read(data + rest)
        assert (found.duration_s, found.warnings, found.notes) == (1.0, (), ())


def test_channels_that_lose_the_voice():
    voice = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    late = np.concatenate([np.zeros(441), voice[:-441]])
    alone = from_array(voice, RATE).samples
    for other in (-voice, -0.9 * voice, 0.99 * late):
        found = from_array(np.stack([voice, other], 1), RATE)
        np.testing.assert_array_equal(found.samples, from_array(voice, RATE).samples)
        assert found.notes
    mix = np.stack([voice + 0.3 * late, 0.7 * voice + np.random.default_rng(1).normal(0, 0.1, len(voice))], 1)
    found = from_array(mix, RATE)
    assert found.notes == ()
    np.testing.assert_array_equal(found.samples, from_array(mix, RATE, channel="mean").samples)
    np.testing.assert_array_equal(from_array(np.stack([mix[:, 0], voice], 1), RATE, channel="right").samples, alone)
    with pytest.raises(UserError, match="2 channels"):
        from_array(mix, RATE, channel=2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_blocks_nothing(tmp_path: Path):
    os.mkfifo(tmp_path / "f.wav")
    with pytest.raises(UserError, match=r"f\.wav.*pipe"):
        read(tmp_path / "f.wav")
    (tmp_path / "a.wav").write_bytes(wav_bytes(bursts(0.1)))
    (tmp_path / "odd.name").write_bytes(wav_bytes(bursts(0.1)))
    skipped: list[tuple[Path, str]] = []
    assert {file.path.name for file in find_audio([tmp_path], skipped)} == {"a.wav", "odd.name"}
    assert [path.name for path, _ in skipped] == ["f.wav"]


def test_bytes_and_streams():
    data = wav_bytes(bursts(0.5))
    reading_end, writing_end = os.pipe()
    with open(writing_end, "wb") as pipe:
        pipe.write(data[:44] + data[44 : 44 + 4000])
    with open(reading_end, "rb") as pipe:
        assert read(pipe).duration_s == pytest.approx(2000 / RATE)
    np.testing.assert_array_equal(read(io.BytesIO(data)).samples, read(data).samples)


def test_gsm_is_read_from_any_place(tmp_path: Path):
    soundfile.write(tmp_path / "g.wav", bursts(0.5, 16_000), 16_000, format="WAV", subtype="GSM610")
    whole = read_audio(tmp_path / "g.wav")
    np.testing.assert_array_equal(read_audio(tmp_path / "g.wav", 0.1, 0.1), whole[1600:3200])


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_links_to_folders_are_followed_once(tmp_path: Path):
    songs, elsewhere = tmp_path / "songs", tmp_path / "elsewhere"
    for path in (songs / "z" / "a.wav", elsewhere / "deep" / "b.wav", elsewhere / "c.wav"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav_bytes(bursts(0.05)))
    (songs / "a link").symlink_to(songs / "z", target_is_directory=True)  # to what is there anyway
    (songs / "linked").symlink_to(elsewhere, target_is_directory=True)
    (songs / "z" / "up").symlink_to(songs, target_is_directory=True)
    (elsewhere / "back").symlink_to(songs, target_is_directory=True)
    (elsewhere / "self").symlink_to(elsewhere, target_is_directory=True)
    (songs / "gone").symlink_to(tmp_path / "nowhere", target_is_directory=True)
    names = [file.name.as_posix() for file in find_audio([songs])]
    assert names == ["linked/c", "linked/deep/b", "z/a"]
    assert [file.name.as_posix() for file in find_audio([songs / "linked"])] == ["back/z/a", "c", "deep/b"]


@given(
    st.lists(
        st.lists(
            st.sampled_from(["x", "X", "x.wav", "x.flac", "x (2)", "x (2).wav", "X.WAV", "x.wav.wav"]), min_size=1
        ),
        max_size=12,
        unique_by=tuple,
    ),
    st.booleans(),
)
def test_names_are_unique_in_any_combination(paths: list[list[str]], one_case: bool):
    files = [AudioFile(Path("/in", *parts), Path(parts[-1])) for parts in paths]
    found = with_unique_names(files, one_case)
    assert [file.path for file in found] == [file.path for file in files]
    names = [file.name.as_posix() for file in found]
    assert len({name.casefold() if one_case else name for name in names}) == len(names)


def test_names_of_results_are_unique():
    names = ["x.wav", "x.flac", "x.wav.flac", "x.wav.wav", "x", "y.wav", "d/x.wav", "d/x"]
    files = [AudioFile(Path("/in") / name, Path(Path(name).name)) for name in names]
    found = [file.name for file in with_unique_names(files)]
    assert len(set(found)) == len(names)
    assert Path("y") in found
