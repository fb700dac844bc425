"""Pictures of a stress set: the scores of one of the weights, and how others differ from the first.

A line per level from top to bottom, conditions set apart; a mark is a pooled score, a bar its 95 % interval.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rmvpe.evaluation.suite.conditions import Level
from rmvpe.evaluation.suite.run import LevelScores
from rmvpe.evaluation.suite.scores import Interval
from rmvpe.picture_text import literal
from rmvpe.pictures.file import check_picture, save_figure, title_lines
from rmvpe.pictures.theme import DEFAULT_THEME, Theme, style, theme_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES, LINE_INCHES = 11.0, 0.19
LEFT_INCHES, RIGHT_INCHES, TOP_INCHES, BOTTOM_INCHES = 2.1, 0.25, 1.15, 0.55
LEGEND_INCHES = 0.32  # of the weights of a comparison, below the top
TITLE_COLUMNS = 110
GAP = 0.55  # of a line, between two conditions
BETWEEN = 0.26  # of a line, between the marks of two scores of a level
PANELS = {
    "pitch of sung frames (%)": {"RPA": "RPA, octave right", "RCA": "RCA, any octave"},
    "pitch and voicing (%)": {"OA": "OA"},
    "called voiced (%)": {
        "VR": "VR, of sung frames",
        "VFA": "VFA, of the others, lower is better",
        "VO": "VO, octave wrong, lower is better",
    },
}
DIFFERENCE_PANELS = {"RPA": "RPA", "OA": "OA", "VR": "VR", "VFA": "VFA, lower is better"}


def plot_levels(
    found: Sequence[LevelScores], path: str | os.PathLike[str], title: str = "", theme: str = DEFAULT_THEME
) -> None:
    """Draw the scores of one of the weights. `path`, theme and UserError: as `rmvpe.plot.plot_track`."""
    check_picture(path)
    save_figure(draw_levels(found, title, theme), path)


def plot_differences(
    differences: Mapping[str, Sequence[tuple[Level, Mapping[str, Interval]]]],
    path: str | os.PathLike[str],
    title: str = "",
    theme: str = DEFAULT_THEME,
) -> None:
    """Draw how weights differ from the first, by name. `path`, theme and UserError: as `rmvpe.plot.plot_track`."""
    check_picture(path)
    save_figure(draw_differences(differences, title, theme), path)


def draw_levels(found: Sequence[LevelScores], title: str = "", theme: str = DEFAULT_THEME) -> "Figure":
    """The figure that `plot_levels` saves; pyplot does not know it."""
    colours = theme_named(theme)
    levels = [one.level for one in found]
    figure, panels, places = _figure(levels, title, list(PANELS), colours)
    for axes, (heading, names) in zip(panels, PANELS.items(), strict=True):
        offsets = [BETWEEN * (number - (len(names) - 1) / 2) for number in range(len(names))]
        for offset, (name, label) in zip(offsets, names.items(), strict=True):
            values = [one.scores[name] for one in found]
            _marks(axes, [place + offset for place in places], values, 100.0, _look(name, colours), label)
        axes.set_xlim(-2.0, 102.0)
        _legend(axes, heading, colours)
    return figure


def draw_differences(
    differences: Mapping[str, Sequence[tuple[Level, Mapping[str, Interval]]]],
    title: str = "",
    theme: str = DEFAULT_THEME,
) -> "Figure":
    """The figure that `plot_differences` saves: filled marks are beyond noise, hollow ones are not."""
    colours = theme_named(theme)
    levels = [level for level, _ in next(iter(differences.values()))]
    figure, panels, places = _figure(levels, title, list(DIFFERENCE_PANELS.values()), colours)
    for axes, (name, heading) in zip(panels, DIFFERENCE_PANELS.items(), strict=True):
        for number, (weights, found) in enumerate(differences.items()):
            offset = BETWEEN * (number - (len(differences) - 1) / 2)
            values = [scores[name] for _, scores in found]
            look = {**colours.line(number), "linestyle": "none"}
            _marks(axes, [place + offset for place in places], values, 100.0, look, weights, hollow=True)
        axes.axvline(0.0, color=colours.threshold, linewidth=1.0, alpha=0.7, zorder=1)
        widest = max([1.0, *(abs(value) for value in axes.get_xlim())])
        axes.set_xlim(-widest, widest)
        axes.set_xlabel("points of %", color=colours.ink, fontsize=11)
        axes.set_title(heading, color=colours.ink, fontsize=11, loc="left")
    _legend_of_figure(figure, panels[0], colours)
    return figure


def _figure(
    levels: Sequence[Level], title: str, headings: Sequence[str], theme: Theme
) -> "tuple[Figure, Sequence[Axes], list[float]]":
    """A figure with a panel per heading, the names of the levels at its left, and the place of each level."""
    from matplotlib.figure import Figure

    places = _places(levels)
    height = TOP_INCHES + LINE_INCHES * (places[-1] + 1 + GAP) + BOTTOM_INCHES
    figure = Figure(figsize=(WIDTH_INCHES, height), facecolor=theme.paper)
    # Set by hand: a layout engine takes the shares of so tall a figure for too small
    edges = {"left": LEFT_INCHES / WIDTH_INCHES, "right": 1.0 - RIGHT_INCHES / WIDTH_INCHES}
    edges |= {"bottom": BOTTOM_INCHES / height, "top": 1.0 - TOP_INCHES / height}
    panels = figure.subplots(1, len(headings), sharey=True, squeeze=False, gridspec_kw={**edges, "wspace": 0.09})[0]
    for axes in panels:
        style(axes, theme)
        axes.set_axisbelow(True)
        axes.grid(axis="x", color=theme.ink, alpha=0.2, linewidth=0.8)
        for number, (first, last) in enumerate(_blocks(levels, places)):
            if number % 2 == 0:
                axes.axhspan(first - 0.5 - GAP / 2, last + 0.5 + GAP / 2, color=theme.ink, alpha=0.06, linewidth=0)
    panels[0].set_yticks(places, _names(levels), fontsize=9)
    panels[0].set_ylim(places[-1] + 0.5 + GAP / 2, -0.5 - GAP / 2)  # from top to bottom
    for axes in panels:
        axes.tick_params(axis="y", length=0)
    shown, size = title_lines(title, 12, TITLE_COLUMNS)
    figure.suptitle(shown, color=theme.ink, fontsize=size, x=0.012, y=1.0 - 0.1 / height, ha="left", va="top")
    literal(figure)
    return figure, panels, places


def _names(levels: Sequence[Level]) -> list[str]:
    """What stands beside each level: the condition only beside its first."""
    seen: set[str] = set()
    names = []
    for level in levels:
        names.append(level.level if level.condition in seen else level.name)
        seen.add(level.condition)
    return names


def _places(levels: Sequence[Level]) -> list[float]:
    """Where each level is, from the top in lines."""
    places, at = [], 0.0
    for number, level in enumerate(levels):
        if number and level.condition != levels[number - 1].condition:
            at += GAP
        places.append(at)
        at += 1.0
    return places


def _blocks(levels: Sequence[Level], places: Sequence[float]) -> list[tuple[float, float]]:
    """The places of the first and the last level of each condition."""
    blocks: dict[str, tuple[float, float]] = {}
    for level, place in zip(levels, places, strict=True):
        blocks[level.condition] = (blocks.get(level.condition, (place, place))[0], place)
    return list(blocks.values())


def _marks(
    axes: "Axes",
    places: Sequence[float],
    values: Sequence[Interval],
    factor: float,
    look: Mapping[str, Any],
    label: str,
    hollow: bool = False,
) -> None:
    """A mark and a bar for each defined value; with `hollow` the mark is filled only beyond noise."""
    known = [(place, value) for place, value in zip(places, values, strict=True) if math.isfinite(value.value)]
    for place, value in known:
        if math.isfinite(value.low):
            axes.hlines(place, factor * value.low, factor * value.high, color=look["color"], linewidth=1.6, alpha=0.75)
    for filled in (True, False):
        chosen = [(place, value) for place, value in known if (not hollow or value.is_beyond_noise) == filled]
        if not chosen and not filled:
            continue
        face = look["color"] if filled else "none"
        axes.plot(
            [factor * value.value for _, value in chosen],
            [place for place, _ in chosen],
            **{**look, "markerfacecolor": face, "markersize": 4.5, "linestyle": "none", "clip_on": False},
            label=label if filled else None,
            zorder=3,
        )


def _look(name: str, theme: Theme) -> dict[str, Any]:
    """Colour and marker of a score."""
    looks = {
        "RPA": {"color": theme.f0, "marker": "o"},
        "RCA": {"color": theme.line(0)["color"], "marker": "d"},
        "OA": {"color": theme.f0, "marker": "s"},
        "VR": {"color": theme.f0, "marker": "^"},
        "VFA": {"color": theme.line(0)["color"], "marker": "v"},
        "VO": {"color": theme.line(2)["color"], "marker": "X"},
    }
    return looks[name]


def _legend_of_figure(figure: "Figure", axes: "Axes", theme: Theme) -> None:
    """The weights side by side below the title, and what their marks mean."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        [f"{label} (filled: beyond noise)" for label in labels],
        loc="upper left",
        bbox_to_anchor=(0.005, 1.0 - LEGEND_INCHES / figure.get_figheight()),
        ncols=2,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=10,
        handletextpad=0.2,
    )


def _legend(axes: "Axes", heading: str, theme: Theme) -> None:
    axes.set_xlabel(heading, color=theme.ink, fontsize=11)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        frameon=False,
        labelcolor=theme.ink,
        fontsize=10,
        handletextpad=0.2,
        borderaxespad=0.2,
    )
