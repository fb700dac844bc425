"""Train RMVPE with PyTorch: python scripts/train_torch.py --data Hybrid [--device cpu|cuda|sdaa|mps]."""

from rmvpe.checkpoint import Checkpoint
from rmvpe.config import TrainConfig
from rmvpe.training_cli import main
from rmvpe_torch.device import resolve
from rmvpe_torch.train import TorchTrainer


def make(config: TrainConfig, device: str, initial: Checkpoint | None) -> TorchTrainer:
    return TorchTrainer(config, resolve(device), initial)


if __name__ == "__main__":
    main("torch", "auto, cpu, cuda, cuda:N, sdaa or mps", make)
