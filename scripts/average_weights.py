"""Average the weights of networks that were trained on from one another: often better than each, at the same cost.

    python scripts/average_weights.py before.safetensors after.safetensors --out average.safetensors

Networks that were trained apart have no common mean: check the result with `rmvpe evaluate`. The metadata are those of
the last file.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmvpe.checkpoint.store import load, save
from rmvpe.errors import UserError
from rmvpe.program import Command, run_program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("weights", nargs="+", help="two or more safetensors files of one network")
    parser.add_argument("--out", required=True, type=Path, help="safetensors file to write")


def run(arguments: argparse.Namespace) -> int:
    """Write the average."""
    if arguments.out.suffix != ".safetensors":
        raise UserError(f"{arguments.out} must end in .safetensors")
    if len(arguments.weights) < 2:
        raise UserError(f"{arguments.weights[0]} alone has no average: give two or more files")
    checkpoints = [load(path) for path in arguments.weights]
    for path, checkpoint in zip(arguments.weights, checkpoints):
        if checkpoint.config != checkpoints[0].config:
            raise UserError(f"{path} is another network than {arguments.weights[0]}: give files of one")
    tensors = {}
    for name in checkpoints[0].tensors:
        mean = np.mean([checkpoint.tensors[name] for checkpoint in checkpoints], axis=0, dtype=np.float64)
        tensors[name] = np.asarray(mean, dtype=np.float32)
    save(arguments.out, dataclasses.replace(checkpoints[-1], tensors=tensors))
    print(f"{arguments.out}: the mean of {len(checkpoints)} files")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("average_weights", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
