"""The picture of an evaluation: scores over the voice-to-music ratio, and how they vary from file to file."""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmvpe.evaluation.evaluate import CLEAN, MUSIC, RATIO_NAMES, Evaluation
from rmvpe.picture_text import literal
from rmvpe.pictures.file import check_picture, save_figure, title_lines
from rmvpe.pictures.theme import DEFAULT_THEME, Theme, style, theme_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES, TITLE_COLUMNS = (11.0, 5.6), 100
# Score -> name in the legend. Only the false alarms are better where they are lower: dashes, a mark that points down
LINES = {
    "RPA": "raw pitch accuracy (RPA), higher is better",
    "OA": "overall accuracy (OA), higher is better",
    "VR": "voicing recall (VR), higher is better",
    "VFA": "voicing false alarm (VFA), lower is better",
}
RATIO_WORDS = {CLEAN: "clean: no music", MUSIC: "music: no voice"}
JITTER = 0.28  # the dots of a ratio are at most this far left or right of its tick
SEED = 0  # of the jitter, so that the same scores give the same picture


def plot_scores(
    evaluation: Evaluation, path: str | os.PathLike[str], title: str = "", theme: str = DEFAULT_THEME
) -> None:
    """Draw an evaluation. `path` ends in .png, .pdf or .svg; theme, and UserError: as `rmvpe.plot.plot_track`."""
    check_picture(path)
    save_figure(draw(evaluation, title, theme), path)


def draw(evaluation: Evaluation, title: str = "", theme: str = DEFAULT_THEME) -> "Figure":
    """The figure that `plot_scores` saves; pyplot does not know it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    colours = theme_named(theme)
    figure = Figure(figsize=SIZE_INCHES, facecolor=colours.paper, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    ratios = list(evaluation.pooled)
    with_voice = [ratio for ratio in ratios if not math.isnan(evaluation.pooled[ratio]["RPA"])]
    panels = figure.subplots(1, 2 if with_voice else 1, squeeze=False)[0]
    for axes, names, fill in zip(panels, (ratios, with_voice), (_pooled, _per_file)):
        fill(axes, evaluation, names, colours)
        style(axes, colours)
        axes.set_xticks(range(len(names)), [name.removesuffix(" dB") for name in names])
        axes.set_xlim(-0.5, max(len(names) - 0.5, 0.5))
        in_db = any(name not in RATIO_NAMES.values() for name in names)
        axes.set_xlabel(x_label(names) if in_db else "", color=colours.ink, fontsize=12)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=colours.ink, alpha=0.16, linewidth=0.8)
    shown, size = title_lines(title, 12, TITLE_COLUMNS)
    figure.suptitle(shown, color=colours.ink, fontsize=size, x=0.012, ha="left")
    literal(figure)
    return figure


def look(score: str, theme: Theme) -> dict[str, Any]:
    """Colour, marker and dashes of a score's line."""
    found = {
        "RPA": {"color": theme.f0, "marker": "o", "linestyle": "-"},
        "OA": {**theme.line(0), "marker": "s", "linestyle": "-"},
        "VR": {**theme.line(2), "marker": "^", "linestyle": "-."},
        "VFA": {"color": theme.ink, "marker": "v", "linestyle": "--"},
    }
    return found[score]


def x_label(ratios: Sequence[str]) -> str:
    """What the ratios are, with the words among them that are no number of dB."""
    words = {RATIO_NAMES[key]: text for key, text in RATIO_WORDS.items()}
    said = [text for name, text in words.items() if name in ratios]
    return "; ".join(["voice-to-music ratio (dB)", *said])


def _pooled(axes: "Axes", evaluation: Evaluation, ratios: list[str], theme: Theme) -> None:
    """A line per score over the ratios."""
    with_voice = [x for x, ratio in enumerate(ratios) if ratio != RATIO_NAMES[MUSIC]]
    for name, label in LINES.items():
        percent = [100 * evaluation.pooled[ratios[x]][name] for x in with_voice]
        axes.plot(
            with_voice, percent, **look(name, theme), markersize=7, linewidth=2.0, label=label, clip_on=False, zorder=3
        )
    for x in set(range(len(ratios))) - set(with_voice):
        # Music alone has false alarms only, and no ratio in dB that its point could be connected to
        percent_vfa = 100 * evaluation.pooled[ratios[x]]["VFA"]
        axes.plot([x], [percent_vfa], **look("VFA", theme), markersize=7, clip_on=False)
        text = f"{percent_vfa:.1f} %"
        axes.annotate(text, (x, percent_vfa), (0, 9), textcoords="offset points", ha="center", color=theme.ink)
    axes.set_ylim(0, 100)
    axes.set_ylabel("score, all files together (%)", color=theme.ink, fontsize=12)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        frameon=False,
        labelcolor=theme.ink,
        fontsize=10.5,
        handlelength=3.2,
    )


def _per_file(axes: "Axes", evaluation: Evaluation, ratios: list[str], theme: Theme) -> None:
    """The RPA of each file as a dot, with median and quartiles."""
    rng = np.random.default_rng(SEED)
    for x, ratio in enumerate(ratios):
        percent = np.array([100 * row["RPA"] for row in evaluation.files if row["ratio"] == ratio])
        percent = percent[np.isfinite(percent)]
        jittered = x + rng.uniform(-JITTER, JITTER, len(percent))
        alpha = float(np.clip(12.0 / max(len(percent), 1), 0.3, 0.9))
        axes.scatter(jittered, percent, s=16, color=theme.f0, alpha=alpha, linewidths=0, clip_on=False)
        low, middle, high = np.percentile(percent, (25, 50, 75))
        axes.bar(x, high - low, 2 * JITTER + 0.16, low, color=theme.ink, alpha=0.16)
        axes.hlines(middle, x - JITTER - 0.08, x + JITTER + 0.08, color=theme.ink, linewidth=2.2)
    axes.set_ylim(*_percent_range([100 * row["RPA"] for row in evaluation.files]))
    axes.set_ylabel("raw pitch accuracy of each file (%)", color=theme.ink, fontsize=12)
    axes.set_title(
        "dot: a file; line: median; box: the middle half of the files",
        color=theme.ink,
        fontsize=10.5,
        pad=10,
        loc="left",
    )


def _percent_range(percent: list[float]) -> tuple[float, float]:
    """From a multiple of 10 that is at least 3 below the lowest finite value, up to 100."""
    lowest = min((value for value in percent if math.isfinite(value)), default=0.0)
    return max(0.0, 10.0 * math.floor((lowest - 3.0) / 10.0)), 100.0
