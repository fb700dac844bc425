"""Pitch trackers side by side: the same files, the same 10 ms grid, accuracy over the voice-to-music ratio, and cost.

    pip install 'rmvpe[peers]'
    python scripts/compare_trackers.py --data FOLDER --trackers rmvpe,fcpe,swift-f0,crepe,pesto,praat,pyin \\
        --snr clean,20,10,5,0,-5 --music FOLDER --plot comparison.png --markdown comparison.md

Each tracker runs with the settings that its own project documents (`rmvpe/evaluation/trackers/adapters.py`; the output
states them), in a process of its own with one thread unless --threads says otherwise. RPA, RCA, OA, VR, VFA by
mir_eval, octave errors and lag as in `rmvpe evaluate`. Trackers that are not installed are passed over. Exit code: 0, 1
if some files could not be judged, 2 if nothing could be compared.
"""

import argparse
import sys


def main() -> None:
    # Here, because each tracker's process reads this file too and its memory should be its own
    from rmvpe.cli.compare import add_arguments, run
    from rmvpe.errors import cli_errors

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    with cli_errors("compare_trackers"):
        status = run(arguments)
    sys.exit(status)


if __name__ == "__main__":
    main()
