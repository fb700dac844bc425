"""The panels of a track's picture: spectrogram, f0 line, axis of frequencies, confidence."""

from typing import TYPE_CHECKING

import numpy as np

from rmvpe.pictures.theme import Theme
from rmvpe.pitch import midi_to_hz
from rmvpe.track_display import TrackArrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JUMP_OCTAVES = 0.25  # from frame to frame: no voice glides so fast, so the line is interrupted there
MAX_F0_POINTS = 3000  # of a panel
MAX_POINTS = 500  # of the confidence
TICKS_HZ = (100, 200, 400, 800, 1600, 3200)
NOTE_MIDI = (36, 48, 60, 72, 84, 96)  # C2 to C7


def spectrogram(
    axes: "Axes", picture: np.ndarray, times_s: tuple[float, float], octaves: tuple[float, float], theme: Theme
) -> None:
    """Draw `picture` [rows, columns], 0 (no energy) to 1, from and to these times and base-2 logarithms of Hz."""
    axes.imshow(
        picture,
        origin="lower",
        aspect="auto",
        extent=(*times_s, *octaves),
        cmap=theme.colormap(),
        vmin=0.0,
        vmax=1.0,
        interpolation="bilinear",
    )


def f0_line(axes: "Axes", track: TrackArrays, theme: Theme, width: float) -> None:
    """The f0 of voiced frames as a line of `width` points with an outline, interrupted where it jumps."""
    from matplotlib import patheffects

    time_s, octaves = line_points(track)
    jumps = np.flatnonzero(np.abs(np.diff(octaves)) > JUMP_OCTAVES) + 1
    time_s, octaves = np.insert(time_s, jumps, np.nan), np.insert(octaves, jumps, np.nan)
    halo = [patheffects.Stroke(linewidth=2.3 * width, foreground=theme.halo, alpha=0.75), patheffects.Normal()]
    axes.plot(
        time_s,
        octaves,
        color=theme.f0,
        linewidth=width,
        solid_capstyle="round",
        path_effects=halo,
        zorder=3,
        label="f0",
    )


def line_points(track: TrackArrays) -> tuple[np.ndarray, np.ndarray]:
    """Times and base-2 logarithms of the f0, NaN where unvoiced, both [points], at most `MAX_F0_POINTS`.

    Of more frames, neighbours are one point: the median of the voiced ones, unvoiced where most of them are.
    """
    octaves = np.where(track.voiced, np.log2(np.where(track.voiced, track.f0_hz, 1.0)), np.nan)
    per_point = -(-len(track.time_s) // MAX_F0_POINTS) or 1
    if per_point == 1:
        return track.time_s, octaves
    used = len(track.time_s) // per_point * per_point
    groups, voiced = octaves[:used].reshape(-1, per_point), track.voiced[:used].reshape(-1, per_point)
    medians = np.full(len(groups), np.nan)
    most = 2 * voiced.sum(axis=1) >= per_point
    medians[most] = np.nanmedian(groups[most], axis=1)
    return track.time_s[:used].reshape(-1, per_point).mean(axis=1), medians


def frequency_axes(axes: "Axes", theme: Theme) -> None:
    """Hz at the left, the Cs at the right."""
    axes.set_yticks(np.log2(TICKS_HZ), [str(hz) for hz in TICKS_HZ])
    axes.set_ylabel("frequency (Hz)", color=theme.ink, fontsize=12)
    for midi in NOTE_MIDI:
        axes.axhline(np.log2(midi_to_hz(np.array(midi))), color=theme.ink, alpha=0.18, linewidth=0.8)
    right_axis(
        axes,
        [float(np.log2(midi_to_hz(np.array(m)))) for m in NOTE_MIDI],
        [f"C{m // 12 - 1}" for m in NOTE_MIDI],
        theme,
    )


def right_axis(axes: "Axes", places: list[float], labels: list[str], theme: Theme, size: float = 11.0) -> None:
    """A second axis at the right, with these ticks."""
    other = axes.secondary_yaxis("right")
    other.set_yticks(places, labels)
    other.tick_params(colors=theme.ink, labelsize=size, length=3)
    other.spines["right"].set_visible(False)


def confidence(
    axes: "Axes", track: TrackArrays, theme: Theme, threshold: float | None, hysteresis: float = 0.0
) -> None:
    """The confidence over time, voiced frames shaded; a dashed line at the threshold, a dotted one where runs end."""
    axes.broken_barh(voiced_runs(track), (0, 1), color=theme.f0, alpha=0.13, linewidth=0)
    per_point = -(-len(track.time_s) // MAX_POINTS) or 1  # frames whose mean is one point
    used = len(track.time_s) // per_point * per_point
    time_s, mean = (a[:used].reshape(-1, per_point).mean(axis=1) for a in (track.time_s, track.confidence))
    axes.fill_between(time_s, 0, mean, color=theme.f0, alpha=0.25, linewidth=0)
    axes.plot(time_s, mean, color=theme.f0, linewidth=1.1)
    axes.set_ylim(0, 1.02)
    if threshold is not None:
        axes.axhline(threshold, color=theme.threshold, linewidth=1.1, linestyle="--", label="threshold")
    if threshold is not None and hysteresis > 0:
        ends = max(threshold - hysteresis, 0.0)
        axes.axhline(ends, color=theme.threshold, linewidth=1.1, linestyle=":", label="end of a voiced run")


def voiced_runs(track: TrackArrays) -> list[tuple[float, float]]:
    """Start and duration of each run of voiced frames in seconds; a frame reaches half a hop to both sides."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], track.voiced.astype(np.int8), [0]])))
    half = float(np.diff(track.time_s).mean()) / 2 if len(track.time_s) > 1 else 0.005
    pairs = zip(edges[::2], edges[1::2] - 1)
    return [(float(track.time_s[a]) - half, float(track.time_s[b] - track.time_s[a]) + 2 * half) for a, b in pairs]


def about_threshold(threshold: float | None, hysteresis: float) -> str:
    """The threshold in words, "" for none."""
    if threshold is None:
        return ""
    ends = f", dotted: voiced runs end at {max(threshold - hysteresis, 0):.2g}" if hysteresis > 0 else ""
    return f"dashed: threshold {threshold:.2g}{ends}"
