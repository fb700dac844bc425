"""The colours of every picture: a dark theme and a light one, for screens and for white paper.

Lines are told apart by colour, marker and dashes together. The colours of lines are those of Okabe and Ito
(https://jfly.uni-koeln.de/color/), which differ for all common kinds of colour vision; those too close to the paper are
left out of a theme.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmvpe.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (9, 3, 2, 3)), (0, (4, 4)))


@dataclass(frozen=True)
class Theme:
    """Colours as #rrggbb.

    paper: the background, and the colour of no energy in a spectrogram. ink: text, ticks, grid. f0: the pitch line,
    the confidence and this project's tracker. halo: the outline that sets the f0 off from the spectrogram. note and
    note_name: bars of notes and their names. threshold: lines of a limit. spectrum: colours of a spectrogram, from no
    energy to the most. lines: further curves, in order. good, bad: a comparison within and beyond its limits.
    """

    name: str
    paper: str
    ink: str
    f0: str
    halo: str
    note: str
    note_name: str
    threshold: str
    spectrum: tuple[str, ...]
    lines: tuple[str, ...]
    good: str
    bad: str

    def colormap(self) -> "Colormap":
        """The colours of a spectrogram, from no energy to the most."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list(f"rmvpe {self.name}", list(self.spectrum))

    def line(self, number: int) -> dict[str, Any]:
        """Colour, marker and dashes of curve `number`, from 0: no two of the first nine share marker or dashes."""
        return {
            "color": self.lines[number % len(self.lines)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": DASHES[number % len(DASHES)],
        }


DARK = Theme(
    name="dark",
    paper="#0d1117",
    ink="#c9d1d9",
    f0="#3df5e6",
    halo="#0d1117",
    note="#ffffff",
    note_name="#ffffff",
    threshold="#f0e442",
    # Dark violet to pale orange: brightness rises evenly, so it reads the same without colours. No cyan, which is f0
    spectrum=("#0d1117", "#1b1037", "#451070", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d"),
    lines=("#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#009e73", "#d55e00", "#ffffff"),
    good="#56b4e9",
    bad="#e69f00",
)
LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#24292f",
    f0="#c6470a",
    halo="#ffffff",
    note="#0072b2",
    note_name="#004a75",
    threshold="#24292f",
    spectrum=("#ffffff", "#e4e6e9", "#c3c7cc", "#9fa5ad", "#7c838c", "#5c626b"),
    lines=("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a5195"),
    good="#0072b2",
    bad="#c6470a",
)
THEMES = {theme.name: theme for theme in (DARK, LIGHT)}
DEFAULT_THEME = DARK.name


def theme_named(name: str) -> Theme:
    """The theme of a name. Raises UserError for another one."""
    if name not in THEMES:
        raise UserError(f"{name!r} is no theme of pictures: give {' or '.join(THEMES)}")
    return THEMES[name]


def style(axes: "Axes", theme: Theme) -> None:
    """The look of every picture: the theme's paper, no frame, ticks in ink."""
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.ink, labelsize=11, length=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
