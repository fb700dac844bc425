"""RMVPE: the pitch (f0) of voices, alone or inside music; the same f0 from PyTorch and JAX.

    import rmvpe

    estimator = rmvpe.load("small")
    track = estimator.from_file("song.wav")  # or from_audio(array, sample_rate)
    track.write("song.csv")

Importing this package loads numpy and no other library; a runtime is imported by `load`, other libraries where they are
needed.
"""

import logging
import sys

if sys.version_info < (3, 10):  # noqa: UP036  # from a checkout; pip refuses by itself
    raise ImportError(
        "rmvpe needs Python 3.10 or later, and this is Python {}.{}: use a newer Python".format(*sys.version_info)
    )

from rmvpe.audio import find_audio, to_mono_16k
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ConfigError, DecodeConfig, MelConfig, ModelConfig, TrainConfig
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator, load
from rmvpe.plot import plot_track
from rmvpe.track import F0Track

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent until the program configures logging

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
