"""The picture of a comparison of trackers: accuracy over the voice-to-music ratio, and accuracy against cost."""

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from rmvpe.evaluation.evaluate import MUSIC, RATIO_NAMES
from rmvpe.evaluation.trackers.compare import Comparison, Result
from rmvpe.files import atomic_path
from rmvpe.plot import DOTS_PER_INCH, F0_COLOUR, INK, PAPER, check_picture, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (13.0, 5.4)
OURS = (F0_COLOUR, "#7aa2ff", "#9dffb0")  # the first of this project's is the brightest
OTHERS = ("#ffb454", "#ff6b6b", "#b39dff", "#8bd450", "#e58fd0", "#d9c667", "#6fa8a3", "#c08a63")
MARKS = ("s", "^", "D", "v", "P", "X", "<", ">")
LABEL_GAP = 0.045  # least distance of two names beside the lines, as a share of the axis
# Side of a mark -> offset of its name in points, and how the name is aligned there; tried in this order
SIDES = {
    "above": ((0, 9), "center", "bottom"),
    "below": ((0, -9), "center", "top"),
    "right": ((11, 0), "left", "center"),
    "left": ((-11, 0), "right", "center"),
}
# Shares of the right panel's width and height: half of a mark, and a letter
MARK_SIZE, LETTER_SIZE = (0.018, 0.022), (0.019, 0.045)
LEAST_COST_S = 1e-5  # the axis is logarithmic
TICKS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MOST_WITH_ALL_TICKS = 500.0


def plot_trackers(comparison: Comparison, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw a comparison. `path` ends in .png, .pdf or .svg; raises UserError as `rmvpe.plot.plot_track`."""
    check_picture(path)
    figure = draw(comparison, title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor=PAPER)


def draw(comparison: Comparison, title: str = "") -> "Figure":
    """The matplotlib figure that `plot_trackers` saves; it belongs to no window and no pyplot state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=SIZE_INCHES, facecolor=PAPER, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    FigureCanvasAgg(figure)
    results = list(comparison.results.values())
    looks = _looks(results)
    ratios = [ratio for ratio in results[0].pooled if ratio != RATIO_NAMES[MUSIC]]
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1.0]})
    _over_ratio(left, results, looks, ratios)
    _against_cost(right, results, looks, ratios)
    for axes in (left, right):
        style(axes)
        axes.set_axisbelow(True)
        axes.grid(color=INK, alpha=0.13, linewidth=0.8)
    left.grid(axis="x", visible=False)
    figure.suptitle(title, color=INK, fontsize=11, x=0.012, ha="left", alpha=0.75)
    return figure


def _looks(results: list[Result]) -> dict[str, tuple[str, str]]:
    """Colour and mark of each tracker by name."""
    looks: dict[str, tuple[str, str]] = {}
    for ours, colours in ((True, OURS), (False, OTHERS)):
        for place, result in enumerate(result for result in results if result.ours == ours):
            mark = "o" if ours else MARKS[place % len(MARKS)]
            looks[result.name] = (colours[place % len(colours)], mark)
    return looks


def _over_ratio(axes: "Axes", results: list[Result], looks: dict[str, tuple[str, str]], ratios: list[str]) -> None:
    """Raw pitch accuracy, a line per tracker with its name at the end."""
    ends: list[tuple[float, str, str, bool]] = []
    lowest = 100.0
    for result in sorted(results, key=lambda result: result.ours):  # ours on top
        shares = [100 * result.pooled[ratio]["RPA"] for ratio in ratios]
        colour, mark = looks[result.name]
        width = 3.2 if result.ours else 1.8
        axes.plot(shares, color=colour, marker=mark, markersize=8 if result.ours else 6, linewidth=width, clip_on=False)
        if shares:
            ends.append((shares[-1], result.label, colour, result.ours))
            lowest = min(lowest, *(share for share in shares if math.isfinite(share)), 100.0)
    bottom = max(0.0, 10.0 * math.floor((lowest - 1.0) / 10.0))
    axes.set_ylim(bottom, 100.0)
    places = spread_apart([end[0] for end in ends], LABEL_GAP * (100.0 - bottom), bottom, 100.0)
    for (share, label, colour, ours), place in zip(ends, places):
        text = f"{label}  {share:.0f}"
        at, weight = (len(ratios) - 1, place), "bold" if ours else "normal"
        axes.annotate(
            text, at, (14, 0), textcoords="offset points", color=colour, va="center", fontsize=11, fontweight=weight
        )
    axes.set_xticks(range(len(ratios)), [name.removesuffix(" dB") for name in ratios])
    axes.set_xlim(-0.25, max(len(ratios) - 1, 0.5) * 1.29)
    axes.set_xlabel("voice to music (dB)", color=INK, fontsize=12)
    axes.set_ylabel("frames with the right pitch (RPA, %)", color=INK, fontsize=12)
    axes.set_title("Pitch of the voice inside louder and louder music", color=INK, fontsize=13, loc="left", pad=10)


