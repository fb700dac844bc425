"""The picture of an evaluation: scores over the voice-to-music ratio, and how they vary from file to file."""

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from rmvpe.evaluation.evaluate import MUSIC, RATIO_NAMES, Evaluation
from rmvpe.picture_text import literal
from rmvpe.plot import BACKGROUND, F0_COLOUR, FOREGROUND, check_picture, save_figure, style, title_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES, TITLE_COLUMNS = (11.0, 5.0), 100
# Score -> colour, marker and name in the legend
LINES = {
    "RPA": (F0_COLOUR, "o", "pitch right (RPA)"),
    "OA": ("#ffb454", "s", "pitch and voicing right (OA)"),
    "VR": ("#b39dff", "^", "voice found (VR)"),
    "VFA": ("#ff6b6b", "v", "false alarms (VFA)"),
}
JITTER = 0.28  # the dots of a ratio are at most this far left or right of its tick
SEED = 0  # of the jitter, so that the same scores give the same picture


def plot_scores(evaluation: Evaluation, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw an evaluation. `path` ends in .png, .pdf or .svg; raises UserError as `rmvpe.plot.plot_track`."""
    check_picture(path)
    save_figure(draw(evaluation, title), path)


def draw(evaluation: Evaluation, title: str = "") -> "Figure":
    """The figure that `plot_scores` saves; pyplot does not know it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=SIZE_INCHES, facecolor=BACKGROUND, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    ratios = list(evaluation.pooled)
    with_voice = [ratio for ratio in ratios if not math.isnan(evaluation.pooled[ratio]["RPA"])]
    panels = figure.subplots(1, 2 if with_voice else 1, squeeze=False)[0]
    for axes, names, fill in zip(panels, (ratios, with_voice), (_pooled, _per_file)):
        fill(axes, evaluation, names)
        style(axes)
        axes.set_xticks(range(len(names)), [name.removesuffix(" dB") for name in names])
        axes.set_xlim(-0.5, max(len(names) - 0.5, 0.5))
        in_db = any(name not in RATIO_NAMES.values() for name in names)
        axes.set_xlabel("voice to music (dB)" if in_db else "", color=FOREGROUND, fontsize=12)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=FOREGROUND, alpha=0.13, linewidth=0.8)
    shown, size = title_lines(title, 12, TITLE_COLUMNS)
    figure.suptitle(shown, color=FOREGROUND, fontsize=size, x=0.012, ha="left")
    literal(figure)
    return figure


def _pooled(axes: "Axes", evaluation: Evaluation, ratios: list[str]) -> None:
    """A line per score over the ratios."""
    with_voice = [x for x, ratio in enumerate(ratios) if ratio != RATIO_NAMES[MUSIC]]
    for name, (colour, marker, label) in LINES.items():
        percent = [100 * evaluation.pooled[ratios[x]][name] for x in with_voice]
        axes.plot(
            with_voice, percent, color=colour, marker=marker, markersize=6, linewidth=2.0, label=label, clip_on=False
        )
    for x in set(range(len(ratios))) - set(with_voice):
        # Music alone has false alarms only, and no ratio in dB that its point could be connected to
        percent_vfa = 100 * evaluation.pooled[ratios[x]]["VFA"]
        colour, marker, _ = LINES["VFA"]
        axes.plot([x], [percent_vfa], color=colour, marker=marker, markersize=6, clip_on=False)
        text = f"{percent_vfa:.1f}"
        axes.annotate(text, (x, percent_vfa), (0, 9), textcoords="offset points", ha="center", color=colour)
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of frames, all files together", color=FOREGROUND, fontsize=12)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, labelcolor=FOREGROUND, fontsize=10.5
    )


def _per_file(axes: "Axes", evaluation: Evaluation, ratios: list[str]) -> None:
    """The RPA of each file as a dot, with median and quartiles."""
    rng = np.random.default_rng(SEED)
    for x, ratio in enumerate(ratios):
        percent = np.array([100 * row["RPA"] for row in evaluation.files if row["ratio"] == ratio])
        percent = percent[np.isfinite(percent)]
        jittered = x + rng.uniform(-JITTER, JITTER, len(percent))
        alpha = float(np.clip(12.0 / max(len(percent), 1), 0.3, 0.9))
        axes.scatter(jittered, percent, s=16, color=F0_COLOUR, alpha=alpha, linewidths=0, clip_on=False)
        low, middle, high = np.percentile(percent, (25, 50, 75))
        axes.bar(x, high - low, 2 * JITTER + 0.16, low, color=FOREGROUND, alpha=0.16)
        axes.hlines(middle, x - JITTER - 0.08, x + JITTER + 0.08, color=FOREGROUND, linewidth=2.2)
    axes.set_ylim(*_percent_range([100 * row["RPA"] for row in evaluation.files]))
    axes.set_ylabel("RPA of each file (%)", color=FOREGROUND, fontsize=12)
    axes.set_title("dot: a file; line and box: median, quartiles", color=FOREGROUND, fontsize=10.5, pad=10)


def _percent_range(percent: list[float]) -> tuple[float, float]:
    """From a multiple of 10 that is at least 3 below the lowest finite value, up to 100."""
    lowest = min((value for value in percent if math.isfinite(value)), default=0.0)
    return max(0.0, 10.0 * math.floor((lowest - 3.0) / 10.0)), 100.0
