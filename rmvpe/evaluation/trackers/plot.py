"""The picture of a comparison of trackers: accuracy over the voice-to-music ratio, and accuracy against cost."""

import math
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rmvpe.evaluation.evaluate import MUSIC, RATIO_NAMES
from rmvpe.evaluation.plot import x_label
from rmvpe.evaluation.trackers.compare import TrackerComparison, TrackerResult
from rmvpe.picture_text import literal
from rmvpe.pictures.file import check_picture, save_figure, title_lines
from rmvpe.pictures.theme import DASHES, DEFAULT_THEME, MARKERS, Theme, style, theme_named
from rmvpe.text import shortened

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES, TITLE_COLUMNS = (13.0, 5.4), 130
OUR_MARKERS = ("o", "p", "h")  # of this project's trackers, which have one colour
MIN_COST_S = 1e-5  # the axis is logarithmic
TICKS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MAX_COST_RATIO_ALL_TICKS = 500.0  # over a larger range only every third tick is drawn
LEGEND_LETTERS = 15  # longer names take several lines
MAX_LEGEND_COLUMNS = 4 * LEGEND_LETTERS  # and still longer ones lose their middle
FIGURE_SPACE = "\u2007"  # as wide as a digit


@dataclass(frozen=True)
class Look:
    """How a tracker is drawn in both panels."""

    colour: str
    marker: str
    dashes: Any
    ours: bool


def plot_trackers(
    comparison: TrackerComparison, path: str | os.PathLike[str], title: str = "", theme: str = DEFAULT_THEME
) -> None:
    """Draw a comparison. `path` ends in .png, .pdf or .svg; theme, and UserError: as `rmvpe.plot.plot_track`."""
    check_picture(path)
    save_figure(draw(comparison, title, theme), path)


