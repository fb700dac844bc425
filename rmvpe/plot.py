"""Pictures of a track: spectrogram, f0, notes and confidence over time. Needs matplotlib.

Up to `ONE_ROW_S` there is one row: the spectrogram with the f0 in it, the piano roll if there are notes, and the
confidence. Longer audio is cut into rows below each other, like a score: each shows the range of the voice alone. There
are at most `MAX_ROWS` rows; beyond that they become longer, so that an hour is a picture of the same size.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.picture_text import literal
from rmvpe.pictures import panels
from rmvpe.pictures.file import (
    PICTURE_SUFFIXES,
    check_picture,
    is_our_picture,
    mark,
    require_matplotlib,
    save_figure,
    title_lines,
)
from rmvpe.pictures.roll import NoteArrays, bars, keyboard, pitch_range, voiced_octaves
from rmvpe.pictures.spectrogram import HIGHEST_HZ, LOWEST_HZ, brightness_range, log_frequency_picture
from rmvpe.pictures.theme import DEFAULT_THEME, Theme, style, theme_named
from rmvpe.pictures.time_axis import CLOCK_FROM_S, set_time_axis, time_label
from rmvpe.track import F0Track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURE_SUFFIXES", "check_picture", "is_our_picture", "mark", "plot_track", "require_matplotlib"]

ALL_OCTAVES = (float(np.log2(LOWEST_HZ)), float(np.log2(HIGHEST_HZ)))  # base-2 logarithms of Hz
# In inches; all have as many pixels, so that the text of one row, which fits on a telephone, is larger
ONE_ROW_WIDTH, ROWS_WIDTH = 8.8, 11.0
TITLE_SIZE, SUMMARY_SIZE = 14, 11  # points
TITLE_COLUMNS_PER_INCH = 3.5  # of the title, beside what is said about the f0
ONE_ROW_S = 40.0  # longer audio has several rows
ROW_S = (30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)  # of rows; the first that needs few enough
MAX_ROWS = 20
DETAILED_ROW_S = 60.0  # longer rows have neither spectrogram nor names: a note is too narrow to show either
BEHIND_NOTES = 0.7  # of the brightness
FULL_WIDTH_S = 15.0  # up to this duration the f0 line has its full width
LINE_WIDTH = 2.2  # of the f0, in points
# Heights in inches: panels of one row; then of several rows, where each margin is fixed
SPECTROGRAM, ROLL, CONFIDENCE, PANEL_GAP = 3.0, 2.3, 0.66, 0.12
LEFT, RIGHT, TOP, BOTTOM = 0.78, 0.5, 0.62, 0.66
ROW, STRIP, STRIP_GAP, ROW_GAP = 1.7, 0.26, 0.05, 0.42
ROW_COLUMNS, ROW_PICTURE_ROWS = 1440, 260  # of the spectrogram of a row: one a pixel


def plot_track(
    audio: np.ndarray,
    track: F0Track,
    path: str | os.PathLike[str],
    title: str = "",
    *,
    notes: Sequence[NoteArrays] | None = None,
    theme: str = DEFAULT_THEME,
    threshold: float | None = None,
    hysteresis: float = 0.0,
) -> None:
    """Draw audio and its track: the spectrogram with the f0, the notes if given, and below the confidence, over time.

    `audio`: 16 kHz mono [samples]. `path` ends in .png, .pdf or .svg. The file is written completely or not at all.
    notes: such as `track.notes(audio)`. theme: "dark" or "light". threshold, hysteresis: of the confidence, where lines
    are drawn: `estimator.config.threshold` and `.hysteresis`. Audio of more than 40 s has several rows, of 30 s up to
    10 minutes, of longer times beyond, never more than 20. Raises UserError for another ending or theme, for a folder
    that cannot be written, or without matplotlib.
    """
    check_picture(path)
    figure = draw(
        np.asarray(audio, dtype=np.float32),
        track,
        title,
        notes=notes,
        theme=theme,
        threshold=threshold,
        hysteresis=hysteresis,
    )
    save_figure(figure, path)


def draw(
    audio: np.ndarray,
    track: F0Track,
    title: str = "",
    *,
    notes: Sequence[NoteArrays] | None = None,
    theme: str = DEFAULT_THEME,
    threshold: float | None = None,
    hysteresis: float = 0.0,
) -> "Figure":
    """The figure that `plot_track` saves, from 16 kHz mono audio [samples]; pyplot does not know it."""
    colours = theme_named(theme)
    duration_s = max(len(audio) / SAMPLE_RATE_HZ, 1e-3)
    limits = (threshold, hysteresis)
    if duration_s > ONE_ROW_S:
        figure = _rows(audio, track, title, notes, colours, limits, duration_s)
    else:
        figure = _one_row(audio, track, title, notes, colours, limits, duration_s)
    literal(figure)
    return figure


def row_seconds(duration_s: float) -> float:
    """Seconds of a row: the first of `ROW_S` that needs at most `MAX_ROWS` rows; beyond, a whole number of hours."""
    fitting = next((seconds for seconds in ROW_S if duration_s <= seconds * MAX_ROWS), None)
    return fitting or 3600.0 * -(-duration_s // (3600.0 * MAX_ROWS))


def _one_row(
    audio: np.ndarray,
    track: F0Track,
    title: str,
    notes: Sequence[NoteArrays] | None,
    theme: Theme,
    limits: tuple[float | None, float],
    duration_s: float,
) -> "Figure":
    from matplotlib.figure import Figure

    heights = [SPECTROGRAM, *([ROLL] if notes is not None else []), CONFIDENCE]
    gaps = PANEL_GAP * (len(heights) - 1)
    shown, title_size = _title_of(title, ONE_ROW_WIDTH)
    size = (ONE_ROW_WIDTH, TOP + _extra_inches(shown, title_size) + sum(heights) + gaps + BOTTOM)
    figure = Figure(figsize=size, facecolor=theme.paper)
    inner = (size[0] - LEFT - RIGHT) / size[0]
    left, bottoms, bottom = LEFT / size[0], [], BOTTOM
    for height in reversed(heights):
        bottoms.append(bottom)
        bottom += height + PANEL_GAP
    boxes = [(left, b / size[1], inner, h / size[1]) for b, h in zip(reversed(bottoms), heights)]
    upper, *middle, lower = (figure.add_axes(box) for box in boxes)
    picture, step_s = log_frequency_picture(audio)
    dark, bright = brightness_range(picture)
    times = (-step_s / 2, (picture.shape[1] - 0.5) * step_s)
    panels.spectrogram(upper, np.clip((picture - dark) / (bright - dark), 0, 1), times, ALL_OCTAVES, theme)
    upper.set_ylim(*ALL_OCTAVES)
    width = LINE_WIDTH * min(1.0, (FULL_WIDTH_S / duration_s) ** 0.5)  # finer for longer audio
    panels.f0_line(upper, track, theme, width)
    panels.frequency_axes(upper, theme)
    for axes in (upper, *middle, lower):
        style(axes, theme)
        set_time_axis(axes, 0.0, duration_s, as_clock=False)
        if axes is not lower:
            axes.tick_params(axis="x", length=0, labelbottom=False)
    for axes in middle:
        assert notes is not None
        low, high = pitch_range(voiced_octaves(track), notes) or ALL_OCTAVES
        keyboard(axes, low, high, theme, label_size=9)
        scale = (duration_s / (72 * inner * size[0]), (high - low) / (72 * ROLL))
        bars(axes, notes, theme, seconds_per_point=scale[0], octaves_per_point=scale[1], size=9)
        panels.f0_line(axes, track, theme, 0.8 * width)
        axes.set_ylabel("notes", color=theme.ink, fontsize=12)
    panels.confidence(lower, track, theme, *limits)
    lower.set_ylabel("confidence", color=theme.ink, fontsize=10)
    lower.set_yticks([0, 1])
    if limits[0] is not None:
        panels.right_axis(lower, [limits[0]], [f"{limits[0]:.2g}"], theme, size=10)
    lower.set_xlabel(time_label(as_clock=False), color=theme.ink, fontsize=12)
    _headings(figure, title, track, notes, theme, panels.about_threshold(*limits))
    return figure


def _rows(
    audio: np.ndarray,
    track: F0Track,
    title: str,
    notes: Sequence[NoteArrays] | None,
    theme: Theme,
    limits: tuple[float | None, float],
    duration_s: float,
) -> "Figure":
    from matplotlib.figure import Figure

    row_s, as_clock = row_seconds(duration_s), duration_s > CLOCK_FROM_S
    n_rows = max(1, int(np.ceil(duration_s / row_s - 1e-9)))
    low, high = pitch_range(voiced_octaves(track), notes or ()) or ALL_OCTAVES
    detailed = row_s <= DETAILED_ROW_S
    picture, step_s = np.zeros((1, 0)), row_s
    if detailed:
        picture, step_s = log_frequency_picture(
            audio, ROW_COLUMNS * n_rows, lowest_hz=2.0**low, highest_hz=2.0**high, rows=ROW_PICTURE_ROWS
        )
        dark, bright = brightness_range(picture)
        # Weaker behind notes, so that their bars can be seen
        picture = np.clip((picture - dark) / (bright - dark), 0, 1) * (1.0 if notes is None else BEHIND_NOTES)
    pitch = ROW + STRIP + STRIP_GAP + ROW_GAP
    shown, title_size = _title_of(title, ROWS_WIDTH)
    top = TOP + _extra_inches(shown, title_size)
    size = (ROWS_WIDTH, top + n_rows * pitch - ROW_GAP + BOTTOM)
    figure = Figure(figsize=size, facecolor=theme.paper)
    inner = size[0] - LEFT - RIGHT
    ticks_hz = [hz for hz in panels.TICKS_HZ if low + 0.05 < np.log2(hz) < high - 0.05]
    for number in range(n_rows):
        first, last = number * row_s, (number + 1) * row_s
        bottom = size[1] - top - number * pitch - ROW
        # The last row is as long as its sound, at the scale of the others
        seconds = min(last, duration_s) - first
        width = inner * max(seconds / row_s, 0.02)
        upper = figure.add_axes((LEFT / size[0], bottom / size[1], width / size[0], ROW / size[1]))
        bottom -= STRIP + STRIP_GAP
        lower = figure.add_axes((LEFT / size[0], bottom / size[1], width / size[0], STRIP / size[1]))
        for axes in (upper, lower):
            style(axes, theme)
            set_time_axis(axes, first, first + seconds, as_clock, row_s)
        upper.tick_params(axis="x", length=0, labelbottom=False)
        start, stop = (int(max(0, round(time / step_s + side))) for time, side in ((first, -1), (last, 2)))
        part = picture[:, start:stop]
        if part.shape[1]:
            times = ((start - 0.5) * step_s, (start + part.shape[1] - 0.5) * step_s)
            panels.spectrogram(upper, part, times, (low, high), theme)
        sung = track[slice(*(int(np.searchsorted(track.time_s, time)) for time in (first - 0.05, last + 0.05)))]
        keyboard(upper, low, high, theme, label_size=8)
        here = [note for note in notes or () if note.onset_s < last and note.offset_s > first]
        scale = (row_s / (72 * inner), (high - low) / (72 * ROW))
        bars(upper, here, theme, seconds_per_point=scale[0], octaves_per_point=scale[1], size=7.5, named=detailed)
        line = LINE_WIDTH * min(0.6 if notes is None else 0.45, (FULL_WIDTH_S / row_s) ** 0.5)
        panels.f0_line(upper, sung, theme, line)
        upper.set_xlim(first, first + seconds)
        panels.right_axis(upper, [float(np.log2(hz)) for hz in ticks_hz], [f"{hz}" for hz in ticks_hz], theme, size=8)
        panels.confidence(lower, sung, theme, *limits)
        lower.set_yticks([] if limits[0] is None else [limits[0]], [] if limits[0] is None else [f"{limits[0]:.2g}"])
        lower.tick_params(labelsize=9)
        lower.tick_params(axis="y", length=0)
    figure.text(LEFT / size[0], 0.17 / size[1], time_label(as_clock), color=theme.ink, fontsize=11, va="bottom")
    words = ("left: note names; right: Hz; strip: confidence, 0 to 1", panels.about_threshold(*limits))
    _headings(figure, title, track, notes, theme, "; ".join(filter(None, words)))
    return figure


def _title_of(title: str, width_inches: float) -> tuple[str, float]:
    """The title as it is drawn, and its size in points."""
    return title_lines(title, TITLE_SIZE, int(TITLE_COLUMNS_PER_INCH * width_inches))


def _extra_inches(shown: str, size: float) -> float:
    """The height of the lines after the first."""
    return 1.3 * size / 72 * shown.count("\n")


def _headings(
    figure: "Figure", title: str, track: F0Track, notes: Sequence[NoteArrays] | None, theme: Theme, foot: str
) -> None:
    """Title and summary above the first panel, and `foot` under the last one, at the right."""
    width, height = figure.get_size_inches()
    shown, size = _title_of(title, width)
    first = figure.axes[0]
    first.set_title(shown, color=theme.ink, fontsize=size, loc="left", pad=9)
    first.set_title(_summary(track, notes), color=theme.f0, fontsize=SUMMARY_SIZE, loc="right", pad=9)
    figure.text(1 - RIGHT / width, 0.17 / height, foot, color=theme.ink, fontsize=9.5, va="bottom", ha="right")


def _summary(track: F0Track, notes: Sequence[NoteArrays] | None) -> str:
    counted = "" if notes is None else f", {len(notes)} note{'' if len(notes) == 1 else 's'}"
    if not track.voiced.any():
        return f"f0: no voice found{counted}"
    return f"f0: median {np.median(track.f0_hz[track.voiced]):.0f} Hz, {track.voiced.mean():.0%} voiced{counted}"
