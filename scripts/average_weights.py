"""Average the weights of several checkpoints of one training: often more accurate than each, at the same cost.

    python scripts/average_weights.py before.safetensors after.safetensors --out average.safetensors

Do not average networks of separate trainings. Check the result with `rmvpe evaluate`. The metadata are those of the
last file without its voicing threshold and calibration, which do not fit the mean: give `rmvpe predict --threshold`, or
train on from the mean. Source: Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmvpe.checkpoint.store import load, save
from rmvpe.errors import UserError
from rmvpe.evaluation.recommend import NAMES
from rmvpe.ownership import Output, check_outputs
from rmvpe.program import Command, run_program


def average(paths: Sequence[str], out: Path, force: bool = False) -> None:
    """Write `out`: the mean of the weights in `paths`."""
    if out.suffix != ".safetensors":
        raise UserError(f"{out} must end in .safetensors")
    if len(paths) < 2:
        raise UserError(f"{paths[0]} alone has no average: give two or more files")
    check_outputs([Output(out, "safetensors")], paths, force)
    checkpoints = [load(path) for path in paths]
    for path, checkpoint in zip(paths, checkpoints):
        if checkpoint.config != checkpoints[0].config:
            raise UserError(f"{path} has another network than {paths[0]}: give files of one network")
    tensors = {}
    for name in checkpoints[0].tensors:
        every = np.stack([checkpoint.tensors[name] for checkpoint in checkpoints])
        tensors[name] = np.asarray(every.mean(axis=0, dtype=np.float64), dtype=np.float32)
    metadata = {key: text for key, text in checkpoints[-1].metadata.items() if key not in NAMES}
    save(out, dataclasses.replace(checkpoints[-1], tensors=tensors, metadata=metadata))
    print(f"{out}: the mean of {len(checkpoints)} files")
    if metadata.keys() != checkpoints[-1].metadata.keys():
        print("it has no voicing threshold: those of the files do not fit the mean; find one with rmvpe evaluate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("weights", nargs="+", help="two or more safetensors files of one network")
    parser.add_argument("--out", required=True, type=Path, help="safetensors file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT even if rmvpe has not written it")


def run(arguments: argparse.Namespace) -> int:
    """Write the average."""
    average(arguments.weights, arguments.out, arguments.force)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("average_weights", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
