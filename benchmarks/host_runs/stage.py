"""What every run needs: the demo and its f0, modules that stand in for others, and the lines of the result."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO
from unittest.mock import MagicMock

import numpy as np
import soundfile
import soxr

import rmvpe
from rmvpe.pitch import cents_between

RATE_HZ = 16000
HOP = 160
TOLERANCE_CENTS = 0.1  # hosts compute in float32 or by way of cents; 0.1 cents is far below what anyone hears
WINDOWS = (4960, 10080, 15200, 20320, 25440)  # samples that RVC and Applio hand in real time, by block time


class Demo:
    """The recording that all hosts get. `audio`: float32 [n] at 16 kHz. `silence`: one second of zeros."""

    def __init__(self, path: Path):
        self.audio, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE_HZ, f"{path} must be at {RATE_HZ} Hz"
        self.silence = np.zeros(RATE_HZ, np.float32)
        self.n_frames = len(self.audio) // HOP + 1

    @cached_property
    def estimator(self) -> rmvpe.Estimator:
        """The bundled weights, as users load them."""
        return rmvpe.load(device="cpu")

    @cached_property
    def f0_hz(self) -> np.ndarray:
        """Our f0 of `audio` in Hz, 0 where unvoiced: [n // 160 + 1]."""
        return self.reference(self.audio)

    def at(self, rate_hz: int) -> np.ndarray:
        """The audio at another rate, float32."""
        return np.asarray(soxr.resample(self.audio, RATE_HZ, rate_hz), dtype=np.float32)

    def reference(self, audio: np.ndarray, rate_hz: int = RATE_HZ) -> np.ndarray:
        """What `rmvpe.load` gives for any audio: f0 in Hz, 0 where unvoiced."""
        return np.asarray(self.estimator.from_audio(audio, rate_hz).f0_hz)

    def windows(self) -> list[np.ndarray]:
        """One piece of audio of each length of `WINDOWS`, where the recording is sung."""
        return [self.audio[64000 - samples : 64000] for samples in WINDOWS]


@dataclass
class Report:
    """Prints a line per assertion and counts the failed ones."""

    stream: TextIO
    passed: int = 0
    failed: int = 0

    def check(self, what: str, passed: bool, figure: object) -> None:
        """One assertion with its figure."""
        self.passed, self.failed = self.passed + bool(passed), self.failed + (not passed)
        print(f"{'ok  ' if passed else 'FAIL'}  {what}: {figure}", file=self.stream, flush=True)

    def same(self, what: str, f0_hz: Any, expected_hz: np.ndarray, *, gaps: bool = True) -> None:
        """Whether an f0 [T] of a host is ours: length, cents where both are voiced, frames whose voicing differs.

        gaps: whether unvoiced frames are 0; if the host has filled them, only frames that are voiced in ours count.
        """
        f0 = np.asarray(f0_hz).reshape(-1)
        figure = f"{len(f0)} frames, {f0.dtype}"
        if len(f0) != len(expected_hz):
            self.check(what, False, f"{figure}; expected {len(expected_hz)} frames")
            return
        expected = expected_hz > 0
        flips = int(((f0 > 0) != expected).sum() if gaps else (f0[expected] <= 0).sum())
        both = expected & (f0 > 0)
        cents = float(np.abs(cents_between(f0[both], expected_hz[both])).max()) if both.any() else np.nan
        passed = flips == 0 and cents <= TOLERANCE_CENTS and bool(np.isfinite(f0).all())
        figure += f", at most {cents:.4f} cents from rmvpe.load, {flips} voicing flips in {int(expected.sum())} voiced"
        self.check(what, passed, figure)

    def silent(self, what: str, f0_hz: Any, n_frames: int) -> None:
        """Whether digital silence gives `n_frames` frames of 0."""
        f0 = np.asarray(f0_hz)
        others = int((f0 != 0).sum())
        self.check(what, len(f0) == n_frames and not others, f"{len(f0)} frames, {others} of them not 0")

    def near(self, what: str, values: Any, expected: np.ndarray, tolerance: float, unit: str) -> None:
        """Whether values of a host are those expected, within a tolerance."""
        array = np.asarray(values)
        if array.shape != expected.shape:
            self.check(what, False, f"shape {list(array.shape)}, expected {list(expected.shape)}")
            return
        difference = float(np.abs(array - expected).max())
        self.check(what, difference <= tolerance, f"{list(array.shape)} {array.dtype}, at most {difference:.2g} {unit}")


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of `names`, and all below them, as objects that have every attribute."""

    def __init__(self, names: Sequence[str]):
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if any(fullname == name or fullname.startswith(name + ".") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        module = MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.__name__ = [], spec, spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def stand_in(*names: str) -> None:
    """From now on these modules, and all below them, are empty stand-ins, installed or not."""
    sys.meta_path.insert(0, _StandIns(names))


def put(name: str, **members: Any) -> None:
    """From now on the module `name` has these members and nothing else; this is the one line that users change."""
    module = ModuleType(name)
    module.__dict__.update(members, __path__=[])
    sys.modules[name] = module
