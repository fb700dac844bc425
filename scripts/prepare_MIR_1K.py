"""Make the Hybrid folder from MIR-1K: 1000 sung clips with their pitch, split by singer.

python scripts/prepare_MIR_1K.py                            # downloads the official archive, in several runs if cut
python scripts/prepare_MIR_1K.py --archive MIR-1K.rar --out Hybrid --workers 4
python scripts/prepare_MIR_1K.py --archive https://example.org/MIR-1K.zip --sha256 ... --size ...
"""

import sys
from collections.abc import Sequence

from rmvpe.signals import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """`rmvpe prepare mir-1k`."""
    from rmvpe.cli.prepare import MIR_1K
    from rmvpe.program import run_program

    return run_program("prepare_MIR_1K", MIR_1K, argv)


if __name__ == "__main__":
    sys.exit(run_main("prepare_MIR_1K", main))
