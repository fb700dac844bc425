"""`make demo`: the pitch of the bundled recording from each framework, how far they agree, and a picture.

A framework that is not installed is skipped and named.

python scripts/demo.py [RECORDING] [-o FOLDER]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rmvpe
from rmvpe import audio
from rmvpe.backends import BACKENDS, INSTALL, choose_backend, installed_backends, python_too_old
from rmvpe.evaluation.agreement import Comparison, compare_salience
from rmvpe.pictures.theme import DEFAULT_THEME, THEMES
from rmvpe.plot import plot_track
from rmvpe.program import Command, run_program
from rmvpe.text import printable
from rmvpe.track import F0Track

RECORDING = Path(__file__).resolve().parents[1] / "examples" / "demo.flac"


def predict(recording: Path, backend: str) -> tuple[F0Track, np.ndarray, float]:
    """Track, salience and seconds of one backend; the seconds are those of a second run, compilation done."""
    estimator = rmvpe.load("small", backend)
    samples = audio.read(recording).samples
    salience = estimator.salience(samples, audio.SAMPLE_RATE_HZ)
    start = time.perf_counter()
    track = estimator.from_file(recording)
    return track, salience, time.perf_counter() - start


def table(tracks: dict[str, tuple[F0Track, float]]) -> str:
    """One row per backend."""
    lines = [f"{'backend':<8} {'seconds':>8} {'voiced %':>9} {'median f0 Hz':>13}"]
    for name, (track, seconds) in tracks.items():
        voiced = 100 * track.voiced.mean()
        median = np.median(track.f0_hz[track.voiced]) if track.voiced.any() else 0.0
        lines.append(f"{name:<8} {seconds:8.2f} {voiced:9.1f} {median:13.2f}")
    return "\n".join(lines)


def agreement(names: str, comparison: Comparison) -> str:
    """How far two backends agree, in one line."""
    return (
        f"{names}: max |Δ f0| {comparison.max_cents:.4f} cents over {comparison.voiced_both} voiced frames, "
        f"{comparison.flips} voicing flips, max |Δ salience| {comparison.max_salience:.1e}"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("recording", nargs="?", type=Path, default=RECORDING, help="default: examples/demo.flac")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder (default: %(default)s)")
    parser.add_argument("--theme", choices=tuple(THEMES), default=DEFAULT_THEME, help="colours of the picture")


def run(arguments: argparse.Namespace) -> int:
    """Predict with the frameworks that are there, print how far they agree, draw."""
    names = installed_backends() or [choose_backend()]  # with none of them, it says what to install
    results = {name: predict(arguments.recording, name) for name in names}
    print(table({name: (track, seconds) for name, (track, _, seconds) in results.items()}))
    config = rmvpe.load("small", names[0]).config
    first = results[names[0]][1]
    for other in names[1:]:
        print(agreement(f"{names[0]} and {other}", compare_salience(first, results[other][1], config)))
    for name in BACKENDS:
        if name not in results:
            print(f"{name} skipped: {python_too_old(name) or f'it is not installed, run pip install {INSTALL[name]}'}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    stem, track = arguments.recording.stem, results[names[0]][0]
    track.write(arguments.output / f"{stem}.csv")
    picture = arguments.output / f"{stem}.png"
    samples = audio.read(arguments.recording).samples
    plot_track(
        samples,
        track,
        picture,
        title=arguments.recording.name,
        notes=track.notes(samples),
        theme=arguments.theme,
        threshold=config.threshold,
    )
    print(f"picture: {printable(picture)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("demo", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
