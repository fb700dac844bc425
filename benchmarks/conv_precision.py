"""What lower precision of the convolutions does to f0: cents and voicing flips against float32, on recordings.

python benchmarks/conv_precision.py examples/demo.flac [FILE ...] [--dtypes float16,bfloat16]

A CPU rounds inputs, weights and outputs of each convolution to the lower precision and sums in float32.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

import rmvpe
from rmvpe.errors import UserError
from rmvpe.pitch import cents_between
from rmvpe.program import Command, run_program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="sound files")
    parser.add_argument("--weights", default="small", help="bundled name or file (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="of PyTorch (default: %(default)s)")
    parser.add_argument("--dtypes", default="float16,bfloat16", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Predict all files in each precision and print how far f0 moved."""
    exact = [rmvpe.load(arguments.weights, "torch", arguments.device).from_file(name) for name in arguments.files]
    for dtype in arguments.dtypes.split(","):
        estimator = rmvpe.load(arguments.weights, "torch", arguments.device, conv_dtype=dtype)
        tracks = [estimator.from_file(name) for name in arguments.files]
        cents, flips, frames = [], 0, 0
        for a, b in zip(exact, tracks):
            both = a.voiced & b.voiced
            cents.append(np.abs(cents_between(a.f0_hz[both], b.f0_hz[both])))
            flips += int(np.sum(a.voiced != b.voiced))
            frames += len(a.voiced)
        apart = np.concatenate(cents)
        if not apart.size:
            raise UserError(f"{', '.join(arguments.files)}: nothing is voiced, so there is no f0 to compare")
        print(
            f"{dtype}: {len(apart)} voiced frames of {frames}: median {np.median(apart):.4f}, "
            f"99 % {np.percentile(apart, 99):.3f}, largest {apart.max():.2f} cents; {flips} voicing flips"
        )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run this file's command line."""
    return run_program("conv_precision", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
