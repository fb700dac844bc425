"""Signals that ask a program to end: Ctrl-C, SIGTERM (batch queues, `timeout`, systemd), SIGHUP (a closed terminal).

Each becomes the exception `Stopped`, so that temporary files are removed on the way out, and ends in one sentence and
the exit code that shells give such a program: 130, 143, 129. A signal that is ignored when the program starts, as nohup
does with SIGHUP, stays ignored. Only programs set handlers (`run_main`, `stoppable`): importing the library sets none,
and what it sets while it writes a file (`before_death`) leaves the end of the process as it is.

This file imports little, because a program sets its handlers before it imports anything else.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# SIGBREAK is Ctrl-Break on Windows, which has no SIGHUP
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
INTERRUPTED = "interrupted"
AGAIN_S = 0.01
# What Python or the system does with a signal unless somebody asked for something else
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class Stopped(KeyboardInterrupt):
    """Signal `number` asks the program to end; `message` is the sentence that it ends with."""

    def __init__(self, number: int, message: str = "") -> None:
        usual = INTERRUPTED if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
        super().__init__(message or usual)
        self.number = number


def stop_sentence(stop: KeyboardInterrupt) -> str:
    """What a program says when it ends by `stop`."""
    return str(stop) or INTERRUPTED


def stop_code(stop: KeyboardInterrupt) -> int:
    """The exit code of a program that ends by `stop`: 128 and the number of the signal, 130 for Ctrl-C."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def run_main(program: str, main: Callable[[], int]) -> int:
    """Run `main`, which does its imports itself, as the whole life of this process; returns the exit code.

    A signal that stops it, from here on, ends in one line on stderr that begins with the name of the program. To be
    called last: the signals are ignored afterwards, because all work is done while Python takes itself down.
    """
    with stoppable():
        try:
            return main()
        except KeyboardInterrupt as stop:  # during imports; afterwards `rmvpe.errors.run_cli` catches it
            sys.stderr.write(f"{program}: {stop_sentence(stop)}\n")
            return stop_code(stop)
        finally:
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, the signals that ask a program to end raise `Stopped` in the main thread.

    Signals that are ignored, or that somebody handles already, are left alone. In other threads nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: handler for number in STOPPING if (handler := signal.getsignal(number)) in DEFAULTS}
    hook = sys.unraisablehook

    def ignored(unraisable: "sys.UnraisableHookArgs") -> None:
        # The signal came inside a callback or destructor, where Python drops exceptions: send it again in a moment
        if isinstance(unraisable.exc_value, Stopped):
            again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), unraisable.exc_value.number))
            again.daemon = True
            again.start()
        else:
            hook(unraisable)

    try:
        for number in before:
            signal.signal(number, _stop)
        sys.unraisablehook = ignored
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            if signal.getsignal(number) is _stop:
                signal.signal(number, handler)


@contextmanager
def before_death(clean: Callable[[], object]) -> Iterator[None]:
    """Inside, `clean` is called before a signal that nobody handles ends the process, which it then does.

    For libraries: a program that is stopped while it writes should leave no half-written file. In other threads nothing
    is done, because only the main thread may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(number: int, frame: FrameType | None) -> None:
        clean()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    unhandled = [number for number in STOPPING if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in unhandled:
            signal.signal(number, receive)
        yield
    finally:
        for number in unhandled:
            if signal.getsignal(number) is receive:
                signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
