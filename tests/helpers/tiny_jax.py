"""What the tests of JAX training share: a network that compiles in seconds, and batches for it."""

from collections.abc import Sequence

import jax
import numpy as np

from rmvpe.config import MelConfig, ModelConfig, TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe_jax.train import JaxTrainer
from tests.helpers.batches import made_up

MODEL = ModelConfig(
    name="tiny",
    mel=MelConfig(n_mels=8),
    levels=1,
    blocks=1,
    inter_layers=1,
    channels=2,
    gru_hidden=3,
    n_bins=5,
    dropout=0.0,
)
CONFIG = TrainConfig(model=MODEL, excerpt_frames=8, batch_size=4, clip_grad_norm=0.1)
RATE = 1e-3


def batch(number: int, examples: int = 4) -> Batch:
    """Batch `number` of an endless stream."""
    rng = np.random.default_rng(number)
    log_mel = rng.normal(-5.0, 3.0, (examples, 8, 8)).astype(np.float32)
    return made_up(log_mel, rng.random((examples, 8, 5)).astype(np.float32) ** 8)


def devices(count: int) -> list[jax.Device]:
    """That many of the CPU devices that tests/conftest.py asks for."""
    return jax.local_devices(backend="cpu")[:count]


def losses(trainer: JaxTrainer, numbers: Sequence[int], examples: int = 4) -> list[float]:
    """The loss of one update on each batch."""
    return [trainer.train_step([batch(number, examples)], RATE)["loss"] for number in numbers]
