"""The f0 of one sound file, with the flags of the inference script that RMVPE users know.

python scripts/infer.py -m model.pt -i song.wav -o f0.csv -hop 160 -th 0.03
"""

import sys
from collections.abc import Sequence

from rmvpe.signals import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    from rmvpe.cli.infer import COMMAND
    from rmvpe.program import run_program

    return run_program("infer", COMMAND, argv)


if __name__ == "__main__":
    sys.exit(run_main("infer", main))
