"""Golden files of the reference, and weights rebuilt from their names: see tests/fixtures/golden/README.md."""

from dataclasses import replace

import numpy as np

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ModelConfig
from tests.fixtures.golden.generate import tensor
from tests.helpers.paths import FIXTURES

FOLDER = FIXTURES / "golden"
# For `jax.jit` of what runs only a few times: XLA compiles five times faster, and the arithmetic is the same
QUICK_COMPILE = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
KINDS = ("e2e0", "e2e")  # here both have 128 mel bands and the published front end


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of a golden file."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def config(kind: str, size: str) -> ModelConfig:
    """The network of the golden file `{kind}_{size}.npz`."""
    config = ModelConfig(name=f"{kind}_{size}", timbre_filter=kind == "e2e")
    return replace(config, blocks=1, inter_layers=1, channels=2, dropout=0.0) if size == "small" else config


def checkpoint(config: ModelConfig, seed: int = 0) -> Checkpoint:
    """Weights and batch statistics of `config`'s network, all random, each rebuilt from its name and the seed."""
    return Checkpoint(config, {key: tensor(key, shape, seed) for key, shape in expected_tensors(config).items()})


def log_mel(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """A golden file's network input, [B, n_mels, T] there, as our networks take it: [B, T, n_mels]."""
    return np.ascontiguousarray(arrays["mel"].transpose(0, 2, 1))
