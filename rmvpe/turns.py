"""Who may use a network when: threads take turns, and a fork waits until nobody is computing.

A process that is forked has one thread, and finds every lock and every pool of threads of its parent as they were at
that moment. So a fork waits for the computation of another thread, and the child prepares a network before it first
uses it: `renew` says how. All runtimes would otherwise wait for ever there, for threads that exist in the parent only.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

# Runtimes with threads of their own, which a fork does not take along, and the module that each one loads
RUNTIMES = {"torch": "torch", "jax": "jax", "onnx": "onnxruntime"}


class Turns:
    """A context for one computation at a time; in a forked child, `renew` is called before the first one."""

    def __init__(self, renew: Callable[[], None]):
        self._renew = renew
        self._lock = threading.RLock()
        self._process = os.getpid()
        _all_turns.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._process != os.getpid():
            try:
                self._renew()
            except BaseException:
                self._lock.release()
                raise
            self._process = os.getpid()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    @property
    def lock(self) -> Any:
        """What a fork holds."""
        return self._lock


class _Forks:
    """Holds all turns while this process forks."""

    def __init__(self) -> None:
        self._one_fork = threading.Lock()
        self._held: list[Turns] = []
        self.inherited: set[str] = set()

    def before(self) -> None:
        self._one_fork.acquire()
        self._held = list(_all_turns)
        for turns in self._held:
            turns.lock.acquire()

    def after_in_child(self) -> None:
        self.inherited |= {name for name, module in RUNTIMES.items() if module in sys.modules}
        self.after()

    def after(self) -> None:
        held, self._held = self._held, []
        for turns in held:
            turns.lock.release()
        self._one_fork.release()


_all_turns: "weakref.WeakSet[Turns]" = weakref.WeakSet()
_forks = _Forks()
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_forks.before, after_in_parent=_forks.after, after_in_child=_forks.after_in_child)


def is_inherited(runtime: str) -> bool:
    """Whether this process is a fork of one that had imported the runtime, "torch", "jax" or "onnx", before."""
    return runtime in _forks.inherited
