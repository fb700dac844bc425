"""What the processes of `benchmarks/speed.py` read: sounds cut from the demo, and weights, in one folder."""

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from rmvpe.checkpoint.store import save
from rmvpe.cli.benchmark import weights_of
from rmvpe.errors import UserError

RATE_HZ = 16000
CLIP_S = (2.0, 10.0)  # of the clips, spread evenly
GOLDEN = 0.6180339887  # multiples of it, less their whole parts, fill 0 to 1 evenly however many they are
COLD_S = 10.0
Paths = tuple[str, ...]


@dataclass(frozen=True)
class Material:
    """Files made from `demo`, a recording at 16 kHz, when they are first asked for. seconds: of the long file."""

    folder: Path
    demo: Path
    seconds: float

    @cached_property
    def samples(self) -> np.ndarray:
        """The demo, 16 kHz mono."""
        samples, rate = soundfile.read(self.demo, dtype="float32")
        assert rate == RATE_HZ, f"{self.demo} must be at {RATE_HZ} Hz"
        return np.asarray(samples)

    def sound(self, name: str, seconds: float, start: int = 0) -> str:
        """A file of the demo, repeated from sample `start` on."""
        path = self.folder / f"{name}.wav"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            indices = (start + np.arange(round(seconds * RATE_HZ))) % len(self.samples)
            soundfile.write(path, self.samples[indices], RATE_HZ)
        return str(path)

    @property
    def long(self) -> str:
        """The long file."""
        return self.sound("long", self.seconds)

    @property
    def cold(self) -> str:
        """The one short file of a cold command."""
        return self.sound("cold", COLD_S)

    def clips(self, count: int) -> Paths:
        """Clips of `CLIP_S` seconds, no two of one length."""
        first, last = CLIP_S
        lengths = [first + (last - first) * (k * GOLDEN % 1.0) for k in range(1, count + 1)]
        return tuple(self.sound(f"clips/{k:04}", length, 7919 * k) for k, length in enumerate(lengths))

    def weights(self, name: str) -> str:
        """Weights for `rmvpe.load`: the bundled ones, or random ones of e2e0; "reference": these for the reference."""
        if name == "small":
            return name
        ours, reference = self.folder / "e2e0.safetensors", self.folder / "e2e0.pt"
        if not reference.exists():
            from rmvpe_torch.checkpoint import save_torch

            checkpoint = weights_of("e2e0")
            assert not isinstance(checkpoint, str)
            save(ours, checkpoint)
            save_torch(reference, checkpoint, layout="yxlllc")
        return str(reference if name == "reference" else ours)

    def orbax(self, name: str) -> str:
        """The weights as an Orbax folder. Raises UserError if they cannot be converted."""
        folder = self.folder / f"{name}-orbax"
        if not folder.exists():
            command = [sys.executable, "-m", "rmvpe", "convert", "torch2jax", self.weights(name), "-o", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"the weights could not be converted: {done.stderr.strip()}")
        return str(folder)


def seconds_of(paths: Paths) -> float:
    """Seconds of sound in all files."""
    return sum(soundfile.info(path).duration for path in paths)