def draw(comparison: TrackerComparison, title: str = "", theme: str = DEFAULT_THEME) -> "Figure":
    """The figure that `plot_trackers` saves; pyplot does not know it.

    Each panel has a legend at its right, in the order of its values, so that names cannot overlap.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    colours = theme_named(theme)
    figure = Figure(figsize=SIZE_INCHES, facecolor=colours.paper, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    results = list(comparison.results.values())
    looks = _looks(results, colours)
    ratios = [ratio for ratio in results[0].pooled if ratio != RATIO_NAMES[MUSIC]]
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1.0]})
    _over_ratio(left, results, looks, ratios, colours)
    _against_cost(right, results, looks, ratios, colours)
    for axes in (left, right):
        style(axes, colours)
        axes.set_axisbelow(True)
        axes.grid(color=colours.ink, alpha=0.16, linewidth=0.8)
    left.grid(axis="x", visible=False)
    shown, size = title_lines(title, 11, TITLE_COLUMNS)
    figure.suptitle(shown, color=colours.ink, fontsize=size, x=0.012, ha="left", alpha=0.75)
    literal(figure)
    return figure


def _looks(results: Sequence[TrackerResult], theme: Theme) -> dict[str, Look]:
    """The look of each tracker, by name: no two of the same colour and marker."""
    ours = [result.name for result in results if result.ours]
    others = [result.name for result in results if not result.ours]
    looks = {
        name: Look(theme.f0, OUR_MARKERS[k % len(OUR_MARKERS)], DASHES[k % len(DASHES)], True)
        for k, name in enumerate(ours)
    }
    markers = MARKERS[1:]  # the disc is ours
    for k, name in enumerate(others):
        colour = theme.lines[k % len(theme.lines)]
        looks[name] = Look(colour, markers[k % len(markers)], DASHES[(k + 1) % len(DASHES)], False)
    return looks


def _over_ratio(
    axes: "Axes", results: Sequence[TrackerResult], looks: dict[str, Look], ratios: list[str], theme: Theme
) -> None:
    """Raw pitch accuracy, a line per tracker."""
    lines: list[Artist] = []
    percent = {result.name: [100 * result.pooled[ratio]["RPA"] for ratio in ratios] for result in results}
    for result in results:
        look = looks[result.name]
        lines += axes.plot(
            percent[result.name],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dashes,
            markersize=8 if look.ours else 6,
            linewidth=3.2 if look.ours else 1.8,
            zorder=3 if look.ours else 2,
            clip_on=False,
        )
    lowest = min((value for values in percent.values() for value in values if math.isfinite(value)), default=100.0)
    axes.set_ylim(max(0.0, 10.0 * math.floor((lowest - 1.0) / 10.0)), 100.0)
    axes.set_xticks(range(len(ratios)), [name.removesuffix(" dB") for name in ratios])
    axes.set_xlim(-0.25, len(ratios) - 0.75)
    axes.set_xlabel(x_label(ratios), color=theme.ink, fontsize=12)
    axes.set_ylabel("raw pitch accuracy (RPA, %)", color=theme.ink, fontsize=12)
    axes.set_title("Pitch of the voice as the music gets louder", color=theme.ink, fontsize=13, loc="left", pad=10)
    last = [values[-1] for values in percent.values()]
    _legend(axes, lines, results, last, f"RPA (%), {ratios[-1]}", theme)


def _against_cost(
    axes: "Axes", results: Sequence[TrackerResult], looks: dict[str, Look], ratios: list[str], theme: Theme
) -> None:
    """Overall accuracy, the mean over the ratios, against processor time."""
    from matplotlib.ticker import NullFormatter, NullLocator

    percent = [100 * float(np.mean([result.pooled[ratio]["OA"] for ratio in ratios])) for result in results]
    costs = [max(result.cpu_seconds, MIN_COST_S) for result in results]
    marks: list[Artist] = []
    for result, cost, value in zip(results, costs, percent):
        look = looks[result.name]
        size = 150 if look.ours else 80
        marks.append(axes.scatter([cost], [value], s=size, color=look.colour, marker=look.marker, zorder=3))
    low, high = min(costs) / 2.2, max(costs) * 2.2
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(max(0.0, min(percent) - 4.0), min(100.0, max(percent) + 5.0))
    shown = TICKS_S[::3] if high / low > MAX_COST_RATIO_ALL_TICKS else TICKS_S
    ticks = [tick for tick in shown if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("processor time (s per s of audio)", color=theme.ink, fontsize=12)
    axes.set_ylabel("overall accuracy (OA, %), mean over the ratios", color=theme.ink, fontsize=12)
    axes.set_title("Pitch and voicing right, and what it costs", color=theme.ink, fontsize=13, loc="left", pad=10)
    _legend(axes, marks, results, percent, "OA (%), mean", theme)


def _legend(
    axes: "Axes",
    handles: Sequence["Artist"],
    results: Sequence[TrackerResult],
    percent: Sequence[float],
    heading: str,
    theme: Theme,
) -> None:
    """Value and name of each tracker at the right of the panel, highest value first, each in its own colour."""
    order = sorted(range(len(results)), key=lambda k: -percent[k] if math.isfinite(percent[k]) else math.inf)
    indent = f"\n{2 * FIGURE_SPACE}  "
    labels = [shortened(results[k].label, MAX_LEGEND_COLUMNS) for k in order]
    names = [indent.join(textwrap.wrap(label, LEGEND_LETTERS)) for label in labels]
    texts = [f"{percent[k]:.0f}".rjust(2, FIGURE_SPACE) + f"  {name}" for k, name in zip(order, names)]
    legend = axes.legend(
        [handles[k] for k in order],
        texts,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        title=heading,
        title_fontproperties={"size": 10.5},
        alignment="left",
        frameon=False,
        fontsize=11,
        labelspacing=0.75,
        handlelength=2.8,
        labelcolor=theme.ink,
    )
    legend.get_title().set_color(theme.ink)
    for text, k in zip(legend.get_texts(), order):
        text.set_fontweight("bold" if results[k].ours else "normal")
