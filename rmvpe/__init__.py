"""RMVPE: the pitch (f0) of voices, alone or inside music; the same f0 from PyTorch, JAX and ONNX.

    import rmvpe

    estimator = rmvpe.load("small")
    track = estimator.from_file("song.wav")  # or from_audio(array, sample_rate)
    track.write("song.csv")

Importing this package loads no library; numpy is imported with the first name that is used, a runtime by `load`, other
libraries where they are needed.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  # from a checkout; pip refuses by itself
    raise ImportError(
        "rmvpe needs Python 3.10 or later, and this is Python {}.{}: use a newer Python".format(*sys.version_info)
    )

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmvpe.audio import find_audio, to_mono_16k
    from rmvpe.checkpoint.store import Checkpoint
    from rmvpe.config import DecodeConfig, MelConfig, ModelConfig, TrainConfig
    from rmvpe.config_check import ConfigError
    from rmvpe.errors import UserError
    from rmvpe.estimator import Estimator, load
    from rmvpe.hosts.rvc import RMVPE
    from rmvpe.notes.note import Note
    from rmvpe.notes.notes import Notes
    from rmvpe.notes.settings import NoteConfig
    from rmvpe.plot import plot_track
    from rmvpe.track import F0Track

__version__ = "0.1.0"

__all__ = [
    "RMVPE",
    "Checkpoint",
    "ConfigError",
    "DecodeConfig",
    "Estimator",
    "F0Track",
    "MelConfig",
    "ModelConfig",
    "Note",
    "NoteConfig",
    "Notes",
    "TrainConfig",
    "UserError",
    "__version__",
    "find_audio",
    "load",
    "plot_track",
    "to_mono_16k",
]

# Where each name is; it is imported when it is used first, so that a program has its signal handlers before numpy
_HOMES = {
    "RMVPE": "rmvpe.hosts.rvc",
    "Checkpoint": "rmvpe.checkpoint.store",
    "ConfigError": "rmvpe.config_check",
    "DecodeConfig": "rmvpe.config",
    "Estimator": "rmvpe.estimator",
    "F0Track": "rmvpe.track",
    "MelConfig": "rmvpe.config",
    "ModelConfig": "rmvpe.config",
    "Note": "rmvpe.notes.note",
    "NoteConfig": "rmvpe.notes.settings",
    "Notes": "rmvpe.notes.notes",
    "TrainConfig": "rmvpe.config",
    "UserError": "rmvpe.errors",
    "find_audio": "rmvpe.audio",
    "load": "rmvpe.estimator",
    "plot_track": "rmvpe.plot",
    "to_mono_16k": "rmvpe.audio",
}


if not TYPE_CHECKING:  # it would hide a misspelt name from type checkers

    def __getattr__(name: str) -> Any:
        """A public name, or a module such as `rmvpe.audio`, imported now (PEP 562). Raises AttributeError else."""
        if name in _HOMES:
            value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
            return value
        if not name.startswith("_"):
            try:
                return importlib.import_module(f"rmvpe.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"rmvpe.{name}":
                    raise
        raise AttributeError(f"module 'rmvpe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
