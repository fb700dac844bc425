"""How much later or earlier than in the original a sound is read after it went through each format, in milliseconds.

python benchmarks/media_delay.py                 # as installed; ffmpeg writes the files
python benchmarks/media_delay.py --without-av    # read through the ffmpeg program
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmvpe import audio
from rmvpe.errors import UserError
from rmvpe.program import Command, run_program

RATE, SECONDS = 44_100, 3.0
SEARCH = 1 << 18  # samples at 16 kHz that are searched for the delay
PICTURE = ("-f", "lavfi", "-i", "testsrc=s=64x64:d=4")
LATE_S = 0.5
# File name: the flags that encode it
SOUND = {
    "cbr.mp3": "-c:a libmp3lame -b:a 128k",
    "cbr-without-header.mp3": "-c:a libmp3lame -b:a 128k -write_xing 0",
    "vbr-without-header.mp3": "-c:a libmp3lame -q:a 4 -write_xing 0",
    "mp3.wav": "-c:a libmp3lame",
    "mp3.avi": "-c:a libmp3lame",
    "mp3.mkv": "-c:a libmp3lame",
    "a.mp2": "-c:a mp2",
    "a.dts": "-c:a dca -strict -2",
    "v1.wma": "-c:a wmav1",
    "v2.wma": "-c:a wmav2",
    "a.ac3": "-c:a ac3",
    "a.eac3": "-c:a eac3",
    "a.m4a": "-c:a aac",
    "a.aac": "-c:a aac",
    "aac.mkv": "-c:a aac",
    "aac.flv": "-c:a aac",
    "aac.ts": "-c:a aac",
    "alac.m4a": "-c:a alac",
    "vorbis.ogg": "-c:a libvorbis",
    "vorbis.webm": "-c:a libvorbis",
    "opus.ogg": "-c:a libopus",
    "opus.webm": "-c:a libopus",
    "opus.caf": "-c:a libopus",
    "speex.ogg": "-c:a libspeex -ar 16000",
    "a.wv": "-c:a wavpack",
    "a.tta": "-c:a tta",
}
# The same, with a picture from time 0 and a sound that starts late
LATE = {
    "late.mp4": "-c:v mpeg4 -c:a aac",
    "late.mkv": "-c:v mpeg4 -c:a aac",
    "late-opus.webm": "-c:v libvpx -c:a libopus",
    "late-vorbis.webm": "-c:v libvpx -c:a libvorbis",
}


def bursts() -> np.ndarray:
    """Bursts of noise, which have one best lag; float64 [samples]."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    noise = np.convolve(rng.standard_normal(len(time_s)), np.hanning(15), "same")
    return np.asarray(0.05 * noise * (np.sin(2 * np.pi * 2.3 * time_s) > 0))


def delay_ms(found: np.ndarray, truth: np.ndarray) -> float:
    """How much later `found` is than `truth`, both float32 [samples] at 16 kHz, to a tenth of a sample."""
    spectrum = np.fft.rfft(found, SEARCH) * np.conj(np.fft.rfft(truth, SEARCH))
    finer = 10
    match = np.fft.irfft(spectrum, SEARCH * finer)
    lag = int(np.argmax(match))
    return 1000.0 * (lag if lag < SEARCH * finer // 2 else lag - SEARCH * finer) / finer / audio.SAMPLE_RATE_HZ


def encoded(folder: Path, name: str, flags: str, inputs: Sequence[str]) -> Path | None:
    """The file `name` as ffmpeg writes it; None if this ffmpeg has no such encoder."""
    command = ["ffmpeg", "-v", "error", "-y", *inputs, *flags.split(), str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return folder / name if done.returncode == 0 else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag."""
    parser.add_argument("--without-av", action="store_true", help="as if PyAV were not installed")


def run(arguments: argparse.Namespace) -> int:
    """Write, read and compare each file, and print a table."""
    import soundfile

    if shutil.which("ffmpeg") is None:
        raise UserError("there is no ffmpeg on the path: install it, it writes the files")
    if arguments.without_av:
        sys.modules["av"] = None  # type: ignore[assignment]  # what Python takes for a module that is not there
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        original = folder / "original.wav"
        soundfile.write(original, bursts(), RATE)
        truth = audio.read(original).samples
        sound = ("-i", str(original))
        late = (*PICTURE, "-itsoffset", str(LATE_S), *sound)
        cases: list[tuple[str, str, Sequence[str], float]] = [(*row, sound, 0.0) for row in SOUND.items()]
        cases += [(*row, late, LATE_S) for row in LATE.items()]
        for name, flags, inputs, start_s in cases:
            path = encoded(folder, name, flags, inputs)
            if path is None:
                print(f"{name:24} not written: this ffmpeg lacks the encoder")
            else:
                print(f"{name:24} {delay_ms(audio.read(path).samples, truth) - 1000 * start_s:+7.1f} ms")
    return 0


COMMAND = Command((__doc__ or "").splitlines()[0], add_arguments, run)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run."""
    return run_program("media_delay", COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
