"""One worker process, from both sides: how it is started and ended, and what it does in between (`rmvpe.workers`).

It is a fresh Python that gets an `Opening`, makes of it what it works with, and then does one task after another. It
imports this package and not the program that started it: a script needs no `if __name__ == "__main__":` around its
calls. Signals from the keyboard are left to the process that started it, and it ends when that process is gone.
"""

import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rmvpe.errors import UserError, in_words

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

STOP_S = 1.0  # until a process that was asked to end is killed
CODE = "import sys; sys.path[:] = {path!r}; from rmvpe.worker_process import serve; serve({handle}, {level})"
# Ctrl-C, Ctrl-Break and a closed terminal reach all processes of a terminal: the first one decides what happens
FROM_TERMINAL = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
LOG = logging.getLogger("rmvpe")

Report = Callable[[Any], None]
Work = Callable[[Any, Report], Any]  # a task, and what to report of it with -> its answer
# Pickled, and called in the worker: the work, and what the worker says of itself
Opening = Callable[[], tuple[Work, Any]]


@dataclass
class Worker:
    """A process, and what it is doing: `task`, with its number. It is ready when its opening is done."""

    process: "subprocess.Popen[bytes]"
    connection: "Connection[Any, Any]"
    ready: bool = False
    task: tuple[int, Any] | None = None

    def send(self, message: Any) -> None:
        """Send the opening or a task. If the process has died, its end is read from the connection."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def end(self, timeout_s: float = STOP_S) -> str:
        """Wait until a process that is ending has ended, or kill it; returns how it ended, in words."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.connection.close()
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {_signal_name(-code)}" + (" (too little memory?)" if code == -9 else "")


def start_process(threads: int) -> Worker:
    """A worker that waits for its first message. Raises UserError if there is no Python to start."""
    if getattr(sys, "frozen", False):  # sys.executable is then the program itself, which would start itself again
        raise UserError("a program that was packed into one file cannot start worker processes: use one job")
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    handle, options = theirs.fileno(), dict[str, Any]()
    if sys.platform == "win32":
        os.set_handle_inheritable(handle, True)
        options["startupinfo"] = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
    else:
        options["pass_fds"] = [handle]
    code = CODE.format(path=sys.path, handle=handle, level=LOG.getEffectiveLevel())
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, env={**os.environ, **_limits(threads)}, **options
        )
    except (OSError, TypeError) as error:  # TypeError: a program that embeds Python has no sys.executable
        ours.close()
        raise UserError(f"a worker process cannot be started ({error}): give fewer jobs, or one") from error
    finally:
        theirs.close()
    return Worker(process, ours)


def _limits(threads: int) -> dict[str, str]:
    """Variables that keep the runtimes of a worker to its share of the machine."""
    # OpenMP and OpenBLAS (torch, numpy) and our ONNX Runtime; XLA's pools; JAX else takes most of a GPU in each process
    limits = {"OMP_NUM_THREADS": str(threads), "NPROC": str(threads), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return {name: value for name, value in limits.items() if name == "OMP_NUM_THREADS" or name not in os.environ}


@contextmanager
def leaving_signals() -> Iterator[None]:
    """Start processes inside: a Ctrl-C before one of them ignores it would end it with a traceback.

    The signals are blocked meanwhile, which a process inherits. Windows has no such thing.
    """
    blocked = _mask("SIG_BLOCK", FROM_TERMINAL)
    try:
        yield
    finally:
        _mask("SIG_SETMASK", blocked)


def _mask(how: str, signals: Iterable[int]) -> Iterable[int]:
    """Change the signals that this thread blocks; returns those that it blocked before."""
    if sys.platform == "win32":
        return ()
    return signal.pthread_sigmask(getattr(signal, how), signals)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Outbox:
    """Sends messages to the process that started this one, from any thread."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, kind: str, value: Any) -> None:
        """Send one message. Where nobody is left to read it, wait for the end of this process (`_listen`)."""
        with self._lock:
            try:
                self._connection.send((kind, value))
            except OSError:
                threading.Event().wait()


class Forward(logging.Handler):
    """Sends the records of a worker to the process that started it."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._outbox.send("log", (record.levelno, record.getMessage()))


def serve(handle: int, level: int) -> None:
    """The life of a worker: its opening, then tasks."""
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _mask("SIG_UNBLOCK", FROM_TERMINAL)
    connection = _connection(handle)
    outbox, inbox = Outbox(connection), queue.SimpleQueue[bytes]()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    LOG.setLevel(level)
    LOG.addHandler(Forward(outbox))
    try:
        work, about = pickle.loads(inbox.get())()
    except Exception as error:
        outbox.send("broken", _portable(error))
        return
    outbox.send("ready", about)
    while True:
        try:
            outbox.send("done", work(pickle.loads(inbox.get()), partial(outbox.send, "reported")))
        except Exception as error:
            outbox.send("failed", _portable(error))


def _connection(handle: int) -> "Connection[Any, Any]":
    """This end of the pipe."""
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection

        return PipeConnection(handle)
    from multiprocessing.connection import Connection

    return Connection(handle)


def _listen(connection: "Connection[Any, Any]", inbox: "queue.SimpleQueue[bytes]") -> None:
    """Take in what comes, so that nobody waits to send; end this process when the other end is gone."""
    try:
        while True:
            inbox.put(connection.recv_bytes())
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)  # what is being written is removed (`rmvpe.signals.before_death`)
        time.sleep(STOP_S)
        os._exit(1)


class WorkerTraceback(Exception):
    """The traceback of an exception in a worker: the cause of the same exception here."""


def _portable(error: Exception) -> tuple[Exception, str]:
    """An exception as it can be sent, and its traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # a class of exceptions that is not made of its message alone
        error = UserError(str(error)) if isinstance(error, UserError) else RuntimeError(in_words(error))
    return error, text


def received(error: Exception, text: str) -> Exception:
    """An exception that came from a worker, with the traceback of `_portable` as its cause."""
    error.__cause__ = WorkerTraceback(f"in a worker process\n{text}")
    return error
