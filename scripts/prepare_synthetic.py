"""Make the Hybrid folder: sung, spoken and synthetic items with exactly known f0, beside music to mix them with.

python scripts/prepare_synthetic.py --voices voices --music music --out Hybrid --workers 3
"""

import sys
from collections.abc import Sequence

from rmvpe.signals import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """`rmvpe prepare synthetic`."""
    from rmvpe.cli.prepare import SYNTHETIC
    from rmvpe.program import run_program

    return run_program("prepare_synthetic", SYNTHETIC, argv)


if __name__ == "__main__":
    sys.exit(run_main("prepare_synthetic", main))
