"""Containers: several tracks, gaps, unknown lengths, odd headers; by each of the readers that can read them."""

import io
import struct
from fractions import Fraction
from pathlib import Path

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
        streams = [container.add_stream("aac", rate=RATE, layout="mono") for _ in pitches_hz]
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
