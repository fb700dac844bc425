"""What computes: the protocols of a network and a backend, and how one of the installed runtimes is chosen."""

import importlib
import importlib.util
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rmvpe.errors import UserError

BACKENDS = ("torch", "jax")  # in the order in which "auto" looks for them


@runtime_checkable
class RecurrentNetwork(Protocol):
    """A network that can be run in parts: `head(bidirectional GRU(features(log_mel)))` is its salience."""

    gru_layers: int

    def features(self, log_mel: np.ndarray) -> np.ndarray:
        """Log-mel float32 [B, T, n_mels], T a multiple of the U-Net's stride -> what the GRU reads [B, T, features]."""
        ...

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """One direction of a GRU layer over [T, features] -> [T, hidden]; `reverse` runs from the last frame.

        state: [hidden], the output at the frame before (after, in reverse); None for zeros, as at the ends.
        """
        ...

    def head(self, hidden: np.ndarray) -> np.ndarray:
        """The last layer's outputs, forward and backward side by side [T, 2 * hidden] -> salience [T, 360]."""
        ...


class Backend(Protocol):
    """What a framework package computes: `rmvpe_torch.infer.Backend`, `rmvpe_jax.infer.Backend`.

    Both are `rmvpe.backends.RecurrentNetwork`s too.
    """

    name: str
    device: str
    batch_windows: int  # windows that go through the network together

    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Log-mel float32 [B, T, n_mels], T a multiple of the U-Net's stride -> salience float32 [B, T, 360]."""
        ...

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] -> log-mel [B, frames, n_mels] of uncentred frames, computed on the device."""
        ...


def choose_backend(backend: str = "auto") -> str:
    """The name of an installed framework: `backend` itself, or for "auto" the first of `BACKENDS`.

    Raises UserError if it is unknown or not installed.
    """
    if backend not in ("auto", *BACKENDS):
        raise UserError(f"unknown backend {backend!r}: choose auto, {' or '.join(BACKENDS)}")
    wanted = BACKENDS if backend == "auto" else (backend,)
    for name in wanted:
        if is_installed(name):
            return name
    commands = " or ".join(f"pip install 'rmvpe[{name}]'" for name in wanted)
    raise UserError(f"{' and '.join(wanted)} {'is' if len(wanted) == 1 else 'are'} not installed: run {commands}")


def is_installed(package: str) -> bool:
    """Whether a package can be imported. A mere folder of that name in the working directory does not count."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def backend_class(name: str) -> Any:
    """The `Backend` of a framework package. Raises UserError if something that the package needs is not installed."""
    try:
        return importlib.import_module(f"rmvpe_{name}.infer").Backend
    except ModuleNotFoundError as error:
        raise UserError(f"backend {name} needs {error.name}: run pip install 'rmvpe[{name}]'") from error
