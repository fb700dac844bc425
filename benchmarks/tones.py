"""How exactly steady harmonic tones are read: error in cents by pitch, over a range of pitches and sample rates.

python benchmarks/tones.py [--weights small] [--range-hz 55-1700] [--count 300]
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

import rmvpe
from rmvpe.errors import UserError
from rmvpe.pitch import cents_between
from rmvpe.program import Command, run_program

SECONDS = 1.0
EDGE_FRAMES = 8  # away from the abrupt start and end
SHOWN_CENTS = 4.5


def tone(f0_hz: float, rate: int) -> np.ndarray:
    """Harmonics falling as 1/k, at most 20, up to 7 kHz or the rate's limit."""
    time = np.arange(int(SECONDS * rate)) / rate
    count = max(1, min(20, int(min(7000.0, 0.45 * rate) / f0_hz)))
    wave = sum(np.sin(2 * np.pi * k * f0_hz * time) / k for k in range(1, count + 1))
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--weights", default="small", help="bundled name or file (default: %(default)s)")
    parser.add_argument("--backend", default="auto", help="torch, jax or auto")
    parser.add_argument("--range-hz", default="55-1700", metavar="LOW-HIGH", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=300, help="pitches, evenly spread in cents (default: %(default)s)")
    parser.add_argument("--rates", default="8000,16000,44100", help="sample rates in Hz (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Predict the tones and print the errors."""
    try:
        low, high = (float(part) for part in arguments.range_hz.split("-"))
        rates = [int(part) for part in arguments.rates.split(",")]
    except ValueError as error:
        raise UserError("--range-hz must be LOW-HIGH and --rates whole numbers joined by commas") from error
    estimator = rmvpe.load(arguments.weights, arguments.backend)
    for rate in rates:
        pitches = np.geomspace(low, min(high, 0.4 * rate), arguments.count)
        tracks = [estimator.from_audio(tone(f0_hz, rate), rate, threshold=0.0) for f0_hz in pitches]
        middles = [track.f0_hz[EDGE_FRAMES:-EDGE_FRAMES] for track in tracks]
        errors = np.array([np.median(cents_between(f0, pitch)) for f0, pitch in zip(middles, pitches)])
        worst = [f"{pitch:.0f} Hz {error:+.1f}" for pitch, error in zip(pitches, errors) if abs(error) > SHOWN_CENTS]
        print(
            f"{rate} Hz: median {np.median(errors):+.2f}, RMS {np.sqrt(np.mean(errors**2)):.2f} cents; "
            f"beyond {SHOWN_CENTS} cents: {', '.join(worst) or 'none'}"
        )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("tones", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
