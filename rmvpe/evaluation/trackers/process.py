"""A tracker in a process of its own, so that time, memory and imports are its own and a crash is nobody else's.

The processes are started afresh (not forked). The number of threads is set in their environment before any library is
loaded there. Libraries are foreign code: whatever they raise comes back as a sentence.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.errors import UserError
from rmvpe.evaluation.trackers.adapters import RATE_HZ, Kind
from rmvpe.track import F0Track

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
STOP_S = 10.0  # for a process to end by itself


class TrackerError(RuntimeError):
    """A tracker could not be made ready, failed on a file, or its process has ended; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What a tracker heard; `seconds` on the clock and `cpu_seconds` of all its threads together."""

    track: F0Track
    seconds: float
    cpu_seconds: float


class TrackerProcess:
    """A tracker of `kind` in its own process, with `threads` threads; a context manager.

    After the first call has gone through unmeasured (libraries compile and allocate then), `start_s` is the time that
    took with loading, and `settings` what the tracker says of itself.
    Raises UserError for what the user gave (weights), TrackerError if the tracker cannot be made ready.
    """

    def __init__(self, kind: Kind, threads: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, kind, threads), daemon=True)
        with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
            self._process.start()
        theirs.close()
        try:
            self.settings, self.start_s = self._receive()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TrackerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hear(self, audio: np.ndarray) -> Answer:
        """The tracker's answer to audio [samples] at 16 kHz. Raises TrackerError if it fails."""
        return self._ask(np.ascontiguousarray(audio, dtype=np.float32))

    def peak_memory(self) -> int | None:
        """The most memory in bytes that the process has held, Python and libraries included; None if not told.

        Raises TrackerError if the process has ended.
        """
        return self._ask(None)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, question: np.ndarray | None) -> Any:
        try:
            self._connection.send(question)
        except OSError as error:
            raise TrackerError(self._ended()) from error
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise TrackerError(self._ended()) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ended(self) -> str:
        self._process.join(STOP_S)
        code = self._process.exitcode
        return f"its process ended with exit code {code}{' (killed: memory may be short)' if code == -9 else ''}"


def serve(connection: Connection, kind: Kind, threads: int) -> None:
    """The other process: make the tracker ready, answer audio with `Answer`, None with the peak memory."""
    try:
        began = time.perf_counter()
        tracker = kind.open(threads)
        tracker.hear(_tone())
        connection.send((tracker.settings, time.perf_counter() - began))
    except UserError as error:
        connection.send(UserError(str(error)))
        return
    except Exception as error:
        connection.send(TrackerError(_in_words(error)))
        return
    while True:
        try:
            audio = connection.recv()
        except EOFError:
            return
        connection.send(peak_memory() if audio is None else _answer(tracker.hear, audio))


def _answer(hear: Any, audio: np.ndarray) -> Answer | TrackerError:
    began, cpu_began = time.perf_counter(), time.process_time()
    try:
        track = hear(audio)
    except Exception as error:
        return TrackerError(_in_words(error))
    return Answer(track, time.perf_counter() - began, time.process_time() - cpu_began)


def _in_words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _tone() -> np.ndarray:
    """A second of a harmonic tone."""
    phase = 2 * np.pi * 220.0 * np.arange(RATE_HZ) / RATE_HZ
    return (0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase)).astype(np.float32)


def peak_memory() -> int | None:
    """The most memory in bytes that this process has held; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux ru_maxrss would count the process that started this one as well
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """These variables for processes that are started inside."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
