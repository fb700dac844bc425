"""What worker processes of tests do: they must find it in a module."""

import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator
from rmvpe.files import atomic_path
from tests.helpers.networks import StandInNetwork

Report = Callable[[Any], None]
Task = tuple[str, Any]  # what to do, with what
PATIENCE_S = 30.0  # until a test that waits for another process fails


class Odd(Exception):
    """An exception that is not made of its message, and cannot be pickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def open_work() -> tuple[Callable[[Task, Report], Any], int]:
    """The work of `do`, and the number of the process."""
    return do, os.getpid()


def open_and_raise(error: Exception) -> Any:
    raise error


def open_and_die() -> Any:
    kill_this_process()


def open_but_one(marker: Path) -> tuple[Callable[[Task, Report], Any], int]:
    """As `open_work`, but for the process that comes first."""
    kill_once(marker)
    return open_work()


def do(task: Task, report: Report) -> Any:
    """A task of a test."""
    name, value = task
    if name == "double":
        report(f"doubling {value}")
        return 2 * value
    if name == "die":
        kill_this_process()
    if name == "die once":
        kill_once(value)
        return "survived"
    if name == "raise":
        raise value
    if name == "raise odd":
        raise Odd("one", "two")
    if name == "log":
        logging.getLogger("rmvpe").warning("%s", value)
    if name == "ignore":
        signal.signal(getattr(signal, value), signal.SIG_IGN)
        report(os.getpid())
        wait_until(lambda: False)
    if name == "touch":
        Path(value).touch()
    if name == "wait for":
        wait_until(Path(value).exists)
    return os.environ.get(value) if name == "variable" else os.getpid()


def kill_this_process() -> None:
    """As `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_once(marker: Path) -> None:
    """Kill this process, unless the file `marker` is there: of several processes, exactly one makes it."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    kill_this_process()


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for another process."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > end_s:
            raise UserError("waited in vain")
        time.sleep(0.01)


class Loud(StandInNetwork):
    """A network that finds a bin in everything, by the level of the frame, with confidence 0.6."""

    threads: int | None = 1

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        salience = np.zeros((*log_mel.shape[:2], 360), dtype=np.float32)
        bins = 200 + np.clip(log_mel.max(axis=2), -8, 2).astype(int)
        np.put_along_axis(salience, bins[..., None], 0.6, axis=2)
        return salience


class Deadly(Loud):
    """The same, but it leaves a half-written `result` and kills its process, once or always."""

    def __init__(self, result: Path, marker: Path | None) -> None:
        self.result, self.marker = result, marker

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        if log_mel.max() > 1.0 and (self.marker is None or not self.marker.exists()):  # of the loud recording alone
            with atomic_path(self.result):
                kill_this_process() if self.marker is None else kill_once(self.marker)
        return super().respond(log_mel)


def load_loud(*_: Any, network: StandInNetwork | None = None, **__: Any) -> Estimator:
    """An estimator with a stand-in network, for a command."""
    return Estimator(network or Loud(), ModelConfig.small(), DecodeConfig(threshold=0.5))


def load_deadly(result: Path, marker: Path | None = None) -> Callable[..., Estimator]:
    """As `load_loud`, with a network that kills."""
    return partial(load_loud, network=Deadly(result, marker))


def load_nothing(*_: Any) -> Estimator:
    """For a command that needs no network."""
    raise AssertionError("a network was loaded")
