"""Where the time of a command goes: named spans of the code, measured only inside `collecting`.

A span inside another one interrupts it, so that the times of all spans add up. Without a collection a span costs the
look-up of one context variable. Threads other than the one that collects measure nothing: their time is in the span
that waits for them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rmvpe.backends import Backend

STARTED_S = time.perf_counter()  # of the process: `rmvpe.program` imports this file
START, RUNTIME, LOADING = "start and imports", "import of the runtime", "loading of the weights"
READING, LOG_MEL, DECODING, WRITING = "reading", "log-mel", "decoding", "results, notes too"
FEATURES, GRU, HEAD, NETWORK = "network: U-Net", "network: GRU", "network: head", "network"
REST = "the rest"
ORDER = (START, RUNTIME, LOADING, READING, LOG_MEL, FEATURES, GRU, HEAD, NETWORK, DECODING, WRITING, REST)
# Of a `Backend`
METHODS = {"features": FEATURES, "gru": GRU, "gru_pair": GRU, "head": HEAD, "salience": NETWORK, "log_mel": LOG_MEL}
NOT_MEASURED = nullcontext()


class Timings:
    """Seconds by span, and how many seconds of sound were read.

    started_s: when the program started, by `clock`; from then until now is the span `START`.
    """

    def __init__(self, started_s: float, clock: Callable[[], float] = time.perf_counter):
        self._clock, self._since_s = clock, clock()
        self.seconds = {START: self._since_s - started_s}
        self.sound_s = 0.0
        self._open = [REST]

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time inside is that of `name`, one of `ORDER`, and not that of the span around it."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def table(self) -> list[str]:
        """The lines for the user, until now: the whole, then each span with its share."""
        self._count()
        total_s = max(sum(self.seconds.values()), 1e-9)
        whole = f"{total_s:.2f} s"
        if self.sound_s:
            whole += f" for {self.sound_s:.1f} s of sound, {self.sound_s / total_s:.3g} times real time"
        spans = sorted(self.seconds.items(), key=lambda item: ORDER.index(item[0]))
        return [whole, *(f"  {name:<23} {seconds:8.3f} s {seconds / total_s:4.0%}" for name, seconds in spans)]

    def _count(self) -> None:
        now_s = self._clock()
        name = self._open[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + now_s - self._since_s
        self._since_s = now_s


_COLLECTING: ContextVar[Timings | None] = ContextVar("rmvpe.timing", default=None)


@contextmanager
def collecting(timings: Timings) -> Iterator[Timings]:
    """Spans of this thread are measured inside."""
    token = _COLLECTING.set(timings)
    try:
        yield timings
    finally:
        _COLLECTING.reset(token)


def span(name: str) -> AbstractContextManager[None]:
    """A span of the current collection; nothing without one."""
    timings = _COLLECTING.get()
    return NOT_MEASURED if timings is None else timings.span(name)


def count_sound(seconds: float) -> None:
    """So much sound is being read, for the current collection."""
    timings = _COLLECTING.get()
    if timings is not None:
        timings.sound_s += seconds


def timed(backend: "Backend") -> "Backend":
    """A backend whose calls are spans, while there is a collection; else `backend` itself."""
    return backend if _COLLECTING.get() is None else cast("Backend", _Timed(backend))


class _Timed:
    """Passes everything on to a backend, and measures the calls of `METHODS`."""

    def __init__(self, backend: "Backend"):
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._backend, name)
        if name not in METHODS:
            return value

        @wraps(value)
        def measured(*arguments: Any, **named: Any) -> Any:
            with span(METHODS[name]):
                return value(*arguments, **named)

        return measured
