"""What a track's picture shows, and its headings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rmvpe.pictures import panels
from rmvpe.pictures.file import title_lines
from rmvpe.pictures.roll import NoteArrays, pitch_range, voiced_octaves
from rmvpe.pictures.spectrogram import HIGHEST_HZ, LOWEST_HZ
from rmvpe.pictures.theme import Theme
from rmvpe.track import F0Track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL_OCTAVES = (float(np.log2(LOWEST_HZ)), float(np.log2(HIGHEST_HZ)))  # base-2 logarithms of Hz
LEFT, RIGHT, TOP, BOTTOM = 0.78, 0.5, 0.62, 0.66  # margins in inches
TITLE_SIZE, SUMMARY_SIZE = 14, 11  # points
TITLE_COLUMNS_PER_INCH = 3.5  # of the title, beside what is said about the f0
FULL_WIDTH_S = 15.0  # up to this duration the f0 line has its full width
LINE_WIDTH = 2.2  # of the f0, in points


@dataclass(frozen=True)
class Shown:
    """samples: 16 kHz mono float32 [n], None where only the track is known. notes: None for none asked for."""

    samples: np.ndarray | None
    track: F0Track
    title: str
    notes: Sequence[NoteArrays] | None
    theme: Theme
    threshold: float | None
    hysteresis: float
    duration_s: float

    @property
    def voice_range(self) -> tuple[float, float]:
        """Base-2 logarithms of the lowest and the highest Hz of a panel that shows the voice alone."""
        return pitch_range(voiced_octaves(self.track), self.notes or ()) or ALL_OCTAVES

    @property
    def about_threshold(self) -> str:
        """The lines of the confidence in words, "" for none."""
        return panels.about_threshold(self.threshold, self.hysteresis)

    @property
    def summary(self) -> str:
        """Pitch, voiced share and notes in a few words."""
        count = "" if self.notes is None else f", {len(self.notes)} note{'' if len(self.notes) == 1 else 's'}"
        voiced = self.track.voiced
        if not voiced.any():
            return f"f0: no voice found{count}"
        return f"f0: median {np.median(self.track.f0_hz[voiced]):.0f} Hz, {voiced.mean():.0%} voiced{count}"

    def part(self, first_s: float, last_s: float) -> "Shown":
        """The track and the notes between two times; the track reaches a few frames further, so that lines go on."""
        frames = slice(*(int(np.searchsorted(self.track.time_s, time)) for time in (first_s - 0.05, last_s + 0.05)))
        notes = None if self.notes is None else [n for n in self.notes if n.onset_s < last_s and n.offset_s > first_s]
        return replace(self, samples=None, track=self.track[frames], notes=notes, duration_s=last_s - first_s)


def title_of(shown: Shown, width_inches: float) -> tuple[str, float]:
    """The title as it is drawn, in one line or several, and its size in points."""
    return title_lines(shown.title, TITLE_SIZE, int(TITLE_COLUMNS_PER_INCH * width_inches))


def top_inches(shown: Shown, width_inches: float) -> float:
    """The margin above the first panel: title and summary."""
    text, size = title_of(shown, width_inches)
    return TOP + 1.3 * size / 72 * text.count("\n")


def headings(figure: "Figure", shown: Shown, time: str, foot: str) -> None:
    """Title and summary above the first panel; under the last one `time`, what its axis is, and `foot`."""
    width, height = figure.get_size_inches()
    text, size = title_of(shown, width)
    theme, first, last = shown.theme, figure.axes[0], figure.axes[-1]
    first.set_title(text, color=theme.ink, fontsize=size, loc="left", pad=9)
    first.set_title(shown.summary, color=theme.f0, fontsize=SUMMARY_SIZE, loc="right", pad=9)
    last.set_xlabel(time, color=theme.ink, fontsize=11, loc="left")
    figure.text(1 - RIGHT / width, 0.17 / height, foot, color=theme.ink, fontsize=9.5, va="bottom", ha="right")
