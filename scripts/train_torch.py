"""Train RMVPE with PyTorch on one device or several (cpu, cuda, sdaa, mps): see --help and docs/training.md."""

import sys

from rmvpe.cli.train import main
from rmvpe_torch.cli import Torch

if __name__ == "__main__":
    sys.exit(main(Torch()))
