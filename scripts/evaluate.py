"""Accuracy of weights on a data set with known f0: the command `rmvpe evaluate`, on a Hybrid folder by default.

python scripts/evaluate.py --data Hybrid --split test --weights small --backend torch --snr clean,20,10,5,0,-5
"""

import sys
from collections.abc import Sequence

from rmvpe.cli.main import main

DATA = "Hybrid"


def command_line(arguments: Sequence[str]) -> list[str]:
    """The command's, with this script's default of --data."""
    given = any(argument.split("=")[0] in ("--data", "-h", "--help") for argument in arguments)
    return ["evaluate", *([] if given else ["--data", DATA]), *arguments]


if __name__ == "__main__":
    sys.exit(main(command_line(sys.argv[1:])))
