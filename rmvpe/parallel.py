"""Computations side by side in threads of this process, for code that lets go of Python's lock: numpy, the runtimes."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")
# On a CPU of few cores, windows of a narrow network are computed side by side, a thread each: its layers are too small
# to be shared by threads without loss (6 to 20 % on 2 cores; nothing for e2e0). It takes the memory of as many windows,
# and ONNX Runtime a second copy of the weights
MOST_ROW_THREADS = 4
MOST_ROW_BYTES = 64e6


def in_threads(computations: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """The results of the computations, in their order, of which up to `threads` run at a time.

    The caller's own thread is one of them, and takes the first computation. All have ended when this returns, so that a
    fork finds none of them. After an exception no further computation is begun; the first one is raised.
    """
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    waiting = iter(range(len(computations)))
    lock = threading.Lock()

    def work(number: int | None = None) -> None:
        while True:
            if number is None:
                with lock:
                    number = next(waiting, None)
            if number is None or errors:
                return
            try:
                results[number] = computations[number]()
            except BaseException as error:  # raised below, in the caller's thread
                errors.append(error)
            number = None

    # Plain threads: a pool of concurrent.futures takes a lock that a fork holds while it waits for this computation
    first = next(waiting, None)
    others = [threading.Thread(target=work, name="rmvpe") for _ in range(min(threads, len(computations)) - 1)]
    for thread in others:
        thread.start()
    work(first)
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(computations))]


class Beside(Generic[T]):
    """A computation over pieces that runs in a thread of its own while the `with` block brings the pieces.

        with Beside(hash_of_pieces) as computation:
            for piece in pieces:
                computation.add(piece)
        computation.result()

    ahead: how many pieces may wait; 0 for any number.
    """

    def __init__(self, compute: Callable[[Iterator[Any]], T], ahead: int = 1) -> None:
        self._compute = compute
        self._waiting: queue.Queue[Any] = queue.Queue(ahead)
        self._end = object()
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="rmvpe")

    def __enter__(self) -> "Beside[T]":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._waiting.put(self._end)
        self._thread.join()

    def add(self, piece: Any) -> None:
        """Give the computation its next piece, which nobody may change from now on."""
        self._waiting.put(piece)

    def result(self) -> T:
        """The result, after the `with` block. Raises what the computation raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _work(self) -> None:
        ended = False

        def pieces() -> Iterator[Any]:
            nonlocal ended
            while (piece := self._waiting.get()) is not self._end:
                yield piece
            ended = True

        try:
            self._results.append(self._compute(pieces()))
        except BaseException as error:  # raised in `result`
            self._error = error
        while not ended:  # `add` must not wait for ever
            ended = self._waiting.get() is self._end


def row_threads(threads: int | None, weight_bytes: int) -> int:
    """How many windows a network with weights of that size should compute side by side with so many threads of the CPU.

    1 for all threads on each window, and where there is no number of threads: on an accelerator.
    """
    if threads is None or threads > MOST_ROW_THREADS or weight_bytes > MOST_ROW_BYTES:
        return 1
    return threads


def padded_rows(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Rows [n_i, features] as one array [rows, length, features], with zeros after each."""
    found = np.zeros((len(rows), length, rows[0].shape[1]), np.float32)
    for place, row in zip(found, rows):
        place[: len(row)] = row
    return found
