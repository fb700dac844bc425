"""Computations in threads: in order, no more at a time than asked for, and an error ends all."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from rmvpe.parallel import Beside, in_threads


def test_results_are_in_order_whichever_ends_first():
    second_is_done = threading.Event()

    def first() -> str:
        assert second_is_done.wait(10)
        return "first"

    def second() -> str:
        second_is_done.set()
        return "second"

    assert in_threads([first, second, lambda: "third"], 2) == ["first", "second", "third"]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_at_a_time_than_asked_for(threads: int):
    running, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(threads)

    def compute(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(10)  # passes only if so many run at a time
        with lock:
            running -= 1
        return number

    assert in_threads([partial(compute, number) for number in range(6)], threads) == list(range(6))
    assert most == threads


def test_one_thread_is_the_callers_own():
    assert in_threads([threading.get_ident], 1) == [threading.get_ident()]
    assert in_threads([], 4) == []


def test_after_an_error_nothing_more_begins():
    begun: list[int] = []

    def fail() -> int:
        raise ValueError("no")

    def begin(number: int) -> int:
        begun.append(number)
        return number

    computations: list[Callable[[], int]] = [fail, *(partial(begin, number) for number in range(5))]
    with pytest.raises(ValueError, match="no"):
        in_threads(computations, 1)
    assert begun == []


def test_a_computation_beside_takes_the_pieces_in_order():
    others = []

    def compute(pieces):
        others.append(threading.current_thread())
        return list(pieces)

    with Beside(compute) as computation:
        for piece in range(100):
            computation.add(piece)
    assert computation.result() == list(range(100))
    assert others != [threading.current_thread()]
    assert not others[0].is_alive()


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_computation_that_ends_early_does_not_hold_up_who_brings_the_pieces(taken: int):
    def compute(pieces):
        for _ in range(taken):
            next(pieces)
        raise ValueError("enough")

    with Beside(compute, ahead=1) as computation:
        for piece in range(3):
            computation.add(piece)
    with pytest.raises(ValueError, match="enough"):
        computation.result()


def test_an_error_of_who_brings_the_pieces_ends_the_computation_too():
    computation = Beside(list)

    def bring() -> None:
        with computation:
            computation.add(1)
            raise KeyError

    with pytest.raises(KeyError):
        bring()
    assert computation.result() == [1]
