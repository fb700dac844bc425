"""The picture of an evaluation of notes: F1 over the voice-to-music ratio, and how it varies from file to file."""

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from rmvpe.evaluation.evaluate import RATIO_NAMES
from rmvpe.evaluation.note_metrics import CRITERIA
from rmvpe.evaluation.notes import NoteEvaluation
from rmvpe.evaluation.plot import JITTER, SEED, SIZE_INCHES, TITLE_COLUMNS, look
from rmvpe.picture_text import literal
from rmvpe.pictures.file import check_picture, save_figure, title_lines
from rmvpe.pictures.theme import DEFAULT_THEME, Theme, style, theme_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = dict(zip(reversed(CRITERIA), ("RPA", "OA", "VR")))  # lines look like those of these scores of f0
STRICTEST = "COnPOff"


def plot_note_scores(
    evaluation: NoteEvaluation, path: str | os.PathLike[str], title: str = "", theme: str = DEFAULT_THEME
) -> None:
    """Draw an evaluation. `path` ends in .png, .pdf or .svg; theme, and UserError: as `rmvpe.plot.plot_track`."""
    check_picture(path)
    save_figure(draw(evaluation, title, theme), path)


def draw(evaluation: NoteEvaluation, title: str = "", theme: str = DEFAULT_THEME) -> "Figure":
    """The figure that `plot_note_scores` saves; pyplot does not know it. Ratios without reference notes are left out.

    With no reference note at all the panels are empty but for a sentence.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    colours = theme_named(theme)
    figure = Figure(figsize=SIZE_INCHES, facecolor=colours.paper, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    ratios = [ratio for ratio, means in evaluation.means.items() if not math.isnan(means[f"{STRICTEST} F1"])]
    for axes, fill in zip(figure.subplots(1, 2, squeeze=False)[0], (_means, _per_file)):
        fill(axes, evaluation, ratios, colours)
        style(axes, colours)
        axes.set_xticks(range(len(ratios)), [name.removesuffix(" dB") for name in ratios])
        axes.set_xlim(-0.5, max(len(ratios) - 0.5, 0.5))
        axes.set_ylim(0, 100)
        in_db = any(name not in RATIO_NAMES.values() for name in ratios)
        axes.set_xlabel("voice to music (dB)" if in_db else "", color=colours.ink, fontsize=12)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=colours.ink, alpha=0.13, linewidth=0.8)
        if not ratios:
            axes.text(0.5, 0.5, "no reference notes", color=colours.ink, transform=axes.transAxes, ha="center")
    shown, size = title_lines(title, 12, TITLE_COLUMNS)
    figure.suptitle(shown, color=colours.ink, fontsize=size, x=0.012, ha="left")
    literal(figure)
    return figure


def _means(axes: "Axes", evaluation: NoteEvaluation, ratios: list[str], theme: Theme) -> None:
    """A line over the ratios for each way to count a note as right."""
    for criterion, score in LOOKS.items():
        percent = [100 * evaluation.means[ratio][f"{criterion} F1"] for ratio in ratios]
        label = f"{CRITERIA[criterion]} right ({criterion})"
        axes.plot(range(len(ratios)), percent, **look(score, theme), linewidth=2.0, label=label, clip_on=False)
    axes.set_ylabel("F1 of notes (%), mean over files", color=theme.ink, fontsize=12)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False, labelcolor=theme.ink, fontsize=10.5
    )


def _per_file(axes: "Axes", evaluation: NoteEvaluation, ratios: list[str], theme: Theme) -> None:
    """The strictest F1 of each file as a dot, with median and quartiles."""
    rng = np.random.default_rng(SEED)
    colour = look(LOOKS[STRICTEST], theme)["color"]
    for x, ratio in enumerate(ratios):
        percent = np.array([100 * row[f"{STRICTEST} F1"] for row in evaluation.files if row["ratio"] == ratio])
        percent = percent[np.isfinite(percent)]
        axes.scatter(
            x + rng.uniform(-JITTER, JITTER, len(percent)),
            percent,
            s=16,
            color=colour,
            alpha=float(np.clip(12.0 / len(percent), 0.3, 0.9)),
            linewidths=0,
            clip_on=False,
        )
        low, middle, high = np.percentile(percent, (25, 50, 75))
        axes.bar(x, high - low, 2 * JITTER + 0.16, low, color=theme.ink, alpha=0.16)
        axes.hlines(middle, x - JITTER - 0.08, x + JITTER + 0.08, color=theme.ink, linewidth=2.2)
    axes.set_ylabel(f"{STRICTEST} F1 of each file (%)", color=theme.ink, fontsize=12)
    axes.set_title("dot: a file; line and box: median, quartiles", color=theme.ink, fontsize=10.5, pad=10)
