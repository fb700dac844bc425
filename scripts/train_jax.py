"""Train RMVPE with JAX over all local devices: python scripts/train_jax.py --data Hybrid [--device cpu|gpu|tpu]."""

import jax

from rmvpe.checkpoint import Checkpoint
from rmvpe.config import TrainConfig
from rmvpe.training_cli import main
from rmvpe_jax.device import devices_of, resolve
from rmvpe_jax.train import JaxTrainer


def make(config: TrainConfig, device: str, initial: Checkpoint | None) -> JaxTrainer:
    """A trainer on every local device of the kind asked for ("gpu:1": on that one alone)."""
    first = resolve(device)
    devices: list[jax.Device] = [first] if ":" in device else devices_of(first.platform)
    return JaxTrainer(config, devices, initial)


if __name__ == "__main__":
    main("jax", "auto, cpu, gpu, gpu:N or tpu", make)
