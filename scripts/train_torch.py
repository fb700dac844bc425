"""Train RMVPE with PyTorch on one device or several (cpu, cuda, sdaa, mps): see --help and docs/training.md."""

import sys
from collections.abc import Sequence

from rmvpe.signals import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """`rmvpe train torch`."""
    from rmvpe.cli.train import TORCH
    from rmvpe.program import run_program

    return run_program("train_torch", TORCH, argv)


if __name__ == "__main__":
    sys.exit(run_main("train_torch", main))
