"""Ticks of the time axis: seconds for short audio, minutes and seconds for longer."""

import pytest

from rmvpe.pictures.time_axis import MAX_TICKS, clock, time_ticks


@pytest.mark.parametrize(
    ("time_s", "shown"),
    [(0.0, "0:00"), (9.0, "0:09"), (59.6, "1:00"), (90.0, "1:30"), (3599.0, "59:59"), (3661.0, "1:01:01")],
)
def test_a_time_as_minutes_and_seconds(time_s: float, shown: str) -> None:
    assert clock(time_s) == shown


def test_seconds_of_short_audio() -> None:
    assert time_ticks(0.0, 0.35, as_clock=False)[1] == ["0", "0.1", "0.2", "0.3"]
    assert time_ticks(0.0, 9.3, as_clock=False)[1] == [str(second) for second in range(10)]


def test_a_later_row_has_round_times_and_a_short_last_row_the_same_distance() -> None:
    assert time_ticks(60.0, 90.0, as_clock=True)[1] == ["1:00", "1:05", "1:10", "1:15", "1:20", "1:25", "1:30"]
    assert time_ticks(90.0, 97.0, as_clock=True, full_s=30.0)[1] == ["1:30", "1:35"]


@pytest.mark.parametrize("last_s", [0.001, 0.3, 7.0, 61.0, 3600.0, 1e5, 1e6])
def test_there_are_never_too_many_ticks_and_all_are_inside(last_s: float) -> None:
    times, labels = time_ticks(0.0, last_s, as_clock=last_s > 60)
    assert 1 <= len(times) == len(labels) <= MAX_TICKS + 1
    assert all(0.0 <= time <= last_s + 1e-6 for time in times)
    assert len(set(labels)) == len(labels)
