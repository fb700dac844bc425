"""Make instrumental music from SoundFonts: accompaniment for scripts/prepare_synthetic.py in which nobody sings.

sudo apt install fluidsynth fluid-soundfont-gm
python scripts/prepare_instruments.py --soundfont /usr/share/sounds/sf2/FluidR3_GM.sf2 --out music --hours 2
"""

import sys
from collections.abc import Sequence

from rmvpe.signals import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """`rmvpe prepare instruments`."""
    from rmvpe.cli.prepare import INSTRUMENTS
    from rmvpe.program import run_program

    return run_program("prepare_instruments", INSTRUMENTS, argv)


if __name__ == "__main__":
    sys.exit(run_main("prepare_instruments", main))
