"""MIR-1K in small: every singer, the folders and file formats of the original, sound whose pitch is known."""

import io
import zipfile
from pathlib import Path

import numpy as np
import soundfile

from rmvpe.data.prepare import mir1k
from rmvpe.pitch import hz_to_midi

RATE = 16_000
SINGERS = sorted(mir1k.SPLIT_OF)
SECONDS = 1.234  # not a multiple of the label's step, as in the original
UNVOICED_S = (0.5, 0.62)


def f0_of(time_s: np.ndarray, low_hz: float) -> np.ndarray:
    """A glide of an octave per second, silent for a while: 12 cents in 10 ms, so that a lag shows."""
    silent = (time_s > UNVOICED_S[0]) & (time_s < UNVOICED_S[1])
    return np.where(silent, 0.0, low_hz * 2**time_s)


def clip(low_hz: float, seconds: float = SECONDS) -> tuple[np.ndarray, np.ndarray]:
    """int16 [samples, 2], left noise and right voice, and the label [lines], floor(duration / 20 ms) - 1 of them."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    f0_hz = f0_of(time_s, low_hz)
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE
    voice = sum(np.sin(k * phase) / k for k in (1, 2, 3)) * 0.2 * (f0_hz > 0)
    noise = np.random.default_rng(round(low_hz)).normal(0, 0.05, len(time_s))
    lines = 0.02 * np.arange(1, int(seconds / 0.02 + 1e-6))
    return np.round(np.stack([noise, voice], axis=1) * 32767).astype(np.int16), hz_to_midi(f0_of(lines, low_hz))


def wav_bytes(audio: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def pv_bytes(midi: np.ndarray) -> bytes:
    return "".join(f"{value:.6f}\r\n" for value in midi).encode()


def make_files() -> dict[str, bytes]:
    """MIR-1K in small: every singer, one clip each and abjones two, and the folders that are not used."""
    files = {"MIR-1K/readme.txt": b"MIR-1K"}
    names = [f"{singer}_1_01" for singer in SINGERS] + ["abjones_2_11"]
    for number, name in enumerate(names):
        audio, midi = clip(110.0 + 8 * number)
        song = name.rpartition("_")[0]
        files[f"MIR-1K/Wavfile/{name}.wav"] = wav_bytes(audio)
        files[f"MIR-1K/PitchLabel/{name}.pv"] = pv_bytes(midi)
        files[f"MIR-1K/UndividedWavfile/{song}.wav"] = wav_bytes(audio[:800])
        files[f"MIR-1K/vocal-nonvocalLabel/{name}.vocal"] = b"1\r\n" * len(midi)
        files[f"MIR-1K/UnvoicedFrameLabel/{name}.unv"] = b"5\r\n" * len(midi)
        files[f"MIR-1K/Lyrics/{name}.txt"] = "歌詞".encode("big5-hkscs")
        files[f"MIR-1K/LyricsWav/{name}.wav"] = wav_bytes(audio[:800])
    return files


FILES = make_files()


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for folder in sorted({name.rpartition("/")[0] for name in FILES}):
            file.writestr(f"{folder}/", b"")
        for name, data in files.items():
            file.writestr(name, data)
    return path


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def beside(out: Path) -> list[str]:
    """What a run has left in the parent folder, the archive apart."""
    return sorted(path.name for path in out.parent.iterdir() if path.suffix not in (".zip", ".rar"))
