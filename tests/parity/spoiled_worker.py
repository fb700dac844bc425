"""A training of two ranks where one file is NaN, for test_spoiled.py.

torch HYBRID LOGDIR | jax HYBRID LOGDIR HOST:PORT I

torch starts its two processes itself. jax is process I of two.
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.config import AugmentConfig, ModelConfig, TrainConfig
from rmvpe.data.readers.base import Item
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import run_cli
from rmvpe.training.loop import fit

MODEL = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=8, dropout=0.0)
# Nothing of another file in an example, and always its voice: the spoiled file alone is not finite
NAMES = [field.name for field in dataclasses.fields(AugmentConfig)]
NOTHING: dict[str, Any] = {name: 0.0 for name in NAMES if name.endswith("_probability")}
ALONE = dataclasses.replace(AugmentConfig(), **NOTHING)
CONFIG = TrainConfig(
    model=MODEL, excerpt_frames=32, batch_size=2, iterations=3, validation_interval=9, augment=ALONE, seed=1
)
SPOILED = "glide-2"


class Spoiled(Hybrid):
    """A Hybrid folder whose item `SPOILED` is NaN."""

    def __getitem__(self, index: int) -> Item:
        item = super().__getitem__(index)
        return dataclasses.replace(item, voice=item.voice * np.float32(np.nan)) if item.name == SPOILED else item


def train_torch(hybrid: str, logdir: str) -> None:
    from rmvpe_torch import distributed
    from rmvpe_torch.train import TorchTrainer

    ranks, device = distributed.start("cpu")
    try:
        fit(TorchTrainer(CONFIG, device, None, ranks), CONFIG, Spoiled(hybrid, "train"), None, Path(logdir))
    finally:
        distributed.destroy()


def train_jax(hybrid: str, logdir: str, coordinator: str, process: str) -> None:
    from rmvpe_jax import distributed

    distributed.start(coordinator, 2, int(process), 60)
    import jax

    from rmvpe_jax.train import JaxTrainer

    try:
        trainer = JaxTrainer(CONFIG, jax.local_devices())
        fit(trainer, CONFIG, Spoiled(hybrid, "train"), None, Path(logdir))
    finally:
        distributed.stop()


def main(framework: str, *arguments: str) -> int:
    def run() -> int:
        if framework == "jax":
            train_jax(*arguments)
            return 0
        from rmvpe_torch.launch import launch

        return launch(2, partial(train_torch, *arguments))

    return run_cli("spoiled", run)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
