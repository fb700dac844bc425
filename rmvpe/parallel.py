"""Computations side by side in threads of this process, for code that lets go of Python's lock: numpy, the runtimes."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_threads(computations: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """The results of the computations, in their order, of which up to `threads` run at a time.

    The caller's own thread is one of them. All have ended when this returns, so that a fork finds none of them. After
    an exception no further computation is begun; the first one is raised.
    """
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    waiting = iter(range(len(computations)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(waiting, None)
            if number is None or errors:
                return
            try:
                results[number] = computations[number]()
            except BaseException as error:  # raised below, in the caller's thread
                errors.append(error)

    # Plain threads: a pool of concurrent.futures takes a lock that a fork holds while it waits for this computation
    others = [threading.Thread(target=work, name="rmvpe") for _ in range(min(threads, len(computations)) - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(computations))]
