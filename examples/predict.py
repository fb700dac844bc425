"""The f0 of a sound file as a table and a picture.

    python examples/predict.py                    # the bundled recording
    python examples/predict.py song.wav --out pitch

Writes OUT/NAME.csv (time_s, f0_hz, voiced, confidence) and OUT/NAME.png. Needs `pip install '.[torch,plot]'`, or
`'.[jax,plot]'`.
"""

import argparse
from pathlib import Path

import numpy as np

import rmvpe
from rmvpe import audio
from rmvpe.plot import plot_track

RECORDING = Path(__file__).with_name("demo.flac")


def main(argv: list[str] | None = None) -> None:
    """Predict, print a summary, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", type=Path, default=RECORDING)
    parser.add_argument("--out", type=Path, default=Path("pitch"), help="folder (default: %(default)s)")
    arguments = parser.parse_args(argv)

    estimator = rmvpe.load("small")
    recording = audio.read(arguments.recording)
    track = estimator.from_recording(recording)

    sung = track.f0_hz[track.voiced]
    print(f"{recording.duration_s:.1f} s, {100 * np.mean(track.voiced):.0f} % of the frames voiced")
    if len(sung):
        print(f"f0 from {sung.min():.0f} to {sung.max():.0f} Hz, median {np.median(sung):.0f} Hz")
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / f"{arguments.recording.stem}.csv"
    track.write(table)
    plot_track(recording.samples, track, table.with_suffix(".png"), title=arguments.recording.name)
    print(f"{table} and {table.with_suffix('.png')}")


if __name__ == "__main__":
    main()
