"""How far can the confidence be trusted? Of the frames with a confidence of 0.9, how many are sung and found right?

    python benchmarks/reliability.py --data folder:PATH --snr clean,5,music --music FOLDER --plot reliability.png

A frame is right if the annotation has a voice there within 50 cents of the pitch that the decoder gives at that frame,
whatever the threshold. Prints, by confidence and voice-to-music ratio, the share of frames that are right, and the
mean distance between confidence and that share over all frames (expected calibration error); --plot draws it.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from rmvpe.data.mixing import find_music
from rmvpe.data.readers.registry import open_source
from rmvpe.estimator import DEFAULT_WEIGHTS, load
from rmvpe.evaluation.evaluate import Prediction, correct_frames, parse_ratio, predictions
from rmvpe.pictures.file import check_picture, save_figure
from rmvpe.pictures.theme import DEFAULT_THEME, THEMES, style, theme_named
from rmvpe.program import Command, run_program

BINS = 10
WORDS = {"clean": "no music", "music": "music alone, no voice"}


def curve(files: list[Prediction]) -> np.ndarray:
    """[3, BINS]: frames, mean confidence and share right of each tenth of the confidence; nan where no frame is."""
    confidence, right = (np.concatenate(parts) for parts in zip(*map(correct_frames, files)))
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    frames, total, hits = (np.bincount(place, weight, BINS) for weight in (None, confidence, right))
    return np.stack([frames, *(sums / np.where(frames > 0, frames, np.nan) for sums in (total, hits))])


def table(curves: dict[str, np.ndarray]) -> str:
    """Markdown: a row per tenth of the confidence, for each ratio the share right in % and how many frames."""
    lines = ["| confidence | " + " | ".join(f"{name}: right % | frames" for name in curves) + " |"]
    lines.append("|---" + "|---:" * (2 * len(curves)) + "|")
    for k in range(BINS):
        cells = [f"{100 * f[2, k]:.1f} | {f[0, k]:.0f}" if f[0, k] else "- | 0" for f in curves.values()]
        lines.append(f"| {k / BINS:g} to {(k + 1) / BINS:g} | " + " | ".join(cells) + " |")
    errors = {name: 100 * np.nansum(f[0] * np.abs(f[1] - f[2])) / f[0].sum() for name, f in curves.items()}
    return "\n".join([*lines, "", *(f"calibration error, {name}: {error:.1f} %" for name, error in errors.items())])


def plot(curves: dict[str, np.ndarray], threshold: float, path: str, theme: str = DEFAULT_THEME) -> None:
    """Share right over confidence, a line per ratio, and the diagonal on which a calibrated confidence lies."""
    from matplotlib.figure import Figure

    colours = theme_named(theme)
    axes = (figure := Figure(figsize=(7.6, 7.0), facecolor=colours.paper, layout="constrained")).subplots()
    axes.plot([0, 100], [0, 100], color=colours.ink, alpha=0.5, linestyle=":", label="exactly as promised")
    axes.axvline(100 * threshold, color=colours.ink, linewidth=1.2, linestyle="--", label=f"threshold {threshold:g}")
    for k, (name, (frames, mean, share)) in enumerate(curves.items()):
        look, sizes = colours.line(k), 14 + 300 * frames / frames.sum()
        label = WORDS.get(name, f"{name} voice to music")
        axes.plot(100 * mean, 100 * share, **look, markersize=4, linewidth=1.8, label=label, clip_on=False)
        marks = {"color": look["color"], "marker": look["marker"]}
        axes.scatter(100 * mean, 100 * share, s=sizes, **marks, alpha=0.6, linewidths=0, clip_on=False)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axes.set_xlabel("confidence (%); larger marks: more of the frames", color=colours.ink, fontsize=12)
    axes.set_ylabel("frames that are right (%): sung, pitch within 50 cents", color=colours.ink, fontsize=12)
    axes.set_title("How often a confidence is right", color=colours.ink, fontsize=13, loc="left", pad=10)
    axes.legend(loc="upper left", frameon=False, labelcolor=colours.ink, fontsize=11, handlelength=3.0)
    style(axes, colours)
    axes.grid(color=colours.ink, alpha=0.14, linewidth=0.8)
    axes.set_axisbelow(True)
    save_figure(figure, path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    flags = {"data": None, "split": "all", "snr": "clean", "music": None, "weights": DEFAULT_WEIGHTS}
    for name, default in flags.items():
        text = "as for rmvpe evaluate" + (f" (default: {default})" if default else "")
        parser.add_argument(f"--{name}", default=default, required=name == "data", help=text)
    parser.add_argument("--plot", metavar="PICTURE", help="draw it (.png, .pdf or .svg)")
    parser.add_argument("--theme", choices=tuple(THEMES), default=DEFAULT_THEME, help="of the picture")


def run(given: argparse.Namespace) -> int:
    """Print the table and draw it."""
    if given.plot:
        check_picture(given.plot)
    music = find_music(given.music) if given.music else None
    ratios, source, estimator = given.snr.split(","), open_source(given.data, given.split), load(given.weights)
    rows = predictions(estimator, source, list(map(parse_ratio, ratios)), music=music)
    curves = {ratio: curve(files) for ratio, files in rows.items()}
    print(table(curves))
    if given.plot:
        plot(curves, estimator.config.known_threshold, given.plot, given.theme)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("reliability", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
