"""Train RMVPE with JAX over all local devices, on one host or several: see --help and docs/training.md."""

import sys

from rmvpe.cli.train import main
from rmvpe_jax.cli import Jax

if __name__ == "__main__":
    sys.exit(main(Jax()))
