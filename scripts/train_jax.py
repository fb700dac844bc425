"""Train RMVPE with JAX over all local devices, on one host or several: see --help and docs/training.md."""

import sys
from collections.abc import Sequence

from rmvpe.signals import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """`rmvpe train jax`."""
    from rmvpe.cli.train import JAX
    from rmvpe.program import run_program

    return run_program("train_jax", JAX, argv)


if __name__ == "__main__":
    sys.exit(run_main("train_jax", main))
