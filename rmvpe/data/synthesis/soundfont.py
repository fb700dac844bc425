"""Excerpts of instrumental music: random scores (`random_music`) played by fluidsynth with a SoundFont."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ, from_array
from rmvpe.data.mixing import RMS_FLOOR, rms
from rmvpe.data.synthesis.random_music import compose, write_midi
from rmvpe.errors import UserError
from rmvpe.files import atomic_path

EXCERPT_S = 20.2  # a little more than the longest item that training makes of it
PER_PIECE = 2  # excerpts cut from one piece: loading a SoundFont takes longer than playing it
PEAK = 10 ** (-3.0 / 20.0)
RENDER_HZ = 48000
FADE_S = 0.01


@dataclass(frozen=True)
class Piece:
    """Piece `number` of a SoundFont; it depends on these fields alone."""

    soundfont: Path
    folder: Path  # of the excerpts
    number: int
    seed: int

    @property
    def paths(self) -> list[Path]:
        """The excerpts' files."""
        return [self.folder / f"piece_{self.number:04d}_{part}.flac" for part in range(PER_PIECE)]


def check_soundfont(path: Path) -> None:
    """Raise UserError if `path` is no SoundFont or fluidsynth is not installed."""
    if not shutil.which("fluidsynth"):
        raise UserError("playing SoundFonts needs the program fluidsynth: apt install fluidsynth")
    if not path.is_file():
        raise UserError(f"{path} is not a file: give a SoundFont (.sf2 or .sf3)")
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise UserError(f"{path} is not a SoundFont: give an .sf2 or .sf3 file")


def make_piece(piece: Piece) -> Piece:
    """Compose, play and cut `piece`, and write its excerpts as FLAC: mono, 16 kHz, peak -3 dBFS."""
    import soundfile

    rng = np.random.default_rng([piece.seed, piece.number])
    audio = np.zeros(0, dtype=np.float32)
    samples = round(EXCERPT_S * SAMPLE_RATE_HZ)
    while len(audio) < samples * PER_PIECE or min(rms(part) for part in _cut(audio, samples)) < RMS_FLOOR:
        audio = play(piece.soundfont, EXCERPT_S * PER_PIECE, rng)  # a piece with a silent excerpt is composed again
    for path, part in zip(piece.paths, _cut(audio, samples), strict=True):
        with atomic_path(path) as unfinished:
            soundfile.write(unfinished, part, SAMPLE_RATE_HZ, subtype="PCM_16")
    return piece


def play(soundfont: Path, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A random piece, float32 [seconds x 16000]. Raises UserError if fluidsynth cannot play the SoundFont."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        midi, wave = Path(folder) / "piece.mid", Path(folder) / "piece.wav"
        write_midi(compose(seconds, rng), midi)
        options = ["-ni", "-q", "-r", str(RENDER_HZ), "-o", "synth.cpu-cores=1", "-F", str(wave)]
        run = subprocess.run(
            ["fluidsynth", *options, str(soundfont), str(midi)], capture_output=True, text=True, check=False
        )
        if run.returncode or not wave.is_file():
            raise UserError(f"fluidsynth cannot play {soundfont}: {run.stderr.strip() or 'it gives no reason'}")
        audio, rate = soundfile.read(wave, dtype="float32", always_2d=True)
    wanted = round(seconds * SAMPLE_RATE_HZ)
    mono = from_array(audio, rate).samples[:wanted]
    return np.pad(mono, (0, wanted - len(mono)))


def _cut(audio: np.ndarray, samples: int) -> list[np.ndarray]:
    """Excerpts of `samples` with their peak at -3 dBFS and short fades."""
    ramp = np.linspace(0, 1, round(FADE_S * SAMPLE_RATE_HZ), dtype=np.float32)
    parts = []
    for start in range(0, len(audio), samples):
        part = audio[start : start + samples].copy()
        part *= np.float32(PEAK / max(float(np.abs(part).max()), 1e-9))
        part[: len(ramp)] *= ramp
        part[-len(ramp) :] *= ramp[::-1]
        parts.append(part)
    return parts
