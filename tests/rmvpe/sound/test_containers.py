"""Containers: several tracks, gaps, unknown lengths, odd headers; by each of the readers that can read them."""

import io
import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rmvpe.audio import read
from rmvpe.errors import UserError
from rmvpe.sound import reading

RATE = 44_100
READERS = ["av", "ffmpeg"]


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each second reader in turn; the files are written by PyAV."""
    pytest.importorskip("av")
    if request.param == "ffmpeg" and reading.ffmpeg.program() is None:
        pytest.skip("no ffmpeg here")
    monkeypatch.setattr(reading, "second_reader", lambda: request.param)
    return request.param


def tone(hz: float, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def pitch_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * 16_000 / len(samples))


def write_tracks(path: Path, pitches_hz: list[float], default: int | None = None) -> Path:
    """A container with a track for each pitch; the second is in German."""
    import av
    from av.stream import Disposition

    with av.open(path, "w") as container:
        streams: list[Any] = [container.add_stream("aac", rate=RATE, layout="mono") for _ in pitches_hz]
        for index, stream in enumerate(streams):
            stream.disposition = Disposition.default if index == default else Disposition(0)
            if index == 1:
                stream.metadata["language"] = "deu"
        for stream, hz in zip(streams, pitches_hz):
            frame = av.AudioFrame.from_ndarray(tone(hz).astype(np.float32)[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            fifo = av.AudioFifo()
            fifo.write(frame)
            while (piece := fifo.read(1024, partial=True)) is not None:
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize("default", [None, 1, 2])
def test_tracks(ending: str, default: int | None, reader: str, tmp_path: Path):
    pitches_hz = [220.0, 440.0, 880.0]
    path = write_tracks(tmp_path / f"film.{ending}", pitches_hz, default)
    for track, hz in enumerate(pitches_hz, 1):
        found = read(path, track=track)
        assert pitch_hz(found.samples) == pytest.approx(hz, abs=2)
        assert found.warnings == ()
    assert pitch_hz(read(path).samples) == pytest.approx(pitches_hz[default or 0], abs=2)
    for track in (0, 4, -1):
        with pytest.raises(UserError, match=rf"no audio track {track}: choose one of 1 \(aac\), 2 \(aac, deu\), 3"):
            read(path, track=track)


def encoded(codec: str, form: str, audio: np.ndarray, gap_s: tuple[float, float] = (0.0, 0.0)) -> bytes:
    """The bytes of a file, without the packets whose time is in the gap."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=RATE, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", RATE, frame_size=stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(audio.astype(np.float32)[None], "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        pieces = (*resampler.resample(frame), *resampler.resample(None))
        for packet in [packet for piece in (*pieces, None) for packet in stream.encode(piece)]:
            if not gap_s[0] <= packet.pts * packet.time_base < gap_s[1]:
                container.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize(("codec", "form"), [("pcm_s16le", "matroska"), ("aac", "matroska")])
def test_a_gap_is_silence_of_its_length(codec: str, form: str, reader: str):
    whole = read(encoded(codec, form, tone(220, 3.0)))
    found = read(encoded(codec, form, tone(220, 3.0), (1.0, 1.7)))
    assert abs(found.duration_s - whole.duration_s) < 0.002
    assert np.abs(found.samples[int(1.06 * 16_000) : int(1.64 * 16_000)]).max() < 1e-3
    start, stop = int(1.8 * 16_000), int(2.9 * 16_000)
    # Times in Matroska are whole milliseconds
    shifted = [found.samples[start + lag : stop + lag] - whole.samples[start:stop] for lag in range(-16, 17)]
    assert min(np.abs(difference).max() for difference in shifted) < 0.05
    before = slice(0, int(0.9 * 16_000))
    np.testing.assert_allclose(found.samples[before], whole.samples[before], atol=0.02)


def sound_bytes(form: str, subtype: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone(220), RATE, format=form, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize("form", ["FLAC", "CAF"])
def test_a_file_that_was_written_to_a_pipe_is_read_whole(form: str, reader: str):
    data = bytearray(sound_bytes(form, "PCM_16"))
    wanted = read(bytes(data))
    if form == "FLAC":  # the number of samples, 36 bits, and the sum of the sound are not known
        data[21] &= 0xF0
        data[22:42] = bytes(20)
    else:
        at = data.index(b"data")
        data[at + 4 : at + 12] = b"\xff" * 8
    found = read(bytes(data))
    assert (found.duration_s, found.warnings) == (2.0, ())
    np.testing.assert_allclose(found.samples, wanted.samples, atol=1e-4)


def test_a_wav_with_a_bad_peak_chunk(reader: str):
    out = io.BytesIO()
    soundfile.write(out, tone(220).astype(np.float32), RATE, format="WAV", subtype="FLOAT")
    data = out.getvalue()
    at = data.index(b"PEAK")
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    bad = data[:at] + b"PEAK" + struct.pack("<I", 4) + bytes(4) + data[at + 8 + size :]
    found = read(bad)
    assert (found.duration_s, found.warnings) == (2.0, ())
    np.testing.assert_allclose(found.samples, read(data).samples, atol=1e-6)


def mp3_of(audio: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, audio, RATE, format="MP3", subtype="MPEG_LAYER_III")
    return out.getvalue()


def test_an_mp3_with_tags_is_read_whole():
    plain = mp3_of(tone(220))
    size = 3_000_000
    picture = b"APIC" + struct.pack(">IH", size - 10, 0) + b"\0image/png\0\3\0" + b"\x89PNG" + bytes(size - 27)
    sizes = bytes(len(picture) >> shift & 127 for shift in (21, 14, 7, 0))
    id3v2 = b"ID3\3\0\0" + sizes + picture
    id3v1 = b"TAG" + b"A song".ljust(125, b"\0")
    footer = struct.pack("<8sIIII8s", b"APETAGEX", 2000, 32, 0, 0, bytes(8))
    ape = b"\x05\0\0\0\0\0\0\0Title\0A song" + footer
    ape = ape.replace(struct.pack("<I", 32) + struct.pack("<I", 0), struct.pack("<I", len(ape)) + struct.pack("<I", 1))
    wanted = read(plain)
    for data in (id3v2 + plain, plain + id3v1, plain + ape, id3v2 + plain + ape + id3v1):
        found = read(data)
        assert (found.duration_s, found.warnings, found.notes) == (wanted.duration_s, (), ())
        np.testing.assert_array_equal(found.samples, wanted.samples)


def test_the_name_of_a_file_does_not_matter(tmp_path: Path):
    out = io.BytesIO()
    soundfile.write(out, tone(220), RATE, format="WAV", subtype="PCM_16")
    for data, name in ((mp3_of(tone(220)), "mp3.wav"), (out.getvalue(), "wav.mp3"), (out.getvalue(), "wav")):
        (tmp_path / name).write_bytes(data)
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found.samples, read(data).samples)
        assert found.duration_s == pytest.approx(2.0, abs=0.001)
        assert found.warnings == ()


def test_mp3_inside_wav():
    frames = mp3_of(tone(220))
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 16_000, 1, 0, 12, 1, 2, 417, 1, 0)
    fact = b"fact" + struct.pack("<II", 4, 2 * RATE)
    chunks = (
        b"WAVEfmt " + struct.pack("<I", len(form)) + form + fact + b"data" + struct.pack("<I", len(frames)) + frames
    )
    found = read(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    assert found.duration_s == pytest.approx(2.0, abs=0.06)
    assert pitch_hz(found.samples) == pytest.approx(220, abs=2)
    assert found.warnings == ()


def test_without_a_second_reader_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("av")
    path = write_tracks(tmp_path / "film.mkv", [220.0, 440.0])
    (tmp_path / "a.wav").write_bytes(sound_bytes("WAV", "PCM_16"))
    monkeypatch.setitem(sys.modules, "av", None)
    if reading.ffmpeg.program() is not None:
        assert pitch_hz(read(path, track=2).samples) == pytest.approx(440, abs=2)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reading.second_reader() is None
    with pytest.raises(UserError, match=r"film\.mkv cannot be read as sound .* run pip install av, or install ffmpeg"):
        read(path)
    assert read(tmp_path / "a.wav", track=1).duration_s == 2.0
    with pytest.raises(UserError, match=r"a\.wav has no audio track 2 that can be read here: run pip install av"):
        read(tmp_path / "a.wav", track=2)
