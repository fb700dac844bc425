"""The picture of an evaluation: scores over the voice-to-music ratio, and how they spread over the files."""

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from rmvpe.evaluation.evaluate import MUSIC, RATIO_NAMES, Evaluation
from rmvpe.files import atomic_path
from rmvpe.plot import DOTS_PER_INCH, F0_COLOUR, INK, PAPER, check_picture, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (11.0, 5.0)
# Score -> colour, mark and what it is called beside its line
LINES = {
    "RPA": (F0_COLOUR, "o", "pitch right (RPA)"),
    "OA": ("#ffb454", "s", "pitch and voicing right (OA)"),
    "VR": ("#b39dff", "^", "voice found (VR)"),
    "VFA": ("#ff6b6b", "v", "false alarms (VFA)"),
}
SCATTER = 0.28  # half the width over which the files of a ratio are spread
SEED = 0  # of that spread, so that the same scores give the same picture


def plot_scores(evaluation: Evaluation, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw an evaluation. `path` ends in .png, .pdf or .svg; raises UserError as `rmvpe.plot.plot_track`."""
    check_picture(path)
    figure = draw(evaluation, title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor=PAPER)


def draw(evaluation: Evaluation, title: str = "") -> "Figure":
    """The matplotlib figure that `plot_scores` saves; it belongs to no window and no pyplot state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=SIZE_INCHES, facecolor=PAPER, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(figure)
    ratios = list(evaluation.pooled)
    sung = [ratio for ratio in ratios if not math.isnan(evaluation.pooled[ratio]["RPA"])]
    panels = figure.subplots(1, 2 if sung else 1, squeeze=False)[0]
    for axes, names, fill in zip(panels, (ratios, sung), (_pooled, _per_file)):
        fill(axes, evaluation, names)
        style(axes)
        axes.set_xticks(range(len(names)), [name.removesuffix(" dB") for name in names])
        axes.set_xlim(-0.5, max(len(names) - 0.5, 0.5))
        in_db = any(name not in RATIO_NAMES.values() for name in names)
        axes.set_xlabel("voice to music (dB)" if in_db else "", color=INK, fontsize=12)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=INK, alpha=0.13, linewidth=0.8)
    figure.suptitle(title, color=INK, fontsize=12, x=0.012, ha="left")
    return figure


def _pooled(axes: "Axes", evaluation: Evaluation, ratios: list[str]) -> None:
    with_voice = [place for place, ratio in enumerate(ratios) if ratio != RATIO_NAMES[MUSIC]]
    for name, (colour, mark, label) in LINES.items():
        shares = [100 * evaluation.pooled[ratios[place]][name] for place in with_voice]
        axes.plot(
            with_voice, shares, color=colour, marker=mark, markersize=6, linewidth=2.0, label=label, clip_on=False
        )
    for place in set(range(len(ratios))) - set(with_voice):
        # Of music alone only the false alarms tell something, and they continue no line
        share = 100 * evaluation.pooled[ratios[place]]["VFA"]
        colour, mark, _ = LINES["VFA"]
        axes.plot([place], [share], color=colour, marker=mark, markersize=6, clip_on=False)
        axes.annotate(f"{share:.1f}", (place, share), (0, 9), textcoords="offset points", ha="center", color=colour)
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of frames, all files together", color=INK, fontsize=12)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, labelcolor=INK, fontsize=10.5)


def _per_file(axes: "Axes", evaluation: Evaluation, ratios: list[str]) -> None:
    """RPA of each file as a dot, and quartiles."""
    rng = np.random.default_rng(SEED)
    for place, ratio in enumerate(ratios):
        shares = np.array([100 * row["RPA"] for row in evaluation.files if row["ratio"] == ratio])
        shares = shares[np.isfinite(shares)]
        beside = place + rng.uniform(-SCATTER, SCATTER, len(shares))
        alpha = float(np.clip(12.0 / max(len(shares), 1), 0.3, 0.9))
        axes.scatter(beside, shares, s=16, color=F0_COLOUR, alpha=alpha, linewidths=0, clip_on=False)
        low, middle, high = np.percentile(shares, (25, 50, 75))
        axes.bar(place, high - low, 2 * SCATTER + 0.16, low, color=INK, alpha=0.16)
        axes.hlines(middle, place - SCATTER - 0.08, place + SCATTER + 0.08, color=INK, linewidth=2.2)
    axes.set_ylim(*_range([100 * row["RPA"] for row in evaluation.files]))
    axes.set_ylabel("RPA of each file (%)", color=INK, fontsize=12)
    axes.set_title("dot: a file; line and box: median, quartiles", color=INK, fontsize=10.5, pad=10)


def _range(shares: list[float]) -> tuple[float, float]:
    """From a multiple of 10 well below the lowest of `shares` to 100."""
    lowest = min((share for share in shares if math.isfinite(share)), default=0.0)
    return max(0.0, 10.0 * math.floor((lowest - 3.0) / 10.0)), 100.0
