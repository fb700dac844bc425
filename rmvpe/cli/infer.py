"""`scripts/infer.py`: the f0 of one sound file, with the flags of the inference script that RMVPE users know."""

import argparse
from pathlib import Path

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.config import DEFAULT_THRESHOLD, MelConfig
from rmvpe.estimator import DEFAULT_WEIGHTS, load
from rmvpe.files import atomic_path
from rmvpe.ownership import Output, check_outputs
from rmvpe.program import Command
from rmvpe.track import F0Track, format_of

SUMMARY = "The f0 of one sound file, with the flags of the inference script that RMVPE users know."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The known flags; the hop is in samples at 16 kHz, whatever the file's own sample rate."""
    parser.epilog = (
        "A .csv holds two columns without a header, as that script writes them: seconds, Hz (0 = unvoiced); the times "
        "are those of the hop. Other endings (.npz, .npy, .pv) are the formats of rmvpe predict, which can do more."
    )
    add = parser.add_argument
    text = "checkpoint, or bundled name (default: %(default)s)"
    add("-m", "--model", default=DEFAULT_WEIGHTS, metavar="WEIGHTS", help=text)
    add("-d", "--device", default="auto", help="cpu, cuda, cuda:1, sdaa, mps (default: %(default)s)")
    add("-i", "--input", required=True, help="sound file, any sample rate")
    add("-o", "--output", required=True, help="file to write: .csv, .npz, .npy or .pv")
    text = "samples at 16 kHz between frames; 160 are 10 ms (default: %(default)s)"
    add("-hop", "--hop_length", type=int, default=MelConfig().hop_samples, metavar="SAMPLES", help=text)
    text = f"voiced from this confidence on (default: the weights' own, else {DEFAULT_THRESHOLD})"
    add("-th", "--threshold", "--threhold", type=float, help=text)  # misspelled as in the known script
    add("--force", action="store_true", help="replace an output that is not known as a result of this script")


def run(arguments: argparse.Namespace) -> int:
    """Predict one file and write it."""
    infer(
        arguments.input,
        arguments.output,
        weights=arguments.model,
        device=arguments.device,
        hop_s=arguments.hop_length / SAMPLE_RATE_HZ,
        threshold=arguments.threshold,
        force=arguments.force,
    )
    return 0


def infer(
    source: str,
    output: str,
    *,
    weights: str,
    device: str,
    hop_s: float,
    threshold: float | None,
    force: bool = False,
) -> None:
    """Write the track of a sound file. threshold: None for the weights' own. Raises UserError."""
    kind = format_of(output)  # before the work
    check_outputs([Output(Path(output), "two columns" if kind == "csv" else kind)], [source, weights], force)
    estimator = load(weights, device=device)
    if threshold is not None:
        estimator = estimator.with_config(threshold=threshold)
    write(estimator.from_file(source, hop_s=hop_s), Path(output))


def write(track: F0Track, path: Path) -> None:
    """Two columns for .csv, otherwise the format that the ending names."""
    if format_of(path) != "csv":
        track.write(path)
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        np.savetxt(file, np.column_stack([track.time_s, track.f0_hz]), fmt=["%.6f", "%.3f"], delimiter=",")


COMMAND = Command(SUMMARY, add_arguments, run)
