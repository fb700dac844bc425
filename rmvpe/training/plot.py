"""Pictures of training: one run's loss and accuracy against updates, and two runs' losses with their difference."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmvpe.picture_text import literal
from rmvpe.pictures.file import check_picture, save_figure, title_lines
from rmvpe.pictures.theme import DEFAULT_THEME, Theme, style, theme_named
from rmvpe.text import shortened
from rmvpe.training.loss_curves import MAX_ABSOLUTE, MAX_RELATIVE, LossComparison, LossCurve, relative_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES, TITLE_COLUMNS = (11.0, 6.2), 95
LONG = (0, (5, 5))  # dashes that can be seen on a line of another colour
MAX_MARKERS = 20  # about, on a curve
MAX_POINTS = 600  # of a curve; beyond, neighbouring steps are drawn as their range and their median
BEYOND = 1.3  # a comparison shows this many times the common steps of a run that is longer than the other
LEGEND_COLUMNS, AXIS_COLUMNS = 40, 13  # a run's longer name loses its middle in the legend, in the label of an axis
NOT_FIRST = "\u200b"  # without width, before an underscore, with which a name would not be in matplotlib's legend
LOG_FROM = 4.0  # ratio of largest to smallest loss from which the axis is logarithmic


def plot_run(
    path: str | os.PathLike[str],
    curve: LossCurve,
    rpa: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    title: str = "",
    theme: str = DEFAULT_THEME,
) -> None:
    """Draw a run: loss, loss net of the dropout floor, and below the validation RPA by voice-to-music ratio.

    `rpa` holds steps and RPA (0 to 1) by ratio; without any the lower panel is left out. The file appears whole or not
    at all. Raises UserError for an ending that is no picture's, or without matplotlib.
    """
    check_picture(path)
    save_figure(draw_run(curve, rpa, title, theme), path)


def plot_comparison(
    path: str | os.PathLike[str],
    a: LossCurve,
    b: LossCurve,
    comparison: LossComparison,
    labels: Sequence[str] = ("A", "B"),
    title: str = "",
    theme: str = DEFAULT_THEME,
) -> None:
    """Draw two loss curves, also net of the dropout floor where both logs have it, and their difference in per cent.

    The steps that `comparison` is about are shaded, and the error it allows. Errors as `plot_run`.
    """
    check_picture(path)
    save_figure(draw_comparison(a, b, comparison, labels, title, theme), path)


def draw_run(
    curve: LossCurve,
    rpa: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    title: str = "",
    theme: str = DEFAULT_THEME,
) -> "Figure":
    """The figure that `plot_run` saves."""
    colours = theme_named(theme)
    figure, (upper, *lower) = _panels((3.0, 2.0) if rpa else (1.0,), title, colours)
    net = _net_of(curve)
    if net is None:
        _curve(upper, curve.step, curve.loss, colours.f0, "loss")
    else:
        _curve(upper, curve.step, curve.loss, colours.lines[0], "loss", dashes="--")
        _curve(upper, curve.step, net, colours.f0, "loss net of the dropout floor")
    _loss_axis(upper, [curve.loss] if net is None else [curve.loss, net], colours)
    _legend(upper, 2, colours)
    for axes in lower:
        _accuracy(axes, rpa, colours)
    _step_axis([upper, *lower], curve.step, colours)
    literal(figure)
    return figure


def draw_comparison(
    a: LossCurve,
    b: LossCurve,
    comparison: LossComparison,
    labels: Sequence[str] = ("A", "B"),
    title: str = "",
    theme: str = DEFAULT_THEME,
) -> "Figure":
    """The figure that `plot_comparison` saves."""
    colours = theme_named(theme)
    figure, (upper, lower) = _panels((3.0, 1.7), title or "Loss of two training runs", colours)
    a, b = (_until(curve, BEYOND * comparison.step[-1]) for curve in (a, b))
    net_a, net_b = _net_of(a), _net_of(b)
    pairs = [(a.loss, b.loss, "loss")]
    if net_a is not None and net_b is not None:
        pairs.append((net_a, net_b, "loss net of the dropout floor"))
    for number, (in_a, in_b, name) in enumerate(pairs):
        # The reference broad and behind, so that both can be seen where they agree
        _curve(upper, a.step, in_a, colours.lines[0], "" if number else _in_legend(labels[0]), width=4.2)
        _curve(upper, b.step, in_b, colours.ink, "" if number else _in_legend(labels[1]), width=1.6, dashes=LONG)
        if len(pairs) > 1:
            _name(upper, np.concatenate([a.step, b.step]), np.concatenate([in_a, in_b]), name, colours)
    _loss_axis(upper, [values for in_a, in_b, _ in pairs for values in (in_a, in_b)], colours)
    _legend(upper, 2, colours)
    step, of_a, of_b = np.intersect1d(a.step, b.step, return_indices=True)
    _difference(lower, step, 100 * relative_error(a.loss[of_a], b.loss[of_b]), labels, colours)
    for axes in (upper, lower):
        axes.axvspan(comparison.step[0] - 0.5, comparison.step[-1] + 0.5, color=colours.ink, alpha=0.09, linewidth=0)
    span = (comparison.step[0] + comparison.step[-1]) / 2
    upper.annotate(
        f"compared: the last {len(comparison.step)} common steps",
        (span, 1.0),
        (0, -6),
        xycoords=upper.get_xaxis_transform(),
        textcoords="offset points",
        color=colours.ink,
        ha="center",
        va="top",
        fontsize=10.5,
    )
    lower.axhspan(-100 * MAX_RELATIVE, 100 * MAX_RELATIVE, color=colours.ink, alpha=0.06, linewidth=0)
    _step_axis([upper, lower], np.union1d(a.step, b.step), colours)
    colour = colours.good if comparison.passed else colours.bad
    lower.set_title(in_words(comparison), color=colour, fontsize=11, loc="left", pad=8)
    literal(figure)
    return figure


def in_words(comparison: LossComparison) -> str:
    """One line: whether the curves agree, and by which of the two errors; one of them within its limit is enough."""
    relative = f"mean relative error {comparison.relative:.2%}"
    absolute = f"mean absolute error {comparison.absolute:.2g}"
    steps = f"over the last {len(comparison.step)} common steps"
    if comparison.relative <= MAX_RELATIVE:
        return f"pass {steps}: {relative}, at most {MAX_RELATIVE:.0%} is allowed ({absolute})"
    if comparison.passed:
        return f"pass {steps}: {absolute}, at most {MAX_ABSOLUTE:g} is allowed ({relative})"
    return f"fail {steps}: {relative}, {MAX_RELATIVE:.0%} is allowed; {absolute}, {MAX_ABSOLUTE:g} is allowed"


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median [n] of up to `window` (odd) values around each of `values` [n]; fewer at both ends. NaN is ignored."""
    if not len(values):
        return values
    half = window // 2
    padded = np.pad(values.astype(float), half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    known = np.isfinite(windows).any(axis=1)
    medians = np.full(len(values), np.nan)
    medians[known] = np.nanmedian(np.where(np.isfinite(windows[known]), windows[known], np.nan), axis=1)
    return medians


def thinned(step: np.ndarray, values: np.ndarray, most: int = MAX_POINTS) -> tuple[np.ndarray, ...]:
    """Steps and values, both [n], in at most `most` groups of neighbours.

    Returns four arrays [groups]: the last step, the median, the least and the greatest value of each group.
    """
    per_group = -(-len(step) // most) or 1
    groups = [slice(start, start + per_group) for start in range(0, len(step), per_group)]
    rows = [values[group][np.isfinite(values[group])] for group in groups]
    three = np.array([(np.median(row), row.min(), row.max()) if len(row) else (np.nan,) * 3 for row in rows])
    return np.array([step[group][-1] for group in groups], dtype=np.int64), *three.reshape(-1, 3).T


def _net_of(curve: LossCurve) -> np.ndarray | None:
    """The loss net of the dropout floor, if there is such a floor."""
    return None if curve.net is None or np.array_equal(curve.net, curve.loss, equal_nan=True) else curve.net


def _until(curve: LossCurve, last: float) -> LossCurve:
    """The curve up to step `last`."""
    early = curve.step <= last
    return LossCurve(curve.step[early], curve.loss[early], None if curve.net is None else curve.net[early])


def _curve(
    axes: "Axes", step: np.ndarray, values: np.ndarray, colour: str, label: str, width: float = 2.2, dashes: Any = "-"
) -> None:
    """The values pale, or their range where they are many, and their running median."""
    step, median, least, greatest = thinned(step, values)
    if np.array_equal(least, greatest, equal_nan=True):
        axes.plot(step, median, color=colour, alpha=0.4, linewidth=0.3 * width)
    else:
        axes.fill_between(step, least, greatest, color=colour, alpha=0.25, linewidth=0)
    window = 2 * (len(step) // 50) + 1  # a twenty-fifth of the run
    marker = "o" if len(step) == 1 else ""
    axes.plot(
        step,
        running_median(median, window),
        color=colour,
        linewidth=width,
        linestyle=dashes,
        label=label,
        marker=marker,
    )


def _in_legend(name: str) -> str:
    """A run's name as the legend has it."""
    return NOT_FIRST * name.startswith("_") + shortened(name, LEGEND_COLUMNS)


def _name(axes: "Axes", step: np.ndarray, values: np.ndarray, name: str, theme: Theme) -> None:
    """What curves are, above their right end."""
    late = np.isfinite(values) & (step > 0.65 * step.max())
    if late.any():
        place = (step.max(), values[late].max())
        axes.annotate(
            name, place, (0, 5), textcoords="offset points", color=theme.ink, ha="right", va="bottom", fontsize=11
        )


def _loss_axis(axes: "Axes", curves: Sequence[np.ndarray], theme: Theme) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = np.concatenate(curves)
    values = values[np.isfinite(values) & (values > 0)]
    axes.set_ylabel("loss (nat per bin)", color=theme.ink, fontsize=12)
    if not len(values) or values.max() < LOG_FROM * values.min():
        return
    axes.set_yscale("log")
    # A batch's own dropout may take the net loss to 0; one such point must not stretch the axis
    axes.set_ylim(np.quantile(values, 0.002) / 1.3, values.max() * 1.6)
    subs = (1.0, 2.0, 5.0) if values.max() < 500 * np.quantile(values, 0.002) else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _accuracy(axes: "Axes", rpa: Mapping[str, tuple[Sequence[int], Sequence[float]]], theme: Theme) -> None:
    for number, (ratio, (steps, values)) in enumerate(rpa.items()):
        look = theme.line(number)
        every = max(1, len(steps) // MAX_MARKERS)  # many marks would hide the dashes
        per_cent = 100 * np.asarray(values, dtype=float)
        axes.plot(steps, per_cent, **look, linewidth=1.8, markersize=5, markevery=every, label=_in_legend(ratio))
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.set_ylabel("validation: raw\npitch accuracy (%)", color=theme.ink, fontsize=12)
    _legend(axes, max(len(rpa), 1), theme)


def _difference(axes: "Axes", step: np.ndarray, per_cent: np.ndarray, labels: Sequence[str], theme: Theme) -> None:
    shown, median, least, greatest = thinned(step, per_cent)
    axes.axhline(0, color=theme.ink, alpha=0.4, linewidth=0.8)
    if not np.array_equal(least, greatest, equal_nan=True):
        axes.fill_between(shown, least, greatest, color=theme.lines[1], alpha=0.3, linewidth=0)
    axes.plot(shown, median, color=theme.lines[1], linewidth=1.2, marker="o" if len(shown) == 1 else "")
    largest = np.nanmax(np.abs(per_cent[np.isfinite(per_cent)]), initial=0.0)
    reach = max(1.15 * largest, 1e-6)
    axes.set_ylim(-reach, reach)
    a, b = (shortened(label, AXIS_COLUMNS) for label in labels)
    axes.set_ylabel(f"{b} − {a}\n(% of {a})", color=theme.ink, fontsize=11)


def _step_axis(panels: Sequence["Axes"], step: np.ndarray, theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    first, last = (float(step[0]), float(step[-1])) if len(step) else (0.0, 1.0)
    room = max(0.015 * (last - first), 0.6)
    for axes in panels:
        axes.set_xlim(first - room, last + room)
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.tick_params(axis="x", labelbottom=axes is panels[-1])
    panels[-1].set_xlabel("step (updates)", color=theme.ink, fontsize=12)


def _legend(axes: "Axes", columns: int, theme: Theme) -> None:
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.2,
        ncols=columns,
        frameon=False,
        fontsize=11,
        handlelength=2.8,
        labelcolor=theme.ink,
    )


def _panels(heights: Sequence[float], title: str, theme: Theme) -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, facecolor=theme.paper, layout="constrained")
    shown, size = title_lines(title, 13, TITLE_COLUMNS)
    figure.suptitle(shown, color=theme.ink, fontsize=size, x=0.01, ha="left")
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes in grid[:, 0]:
        style(axes, theme)
        axes.tick_params(which="minor", colors=theme.ink, length=2)
        axes.grid(color=theme.ink, alpha=0.16, linewidth=0.8)
    return figure, list(grid[:, 0])
