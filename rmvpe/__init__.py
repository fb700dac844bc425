"""RMVPE: the pitch (f0) of voices, alone or inside music; the same f0 from PyTorch and JAX.

    import rmvpe

    estimator = rmvpe.load("small")
    track = estimator.from_file("song.wav")  # or from_audio(array, sample_rate)
    track.write("song.csv")

Names are loaded when first used: importing this package loads no framework and no other library.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rmvpe.audio import find_audio, to_mono_16k
    from rmvpe.checkpoint import Checkpoint
    from rmvpe.config import ConfigError, DecodeConfig, MelConfig, ModelConfig, TrainConfig
    from rmvpe.errors import UserError
    from rmvpe.estimator import Estimator, load
    from rmvpe.plot import plot_track
    from rmvpe.track import F0Track

__all__ = [
    "Checkpoint",
    "ConfigError",
    "DecodeConfig",
    "Estimator",
    "F0Track",
    "MelConfig",
    "ModelConfig",
    "TrainConfig",
    "UserError",
    "__version__",
    "find_audio",
    "load",
    "plot_track",
    "to_mono_16k",
]

_HOMES = {
    "audio": ("find_audio", "to_mono_16k"),
    "checkpoint": ("Checkpoint",),
    "config": ("ConfigError", "DecodeConfig", "MelConfig", "ModelConfig", "TrainConfig"),
    "errors": ("UserError",),
    "estimator": ("Estimator", "load"),
    "plot": ("plot_track",),
    "track": ("F0Track",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"rmvpe.{module}"), name)
    raise AttributeError(f"module 'rmvpe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
