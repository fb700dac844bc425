"""A tracker in its own process, so that time, memory and imports are its own and a crash does not stop the others.

The process is a `ProcessPoolExecutor` with one worker, which is started fresh (spawn, not fork). The number of threads
is set in its environment before it loads any library. Trackers are other people's code: every error becomes one
sentence.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from rmvpe.errors import UserError
from rmvpe.evaluation.trackers.adapters import RATE_HZ, Tracker, TrackerSpec
from rmvpe.track import F0Track

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class TrackerError(RuntimeError):
    """A tracker cannot be loaded or fails on a file; the message says why."""


class TrackerExited(TrackerError):
    """The process of a tracker has ended; the message names the exit code."""


@dataclass(frozen=True)
class TimedTrack:
    """What a tracker returns, in how many `seconds`, and in how many `cpu_seconds` of all its threads together."""

    track: F0Track
    seconds: float
    cpu_seconds: float


class TrackerProcess:
    """The tracker of `spec` in its own process, with `threads` threads; a context manager.

    The first call of the tracker is not measured, because libraries compile and allocate then. `start_s` is the time in
    seconds that loading and this call took, `settings` are the tracker's. Raises UserError for what the user gave
    (weights), TrackerError if the tracker cannot be loaded.
    """

    def __init__(self, spec: TrackerSpec, threads: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_start_worker)
        others = set(multiprocessing.active_children())
        with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
            loading = self._pool.submit(_load, spec, threads)  # this starts the process
        (self._process,) = set(multiprocessing.active_children()) - others
        try:
            with self._naming_exit_code():
                self.settings, self.start_s = loading.result()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TrackerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def predict(self, audio: np.ndarray) -> TimedTrack:
        """The track of 16 kHz mono audio [samples]. Raises TrackerError if the tracker fails."""
        with self._naming_exit_code():
            return self._pool.submit(_predict, np.ascontiguousarray(audio, dtype=np.float32)).result()

    def peak_memory(self) -> int | None:
        """The most memory in bytes that the process has used, with Python and libraries; None if unknown.

        Raises TrackerExited if the process has ended.
        """
        with self._naming_exit_code():
            return self._pool.submit(peak_memory).result()

    def close(self) -> None:
        """End the process, also in the middle of a call."""
        self._process.kill()
        self._pool.shutdown()

    @contextmanager
    def _naming_exit_code(self) -> Iterator[None]:
        try:
            yield
        except TrackerError:
            raise
        except RuntimeError as error:  # the pool is broken or shut down
            self._pool.shutdown()  # afterwards the exit code is known
            code = self._process.exitcode
            hint = " (killed: memory may be short)" if code == -9 else ""
            raise TrackerExited(f"its process ended with exit code {code}{hint}") from error


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside."""
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


# --- What follows runs in the tracker's process.

_tracker: Tracker  # module state, because the calls of a pool have nothing else in common


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and end when it ends: a pool alone would wait for it for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main_process = multiprocessing.parent_process()
    assert main_process is not None

    def end_with_main_process() -> None:
        wait([main_process.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_main_process, daemon=True).start()


def _load(spec: TrackerSpec, threads: int) -> tuple[str, float]:
    """Load the tracker and call it once; returns its settings and how many seconds that took."""
    global _tracker
    began = time.perf_counter()
    with _one_sentence():
        _tracker = spec.open(threads)
        _tracker.predict(_tone())
    return _tracker.settings, time.perf_counter() - began


def _predict(audio: np.ndarray) -> TimedTrack:
    began, cpu_began = time.perf_counter(), time.process_time()
    with _one_sentence():
        track = _tracker.predict(audio)
    return TimedTrack(track, time.perf_counter() - began, time.process_time() - cpu_began)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn every error into a UserError or a TrackerError: the main process may not have the class of the error."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error)) from None
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines()
        name = type(error).__name__
        raise TrackerError(f"{name}: {lines[0]}" if lines else name) from None


def _tone() -> np.ndarray:
    """A harmonic tone of one second, 16 kHz."""
    phase = 2 * np.pi * 220.0 * np.arange(RATE_HZ) / RATE_HZ
    return (0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase)).astype(np.float32)


def peak_memory() -> int | None:
    """The most memory in bytes that this process has used; None where the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux ru_maxrss would include the process that started this one
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