def _against_cost(axes: "Axes", results: list[Result], looks: dict[str, tuple[str, str]], ratios: list[str]) -> None:
    """Overall accuracy, the mean over the ratios, against processor time."""
    from matplotlib.ticker import NullFormatter, NullLocator

    accuracies = [100 * float(np.mean([result.pooled[ratio]["OA"] for ratio in ratios])) for result in results]
    costs = [max(result.cpu_seconds, LEAST_COST_S) for result in results]
    left, right = min(costs) / 2.2, max(costs) * 3.0
    bottom, top = max(0.0, min(accuracies) - 4.0), min(100.0, max(accuracies) + 5.0)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    across = (np.log(costs) - math.log(left)) / math.log(right / left)
    up = (np.array(accuracies) - bottom) / (top - bottom)
    sides = free_sides(list(zip(across.tolist(), up.tolist())), [len(result.label) for result in results])
    for result, cost, accuracy, side in zip(results, costs, accuracies, sides):
        colour, mark = looks[result.name]
        axes.scatter([cost], [accuracy], s=150 if result.ours else 80, color=colour, marker=mark, zorder=3)
        offset, horizontal, vertical = SIDES[side]
        axes.annotate(
            result.label,
            (cost, accuracy),
            offset,
            textcoords="offset points",
            ha=horizontal,
            va=vertical,
            color=colour,
            fontsize=11,
            fontweight="bold" if result.ours else "normal",
        )
    # Over many decades only 0.01, 0.1, 1: more would run into each other
    shown = TICKS_S[::3] if right / left > MOST_WITH_ALL_TICKS else TICKS_S
    ticks = [tick for tick in shown if left <= tick <= right]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("processor seconds per second of audio", color=INK, fontsize=12)
    axes.set_ylabel("frames with pitch and voicing right (OA, %)", color=INK, fontsize=12)
    axes.set_title("Mean over the ratios, and what it costs", color=INK, fontsize=13, loc="left", pad=10)


def free_sides(points: list[tuple[float, float]], letters: list[int]) -> list[str]:
    """For each of `points` (shares of the axes' width and height) the side, one of `SIDES`, where its name fits.

    `letters`: the lengths of the names. The first side free of other marks and of the names already placed, else above.
    """
    marks = [(x - MARK_SIZE[0], y - MARK_SIZE[1], x + MARK_SIZE[0], y + MARK_SIZE[1]) for x, y in points]
    names: list[tuple[float, float, float, float]] = []
    chosen = []
    for place, ((x, y), count) in enumerate(zip(points, letters)):
        taken = names + marks[:place] + marks[place + 1 :]
        boxes = {side: _name_box(x, y, count * LETTER_SIZE[0], side) for side in SIDES}
        free = [side for side, box in boxes.items() if not any(_overlap(box, other) for other in taken)]
        chosen.append(free[0] if free else "above")
        names.append(boxes[chosen[-1]])
    return chosen


def _name_box(x: float, y: float, width: float, side: str) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a name beside the mark at (x, y)."""
    height = LETTER_SIZE[1]
    if side in ("above", "below"):
        low = y + MARK_SIZE[1] if side == "above" else y - MARK_SIZE[1] - height
        return x - width / 2, low, x + width / 2, low + height
    start = x + MARK_SIZE[0] if side == "right" else x - MARK_SIZE[0] - width
    return start, y - height / 2, start + width, y + height / 2


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def spread_apart(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """`places` moved as little as needed to lie at least `gap` from each other, in their order, from `low` to `high`.

    Where they do not fit, they lie evenly over the whole range.
    """
    if not places:
        return []
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    order = np.argsort(places, kind="stable")
    moved = np.clip(np.asarray(places, dtype=np.float64)[order], low, high)
    offsets = gap * np.arange(len(moved))
    # Without the gaps the places have to ascend: the nearest ascending sequence is a pooling of neighbours
    level = np.clip(_ascending(moved - offsets), low, high - offsets[-1])
    result = np.empty(len(moved))
    result[order] = level + offsets
    return result.tolist()


def _ascending(values: np.ndarray) -> np.ndarray:
    """The ascending sequence nearest to `values` in the least squares (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, count = value, 1
        while pools and pools[-1][0] > mean:
            before, others = pools.pop()
            mean, count = (mean * count + before * others) / (count + others), count + others
        pools.append((mean, count))
    return np.repeat([mean for mean, _ in pools], [count for _, count in pools])
