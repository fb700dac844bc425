"""A track to look at, to listen to and to compute with elsewhere: text, HTML, a line in a picture, pandas.

The picture in HTML is SVG of our own, so that a notebook shows it without matplotlib.
"""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rmvpe.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 150, 52, 8, 8, 22  # of the picture in HTML, in pixels
MAX_POINTS = 1200  # of its line
JUMP_OCTAVES = 0.25  # from frame to frame: no voice glides so fast, so the line is interrupted there
LINE = "#0a7ea4"
TICKS_HZ = (50, 100, 200, 400, 800, 1600, 3200, 6400, 12800)


class TrackArrays(Protocol):
    """What is shown: the arrays of an `rmvpe.F0Track`, all [frames]."""

    @property
    def time_s(self) -> np.ndarray: ...

    @property
    def f0_hz(self) -> np.ndarray: ...

    @property
    def voiced(self) -> np.ndarray: ...

    @property
    def confidence(self) -> np.ndarray: ...


def summary(track: TrackArrays) -> dict[str, str]:
    """Frames, time, voiced share and median f0, each in a few characters."""
    n = len(track.time_s)
    if not n:
        return {"frames": "0"}
    first, last = float(track.time_s[0]), float(track.time_s[-1])
    facts = {"frames": str(n), "time": f"{first:.2f} to {last:.2f} s", "voiced": f"{track.voiced.mean():.0%}"}
    if track.voiced.any():
        facts["median f0"] = f"{np.median(track.f0_hz[track.voiced]):.1f} Hz"
    return facts


def text_of(track: TrackArrays) -> str:
    """The track in one line."""
    facts = summary(track)
    words = [f"{facts['frames']} frame{'' if facts['frames'] == '1' else 's'}"]
    words += [facts["time"]] if "time" in facts else []
    words += [f"{facts['voiced']} voiced"] if "voiced" in facts else []
    words += [f"median {facts['median f0']}"] if "median f0" in facts else []
    return f"F0Track({', '.join(words)})"


def html_of(track: TrackArrays) -> str:
    """A small table, and a picture of the f0 if a frame is voiced."""
    facts = summary(track)
    head = "".join(f"<th>{name}</th>" for name in facts)
    row = "".join(f"<td>{value}</td>" for value in facts.values())
    picture = svg_of(track) if track.voiced.any() else ""
    return f"<div><table><tr>{head}</tr><tr>{row}</tr></table>{picture}</div>"


def svg_of(track: TrackArrays) -> str:
    """The f0 of voiced frames over time, on a logarithmic axis, as SVG."""
    step = -(-len(track.time_s) // MAX_POINTS)
    time_s, f0_hz, voiced = track.time_s[::step], track.f0_hz[::step], track.voiced[::step]
    if not voiced.any():  # between the points that are shown
        time_s, f0_hz, voiced = track.time_s[track.voiced][:1], track.f0_hz[track.voiced][:1], np.ones(1, bool)
    octaves = np.log2(np.where(voiced, f0_hz, 1.0))
    low, high = octaves[voiced].min() - 0.25, octaves[voiced].max() + 0.25
    start, seconds = float(track.time_s[0]), max(float(track.time_s[-1] - track.time_s[0]), 1e-3)
    x = LEFT + (WIDTH - LEFT - RIGHT) * (time_s - start) / seconds
    y = TOP + (HEIGHT - TOP - BOTTOM) * (high - octaves) / (high - low)
    parts = [_tick(hz, TOP + (HEIGHT - TOP - BOTTOM) * (high - np.log2(hz)) / (high - low)) for hz in _ticks(low, high)]
    for run in _runs(octaves, voiced, JUMP_OCTAVES * step):
        points = " ".join(f"{x[k]:.1f},{y[k]:.1f}" for k in (run if len(run) > 1 else [run[0], run[0]]))
        parts.append(f'<polyline points="{points}"/>')
    for text, anchor, place in ((f"{start:.2f} s", "start", LEFT), (f"{start + seconds:.2f} s", "end", WIDTH - RIGHT)):
        label = f'<text x="{place}" y="{HEIGHT - 6}" text-anchor="{anchor}"'
        parts.append(f'{label} fill="currentColor" stroke="none">{text}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-size="11" '
        f'font-family="sans-serif" fill="none" stroke="{LINE}" stroke-width="1.8" stroke-linecap="round">'
        f"{''.join(parts)}</svg>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Frequencies in Hz to name: octaves, or the two ends where the range holds none."""
    inside: list[float] = [hz for hz in TICKS_HZ if low <= np.log2(hz) <= high]
    return inside or [float(np.round(2 ** (low + share * (high - low)))) for share in (0.2, 0.8)]


def _tick(hz: float, y: float) -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor"'
    label = f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor" stroke="none">{hz:g} Hz</text>'
    return f'{line} stroke-width="0.5" stroke-opacity="0.35"/>{label}'


def _runs(octaves: np.ndarray, voiced: np.ndarray, jump: float) -> list[np.ndarray]:
    """Numbers of the frames of each line: voiced, without a jump."""
    frames = np.flatnonzero(voiced)
    breaks = (np.diff(frames) > 1) | (np.abs(np.diff(octaves[frames])) > jump)
    return np.split(frames, np.flatnonzero(breaks) + 1)


def plot_into(track: TrackArrays, axes: "Axes | None") -> "Axes":
    """Draw the f0 of voiced frames into `axes`, by default those of a new figure of pyplot; returns the axes."""
    try:
        from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
    except ImportError as error:
        raise UserError("pictures need matplotlib, which is not installed: run pip install matplotlib") from error
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(figsize=(9.0, 3.0), layout="constrained")[1]
    jumps = np.abs(np.diff(np.log2(np.where(track.voiced, track.f0_hz, 1.0)), prepend=0.0)) > JUMP_OCTAVES
    breaks = np.flatnonzero(jumps & track.voiced)
    f0_hz = np.insert(np.where(track.voiced, track.f0_hz, np.nan), breaks, np.nan)
    axes.plot(np.insert(track.time_s, breaks, np.nan), f0_hz, color=LINE, linewidth=1.5)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_locator(FixedLocator([*TICKS_HZ, *(1.5 * hz for hz in TICKS_HZ)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda hz, _: f"{hz:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if len(track.time_s) > 1:
        axes.set_xlim(float(track.time_s[0]), float(track.time_s[-1]))
    axes.set_xlabel("time (s)")
    axes.set_ylabel("f0 (Hz)")
    return axes


def dataframe_of(columns: dict[str, np.ndarray]) -> Any:
    """A DataFrame of pandas with these columns. Raises UserError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise UserError("to_dataframe needs pandas, which is not installed: run pip install pandas") from error
    return pandas.DataFrame(columns)
