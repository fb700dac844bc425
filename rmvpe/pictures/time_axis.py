"""The time axis: seconds for what is short, minutes and seconds for what is longer than a minute."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLOCK_FROM_S = 60.0  # longer audio has ticks such as 1:30
STEPS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0)
MAX_TICKS = 12


def clock(time_s: float) -> str:
    """A time as minutes and seconds, from an hour on with hours: "1:30", "1:02:03"."""
    seconds = round(time_s)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


def time_ticks(
    first_s: float, last_s: float, as_clock: bool, full_s: float | None = None
) -> tuple[list[float], list[str]]:
    """Times from `first_s` to `last_s` at a round distance, and what they are labelled with.

    There are at most `MAX_TICKS` distances in `full_s`, by default in the time from first to last.
    """
    span = max(full_s or last_s - first_s, 1e-3)
    whole = [step for step in STEPS_S if step >= 1.0] if as_clock else STEPS_S
    step = next((step for step in whole if span / step <= MAX_TICKS), span / MAX_TICKS)
    numbers = range(int(-(-first_s // step)), int((last_s + 1e-6) // step) + 1)
    times = [number * step for number in numbers]
    return times, [clock(time) if as_clock else f"{time:.4g}" for time in times]


def set_time_axis(axes: "Axes", first_s: float, last_s: float, as_clock: bool, full_s: float | None = None) -> None:
    """Let an axes show the time from `first_s` to `last_s`, with the ticks of `time_ticks`."""
    times, labels = time_ticks(first_s, last_s, as_clock, full_s)
    axes.set_xlim(first_s, last_s)
    axes.set_xticks(times, labels)


def time_label(as_clock: bool) -> str:
    """What the axis is: with its unit."""
    return "time (min:s)" if as_clock else "time (s)"
