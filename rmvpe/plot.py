"""Pictures of a track: spectrogram, f0, notes and confidence over time. Needs matplotlib.

Up to `ONE_ROW_S` there is one row (`rmvpe.pictures.one_row`); longer audio is cut into rows below each other, like a
score (`rmvpe.pictures.rows`), so that an hour is a picture of bounded size.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.picture_text import literal
from rmvpe.pictures.file import (
    PICTURE_SUFFIXES,
    check_picture,
    is_our_picture,
    mark,
    require_matplotlib,
    save_figure,
)
from rmvpe.pictures.one_row import draw_one_row
from rmvpe.pictures.roll import NoteArrays
from rmvpe.pictures.rows import draw_rows
from rmvpe.pictures.shown import Shown
from rmvpe.pictures.theme import DEFAULT_THEME, theme_named
from rmvpe.track import F0Track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURE_SUFFIXES", "check_picture", "is_our_picture", "mark", "plot_track", "require_matplotlib"]

ONE_ROW_S = 40.0  # longer audio has several rows


def plot_track(
    audio: np.ndarray | None,
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

    `audio`: 16 kHz mono [samples]; None where only the track is known: then there is no spectrogram. `path` ends in
    .png, .pdf or .svg. The file is written completely or not at all. notes: such as `track.notes(audio)`. theme: "dark"
    or "light". threshold, hysteresis: of the confidence, where lines are drawn: `estimator.config.threshold` and
    `.hysteresis`. Audio of more than 40 s has several rows, of 30 s up to 10 minutes, of longer times beyond, never
    more than 20. Raises UserError for another ending or theme, for a folder that cannot be written, or without
    matplotlib.
    """
    check_picture(path)
    figure = draw(audio, track, title, notes=notes, theme=theme, threshold=threshold, hysteresis=hysteresis)
    save_figure(figure, path)


def draw(
    audio: np.ndarray | None,
    track: F0Track,
    title: str = "",
    *,
    notes: Sequence[NoteArrays] | None = None,
    theme: str = DEFAULT_THEME,
    threshold: float | None = None,
    hysteresis: float = 0.0,
) -> "Figure":
    """The figure that `plot_track` saves, from 16 kHz mono audio [samples]; pyplot does not know it."""
    samples = None if audio is None else np.asarray(audio, dtype=np.float32)
    if samples is not None:
        end_s = len(samples) / SAMPLE_RATE_HZ
    else:
        end_s = max([track.time_s[-1] if len(track) else 0.0, *(note.offset_s for note in notes or ())])
    duration_s = max(float(end_s), 1e-3)
    shown = Shown(samples, track, title, notes, theme_named(theme), threshold, hysteresis, duration_s)
    figure = draw_rows(shown) if duration_s > ONE_ROW_S else draw_one_row(shown)
    literal(figure)
    return figure
