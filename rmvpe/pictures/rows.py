"""The picture of a long track: rows below each other like a score, each with the range of the voice alone."""

from typing import TYPE_CHECKING

import numpy as np

from rmvpe.pictures import panels
from rmvpe.pictures.roll import bars, keyboard, size_points
from rmvpe.pictures.shown import BOTTOM, FULL_WIDTH_S, LEFT, LINE_WIDTH, RIGHT, Shown, headings, top_inches
from rmvpe.pictures.spectrogram import brightness_range, log_frequency_picture
from rmvpe.pictures.theme import style
from rmvpe.pictures.time_axis import CLOCK_FROM_S, set_time_axis, time_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_S = (30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)  # the first that needs few enough rows
MAX_ROWS = 20
DETAILED_ROW_S = 60.0  # longer rows have neither spectrogram nor names: a note is too narrow to show either
BEHIND_NOTES = 0.7  # brightness of a spectrogram under bars
COLUMNS, PICTURE_ROWS = 1440, 260  # of the spectrogram of a row: one a pixel
LEAST_WIDTH = 0.02  # of a last row, as a share of the others'
# In inches: panel, strip of confidence, and what is between them and between two rows
WIDTH, PANEL, STRIP, STRIP_GAP, ROW_GAP = 11.0, 1.7, 0.26, 0.05, 0.42


def row_seconds(duration_s: float) -> float:
    """Seconds of a row: the first of `ROW_S` that needs at most `MAX_ROWS` rows; beyond, a whole number of hours."""
    fitting = next((seconds for seconds in ROW_S if duration_s <= seconds * MAX_ROWS), None)
    return fitting or 3600.0 * -(-duration_s // (3600.0 * MAX_ROWS))


def draw_rows(shown: Shown) -> "Figure":
    """The figure: for each row a panel of the pitch and a strip of confidence."""
    from matplotlib.figure import Figure

    row_s, as_clock = row_seconds(shown.duration_s), shown.duration_s > CLOCK_FROM_S
    n_rows = max(1, int(np.ceil(shown.duration_s / row_s - 1e-9)))
    pitch, top = PANEL + STRIP_GAP + STRIP + ROW_GAP, top_inches(shown, WIDTH)
    height = top + n_rows * pitch - ROW_GAP + BOTTOM
    figure = Figure(figsize=(WIDTH, height), facecolor=shown.theme.paper)
    octaves = shown.voice_range
    picture, step_s = _picture(shown, octaves, row_s, n_rows)
    for number in range(n_rows):
        first = number * row_s
        part = shown.part(first, min(first + row_s, shown.duration_s))
        # The last row is as long as its sound, at the scale of the others
        width = (WIDTH - LEFT - RIGHT) * max(part.duration_s / row_s, LEAST_WIDTH)
        bottom = height - top - number * pitch - PANEL
        boxes = (bottom, PANEL), (bottom - STRIP_GAP - STRIP, STRIP)
        upper, lower = (figure.add_axes((LEFT / WIDTH, y / height, width / WIDTH, h / height)) for y, h in boxes)
        for axes in (upper, lower):
            style(axes, shown.theme)
            set_time_axis(axes, first, first + part.duration_s, as_clock, row_s)
        upper.tick_params(axis="x", length=0, labelbottom=False)
        start, stop = (int(max(0, round(time / step_s + side))) for time, side in ((first, -1), (first + row_s, 2)))
        columns = picture[:, start:stop]
        times = ((start - 0.5) * step_s, (start + columns.shape[1] - 0.5) * step_s)
        _panel(upper, part, columns, times, octaves, row_s)
        upper.set_xlim(first, first + part.duration_s)
        _strip(lower, part)
    words = ("left: note names; right: Hz; strip: confidence, 0 to 1", shown.about_threshold)
    headings(figure, shown, time_label(as_clock), "; ".join(filter(None, words)))
    return figure


def _picture(shown: Shown, octaves: tuple[float, float], row_s: float, n_rows: int) -> tuple[np.ndarray, float]:
    """The spectrogram of all rows, 0 (no energy) to 1, and its seconds per column; no columns where there is none."""
    if shown.samples is None or row_s > DETAILED_ROW_S:
        return np.zeros((1, 0)), row_s
    low_hz, high_hz = (2.0**octave for octave in octaves)
    picture, step_s = log_frequency_picture(
        shown.samples, COLUMNS * n_rows, lowest_hz=low_hz, highest_hz=high_hz, rows=PICTURE_ROWS
    )
    dark, bright = brightness_range(picture)
    # Weaker behind notes, so that their bars can be seen
    return np.clip((picture - dark) / (bright - dark), 0, 1) * (1.0 if shown.notes is None else BEHIND_NOTES), step_s


def _panel(
    axes: "Axes",
    part: Shown,
    columns: np.ndarray,
    times_s: tuple[float, float],
    octaves: tuple[float, float],
    row_s: float,
) -> None:
    low, high = octaves
    if columns.shape[1]:
        panels.spectrogram(axes, columns, times_s, octaves, part.theme)
    keyboard(axes, low, high, part.theme, label_size=8)
    scale = (row_s / (72 * (WIDTH - LEFT - RIGHT)), (high - low) / size_points(axes)[1])
    bars(axes, part.notes or (), part.theme, scale, size=7.5, named=row_s <= DETAILED_ROW_S)
    line = LINE_WIDTH * min(0.6 if part.notes is None else 0.45, (FULL_WIDTH_S / row_s) ** 0.5)
    panels.f0_line(axes, part.track, part.theme, line)
    ticks_hz = [hz for hz in panels.TICKS_HZ if low + 0.05 < np.log2(hz) < high - 0.05]
    panels.right_axis(axes, [float(np.log2(hz)) for hz in ticks_hz], [f"{hz}" for hz in ticks_hz], part.theme, size=8)


def _strip(axes: "Axes", part: Shown) -> None:
    panels.confidence(axes, part.track, part.theme, part.threshold, part.hysteresis)
    ticks = [] if part.threshold is None else [part.threshold]
    axes.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks])
    axes.tick_params(labelsize=9)
    axes.tick_params(axis="y", length=0)
