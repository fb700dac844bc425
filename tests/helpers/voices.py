"""Folders of annotated voices, and of music, for the tests of evaluation."""

from pathlib import Path

import numpy as np
import soundfile

from tests.helpers.hybrid import glide

RATE_HZ = 16_000


def write_voice(folder: Path, name: str, seed: int, seconds: float = 2.0, step: int = 1, keep_s: float = 99.0) -> None:
    """A glide and its annotation; only every `step`-th point up to `keep_s` seconds is written."""
    folder.mkdir(exist_ok=True)
    voice, f0_hz = glide(seed, seconds)
    soundfile.write(folder / f"{name}.wav", voice, RATE_HZ)
    rows = [f"{0.01 * frame:.2f},{hz:.4f}\n" for frame, hz in enumerate(f0_hz) if 0.01 * frame <= keep_s]
    (folder / f"{name}.csv").write_text("".join(rows[::step]))


def write_voices_and_music(root: Path) -> Path:
    """`root`/voices with two annotated glides of 2 and 3 s, `root`/music with noise; returns `root`."""
    write_voice(root / "voices", "a", 0)
    write_voice(root / "voices", "b", 1, seconds=3.0)
    write_music(root / "music")
    return root


def write_music(folder: Path) -> None:
    """Six seconds of noise, without annotation."""
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / "m.wav", np.random.default_rng(0).normal(0, 0.1, 6 * RATE_HZ), RATE_HZ)
