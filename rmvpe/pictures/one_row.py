"""The picture of a short track: spectrogram with f0, piano roll if there are notes, confidence."""

from typing import TYPE_CHECKING

import numpy as np

from rmvpe.pictures import panels
from rmvpe.pictures.roll import bars, keyboard, size_points
from rmvpe.pictures.shown import ALL_OCTAVES, BOTTOM, FULL_WIDTH_S, LEFT, LINE_WIDTH, RIGHT, Shown, headings, top_inches
from rmvpe.pictures.spectrogram import brightness_range, log_frequency_picture
from rmvpe.pictures.theme import style
from rmvpe.pictures.time_axis import set_time_axis, time_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In inches. Narrower than the picture of several rows, with as many pixels: its text can be read on a telephone
WIDTH = 8.8
SPECTROGRAM, ROLL, CONFIDENCE, GAP = 3.0, 2.3, 0.66, 0.12


def draw_one_row(shown: Shown) -> "Figure":
    """The figure: panels below each other over one time axis."""
    from matplotlib.figure import Figure

    upper = [] if shown.samples is None else [(SPECTROGRAM, _spectrogram)]
    middle = [] if shown.notes is None and upper else [(ROLL, _roll)]
    plan = [*upper, *middle, (CONFIDENCE, _confidence)]
    heights = [height for height, _ in plan]
    size = (WIDTH, top_inches(shown, WIDTH) + sum(heights) + GAP * (len(plan) - 1) + BOTTOM)
    figure = Figure(figsize=size, facecolor=shown.theme.paper)
    top = size[1] - top_inches(shown, WIDTH)
    for height, fill in plan:
        box = (LEFT / WIDTH, (top - height) / size[1], (WIDTH - LEFT - RIGHT) / WIDTH, height / size[1])
        axes = figure.add_axes(box)
        style(axes, shown.theme)
        set_time_axis(axes, 0.0, shown.duration_s, as_clock=False)
        if fill is not _confidence:
            axes.tick_params(axis="x", length=0, labelbottom=False)
        fill(axes, shown)
        axes.set_xlim(0.0, shown.duration_s)
        top -= height + GAP
    headings(figure, shown, time_label(as_clock=False), shown.about_threshold)
    return figure


def _line_width(shown: Shown) -> float:
    """Finer for longer audio."""
    return LINE_WIDTH * min(1.0, (FULL_WIDTH_S / shown.duration_s) ** 0.5)


def _spectrogram(axes: "Axes", shown: Shown) -> None:
    assert shown.samples is not None
    picture, step_s = log_frequency_picture(shown.samples)
    dark, bright = brightness_range(picture)
    times = (-step_s / 2, (picture.shape[1] - 0.5) * step_s)
    panels.spectrogram(axes, np.clip((picture - dark) / (bright - dark), 0, 1), times, ALL_OCTAVES, shown.theme)
    axes.set_ylim(*ALL_OCTAVES)
    panels.f0_line(axes, shown.track, shown.theme, _line_width(shown))
    panels.frequency_axes(axes, shown.theme)


def _roll(axes: "Axes", shown: Shown) -> None:
    low, high = shown.voice_range
    keyboard(axes, low, high, shown.theme, label_size=9)
    width, height = size_points(axes)
    bars(axes, shown.notes or (), shown.theme, (shown.duration_s / width, (high - low) / height), size=9)
    panels.f0_line(axes, shown.track, shown.theme, 0.8 * _line_width(shown))
    axes.set_ylabel("pitch" if shown.notes is None else "notes", color=shown.theme.ink, fontsize=12)


def _confidence(axes: "Axes", shown: Shown) -> None:
    panels.confidence(axes, shown.track, shown.theme, shown.threshold, shown.hysteresis)
    axes.set_ylabel("confidence", color=shown.theme.ink, fontsize=10)
    axes.set_yticks([0, 1])
    if shown.threshold is not None:
        panels.right_axis(axes, [shown.threshold], [f"{shown.threshold:.2g}"], shown.theme, size=10)
