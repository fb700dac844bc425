"""Spans: their times add up, nothing is measured without a collection, and results are the same with one."""

import threading
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import pytest

from rmvpe.timing import (
    DECODING,
    FEATURES,
    GRU,
    HEAD,
    LOG_MEL,
    ORDER,
    READING,
    Timings,
    collecting,
    count_sound,
    span,
    timed,
)
from tests.helpers.settings import decoding
from tests.helpers.waves import waves


def ticking() -> Callable[[], float]:
    """A clock on which each look takes a second."""
    seconds: Iterator[int] = count(10)
    return lambda: float(next(seconds))


def test_spans_interrupt_each_other_and_add_up():
    timings = Timings(4.0, ticking())  # looks at 10
    with timings.span(READING):  # at 11
        pass  # 12
    with timings.span(DECODING), timings.span(FEATURES):  # 13, 14
        pass  # 15, 16
    whole, *spans = timings.table()  # 17
    assert whole == "13.00 s"
    assert [line.split() for line in spans] == [
        ["start", "and", "imports", "6.000", "s", "46%"],
        ["reading", "1.000", "s", "8%"],
        ["network:", "U-Net", "1.000", "s", "8%"],
        ["decoding", "2.000", "s", "15%"],
        ["the", "rest", "3.000", "s", "23%"],
    ]


def test_an_exception_ends_its_span():
    timings = Timings(0.0, ticking())
    with pytest.raises(KeyError), timings.span(READING):
        raise KeyError
    with timings.span(LOG_MEL):
        pass
    assert set(timings.seconds) == {ORDER[0], READING, LOG_MEL, ORDER[-1]}


def test_the_speed_is_that_of_the_sound_that_was_read():
    timings = Timings(0.0, ticking())  # 10 s until now
    with collecting(timings):
        count_sound(40.0)
        count_sound(15.0)
    count_sound(1e6)  # nobody collects
    assert timings.table()[0] == "11.00 s for 55.0 s of sound, 5 times real time"


def test_a_prediction_is_the_same_and_its_parts_are_known():
    estimator = waves(256, 64, decoding())
    audio = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    expected = estimator.from_audio(audio, 16_000)
    with collecting(Timings(0.0)) as timings:
        track = estimator.from_audio(audio, 16_000)
    assert {LOG_MEL, FEATURES, GRU, HEAD, DECODING} <= set(timings.seconds)
    np.testing.assert_array_equal(track.f0_hz, expected.f0_hz)
    np.testing.assert_array_equal(track.confidence, expected.confidence)
    assert estimator.backend is timed(estimator.backend)  # nothing stands between without a collection


def test_other_threads_measure_nothing():
    def work() -> None:
        with span(READING):
            pass

    with collecting(Timings(0.0)) as timings:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert READING not in timings.seconds
