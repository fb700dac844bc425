"""The f0 of one sound file, with the flags of the inference script that RMVPE users know.

    python scripts/infer.py -m model.pt -i song.wav -o f0.csv -hop 160 -th 0.03

A .csv holds two columns without a header, as that script writes them: seconds, Hz (0 = unvoiced); the times are those
of the hop. Other endings (.npz, .npy, .pv) are the formats of `rmvpe predict`, which can do more.
"""

import argparse
from pathlib import Path

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.config import DecodeConfig, MelConfig
from rmvpe.errors import cli_errors
from rmvpe.estimator import DEFAULT_WEIGHTS, load
from rmvpe.files import atomic_path
from rmvpe.track import F0Track, format_of


def parser() -> argparse.ArgumentParser:
    """The known flags; the hop is in samples at 16 kHz, whatever the file's own sample rate."""
    parse = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parse.add_argument(
        "-m", "--model", default=DEFAULT_WEIGHTS, help="checkpoint, or bundled name (default: %(default)s)"
    )
    parse.add_argument("-d", "--device", default="auto", help="cpu, cuda, cuda:1, sdaa, mps (default: %(default)s)")
    parse.add_argument("-i", "--input", required=True, help="sound file, any sample rate")
    parse.add_argument("-o", "--output", required=True, help="file to write: .csv, .npz, .npy or .pv")
    parse.add_argument(
        "-hop",
        "--hop_length",
        type=int,
        default=MelConfig().hop_samples,
        metavar="SAMPLES",
        help="samples at 16 kHz between frames; 160 are 10 ms (default: %(default)s)",
    )
    parse.add_argument(
        "-th",
        "--threshold",
        "--threhold",  # as the known script spells it
        type=float,
        help=f"voiced from this confidence on (default: the weights' own, else {DecodeConfig().threshold})",
    )
    return parse


def write(track: F0Track, path: Path) -> None:
    """Two columns for .csv, otherwise the format that the ending names."""
    if format_of(path) != "csv":
        track.write(path)
        return
    with atomic_path(path) as temporary:
        np.savetxt(temporary, np.column_stack([track.time_s, track.f0_hz]), fmt=["%.6f", "%.3f"], delimiter=",")


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    with cli_errors("infer"):
        format_of(arguments.output)  # before the work
        decoding = {} if arguments.threshold is None else {"threshold": arguments.threshold}
        estimator = load(arguments.model, device=arguments.device)
        track = estimator.from_file(arguments.input, hop_s=arguments.hop_length / SAMPLE_RATE_HZ, **decoding)
        write(track, Path(arguments.output))


if __name__ == "__main__":
    main()
