"""Notes in a picture: bars with names over a keyboard's grid. Pitch is drawn as the base-2 logarithm of Hz."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rmvpe.notes.note import note_name
from rmvpe.pictures.file import require_matplotlib
from rmvpe.pictures.panels import f0_line
from rmvpe.pictures.theme import Theme, style, theme_named
from rmvpe.pictures.time_axis import CLOCK_FROM_S, set_time_axis, time_label
from rmvpe.pitch import A4_HZ, MIDI_A4
from rmvpe.track_display import TrackArrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLACK_KEYS = frozenset((1, 3, 6, 8, 10))
# Keys of an octave that get a name on the axis, the first choice whose names do not touch
NAMED_KEYS = ((0, 2, 4, 5, 7, 9, 11), (0, 4, 7), (0, 7), (0,))
WHITE_KEY, BLACK_KEY, KEY_EDGE = "#f3f4f6", "#16191d", "#8b929b"  # as on a piano, in every theme
KEYBOARD_POINTS = 11.0  # width of the keys at the left
NAME_EMS, LINE_EMS = 0.68, 1.25  # width of a letter and height of a line, of the font's size
BAR_SEMITONES = 0.9
NEIGHBOURS = 6  # notes before and after that a name must not touch


class NoteArrays(Protocol):
    """What is drawn of a note: `rmvpe.notes.note.Note` has it."""

    @property
    def onset_s(self) -> float: ...

    @property
    def offset_s(self) -> float: ...

    @property
    def pitch_midi(self) -> float: ...

    @property
    def name(self) -> str: ...


def octave_of(pitch_midi: float) -> float:
    """Where a pitch is on the axis: the base-2 logarithm of its Hz."""
    return float(np.log2(A4_HZ) + (pitch_midi - MIDI_A4) / 12.0)


def voiced_octaves(track: TrackArrays) -> np.ndarray:
    """Where the f0 of voiced frames is on the axis, [voiced frames]."""
    octaves: np.ndarray = np.log2(track.f0_hz[track.voiced])
    return octaves


def piano_roll(notes: Sequence[NoteArrays], track: TrackArrays | None, axes: "Axes | None", theme: str) -> "Axes":
    """Notes, and the f0 over them if it is known, in `axes`, by default those of a new figure of pyplot."""
    require_matplotlib()
    colours = theme_named(theme)
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(figsize=(11.0, 3.6), facecolor=colours.paper)[1]
    ends = [note.offset_s for note in notes] + ([] if track is None else track.time_s[-1:].tolist())
    first_s = min([0.0, *(note.onset_s for note in notes)])
    last_s = max([first_s + 1.0, *ends])
    octaves = np.zeros(0) if track is None else voiced_octaves(track)
    low, high = pitch_range(octaves, notes) or (octave_of(MIDI_A4 - 12), octave_of(MIDI_A4 + 12))
    style(axes, colours)
    as_clock = last_s - first_s > CLOCK_FROM_S
    set_time_axis(axes, first_s, last_s, as_clock)
    axes.set_xlabel(time_label(as_clock), color=colours.ink)
    width, height = size_points(axes)
    keyboard(axes, low, high, colours, label_size=9)
    bars(axes, notes, colours, ((last_s - first_s) / width, (high - low) / height), size=9)
    if track is not None:
        f0_line(axes, track, colours, 1.5)
    return axes


def pitch_range(octaves: np.ndarray, notes: Iterable[NoteArrays], least: float = 2.0) -> tuple[float, float] | None:
    """Lowest and highest octave for voiced frames [n] and notes, at least `least` octaves; None where there is none.

    A few frames far away from the others do not count, so that one error does not flatten the melody.
    """
    known = [octave_of(note.pitch_midi) for note in notes]
    if len(octaves):
        known += [float(value) for value in np.quantile(octaves, (0.005, 0.995))]
    if not known:
        return None
    low, high = min(known) - 3 / 12, max(known) + 3 / 12
    wanting = max(0.0, least - (high - low)) / 2
    return low - wanting, high + wanting


def keyboard(axes: "Axes", low: float, high: float, theme: Theme, label_size: float) -> None:
    """Keys at the left of the axes, the lines of black keys shaded, and the names of as many keys as have room.

    low, high: the range of the axis in octaves. label_size: of the names, in points.
    """
    from matplotlib.patches import Rectangle

    width_points, height_points = size_points(axes)
    semitone_points = height_points / (12 * (high - low))
    first, last = (int(np.round(12 * (octave - np.log2(A4_HZ)) + MIDI_A4)) for octave in (low, high))
    sideways = axes.get_yaxis_transform()
    width = KEYBOARD_POINTS / width_points
    axes.add_patch(
        Rectangle(
            (-width, low), width, high - low, transform=sideways, clip_on=False, facecolor=WHITE_KEY, edgecolor=KEY_EDGE
        )
    )
    for number in range(first, last + 1):
        bottom, top = (float(np.clip(octave_of(number + side), low, high)) for side in (-0.5, 0.5))
        if number % 12 in BLACK_KEYS:
            axes.axhspan(bottom, top, color=theme.ink, alpha=0.07, linewidth=0)
            place = (-width, bottom)
            key = Rectangle(place, 0.62 * width, top - bottom, transform=sideways, clip_on=False, color=BLACK_KEY)
            axes.add_patch(key)
        elif number % 12 in (0, 5):  # the line between two white keys that touch: B and C, E and F
            axes.plot([-width, 0], [bottom] * 2, transform=sideways, clip_on=False, color=KEY_EDGE, linewidth=0.7)
        if number % 12 == 0:
            axes.axhline(octave_of(number), color=theme.ink, alpha=0.25, linewidth=0.8)
    named = next(
        (keys for keys in NAMED_KEYS if _closest(keys) * semitone_points >= LINE_EMS * label_size), NAMED_KEYS[-1]
    )
    # A name at the very edge would reach into the next panel
    inside = [n for n in range(first, last + 1) if n % 12 in named and low + 0.03 <= octave_of(n) <= high - 0.03]
    axes.set_ylim(low, high)
    axes.set_yticks([octave_of(number) for number in inside], [note_name(number) for number in inside])
    axes.tick_params(axis="y", length=0, pad=KEYBOARD_POINTS + 3, labelsize=label_size)


def size_points(axes: "Axes") -> tuple[float, float]:
    """Width and height of an axes, as it is placed now."""
    return 72 * axes.bbox.width / axes.figure.dpi, 72 * axes.bbox.height / axes.figure.dpi


def _closest(keys: Sequence[int]) -> int:
    """The least number of semitones between two of `keys` of an octave and their repetitions."""
    return min(int(step) for step in np.diff((*keys, keys[0] + 12)))


def bars(
    axes: "Axes",
    notes: Iterable[NoteArrays],
    theme: Theme,
    scale: tuple[float, float],
    *,
    size: float,
    alpha: float = 0.45,
    named: bool = True,
) -> None:
    """A bar for each note, and its name above or below it where there is room, if `named`.

    scale: seconds and octaves per point. size: of the names, in points. alpha: of the bars.
    Notes that begin left of the axes have no name, and no name ends right of it.
    """
    from matplotlib import patheffects
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    notes = list(notes)
    height = BAR_SEMITONES / 12
    least = 1.5 * scale[0]  # so that the shortest note can be seen
    boxes = [
        (note.onset_s, octave_of(note.pitch_midi) - height / 2, max(note.offset_s - note.onset_s, least))
        for note in notes
    ]
    fills = PatchCollection(
        [Rectangle((x, y), width, height) for x, y, width in boxes],
        facecolor=to_rgba(theme.note, alpha),
        edgecolor=to_rgba(theme.note, 0.95),
        linewidth=0.9 if named else 0.3,
        zorder=2.5,
    )
    axes.add_collection(fills, autolim=False)
    if not named:
        return
    halo = [patheffects.withStroke(linewidth=2.0, foreground=theme.paper)]
    places = name_places([note.name for note in notes], boxes, *scale, size, axes.get_xlim())
    for note, place in zip(notes, places):
        if place is None:
            continue
        x, y, above = place
        axes.text(
            x,
            y,
            note.name,
            color=theme.note_name,
            fontsize=size,
            va="bottom" if above else "top",
            clip_on=True,
            zorder=4,
            path_effects=halo,
        )


def name_places(
    names: Sequence[str],
    boxes: Sequence[tuple[float, float, float]],
    seconds_per_point: float,
    octaves_per_point: float,
    size: float,
    within_s: tuple[float, float],
) -> list[tuple[float, float, bool] | None]:
    """Where each name goes: its left end, its lower or upper edge, and whether it is above its bar; None: nowhere.

    boxes: left end, bottom and width of each bar, in order of time. A name is above its bar, else below it, else left
    out: it must not touch a name before it nor a bar of its neighbours. `size`: of the font, in points. within_s: the
    times that can be seen.
    """
    height, line = BAR_SEMITONES / 12, LINE_EMS * size * octaves_per_point
    places: list[tuple[float, float, bool] | None] = []
    taken: list[tuple[float, float, float, float]] = []  # left, right, bottom, top of the last names
    for number, (name, (left, bottom, _)) in enumerate(zip(names, boxes)):
        if left < within_s[0]:
            places.append(None)
            continue
        width = NAME_EMS * size * len(name) * seconds_per_point
        left = max(within_s[0], min(left, within_s[1] - width))
        right = left + width
        near = range(max(0, number - NEIGHBOURS), min(len(boxes), number + NEIGHBOURS + 1))
        solid = [(x, x + w, y, y + height) for k in near if k != number for x, y, w in (boxes[k],)]
        choices = ((bottom + height, bottom + height + line, True), (bottom - line, bottom, False))
        for low, high, above in choices:
            if not any(x0 < right and left < x1 and y0 < high and low < y1 for x0, x1, y0, y1 in (*taken, *solid)):
                places.append((left, low if above else high, above))
                taken = [*taken[-NEIGHBOURS:], (left, right, low, high)]
                break
        else:
            places.append(None)
    return places
