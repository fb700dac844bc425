"""Going over many tasks in several worker processes, of which any may die without taking the others along.

A worker that dies is replaced, and its task is done again, once. Leaving the iterator of answers ends all workers.
"""

import logging
import os
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rmvpe.errors import UserError, in_words
from rmvpe.processes import cpus_of_this_process, physical_cores
from rmvpe.worker_process import STOP_S, Opening, Worker, leaving_signals, received, start_process

AUTO = "auto"
MOST_JOBS_PER_CPU = 4
LOOK_AHEAD = 4  # tasks per worker that may be begun before the first of them is asked for
MOST_LOSSES = 2  # workers that one task may take along
LOG = logging.getLogger("rmvpe")


def checked_jobs(jobs: Any, on_cpu: bool = True) -> int:
    """How many workers `jobs` means: a whole number from 1, or "auto", one per core, and 1 if the CPU does not compute.

    Raises UserError for anything else, and for more than `MOST_JOBS_PER_CPU` for each CPU.
    """
    cpus = cpus_of_this_process()
    if jobs == AUTO:
        return physical_cores() if on_cpu else 1
    if isinstance(jobs, bool) or not hasattr(jobs, "__index__") or int(jobs) < 1:
        raise UserError(f"jobs must be a whole number from 1, or {AUTO}, not {jobs!r}")
    if jobs > MOST_JOBS_PER_CPU * cpus:
        raise UserError(
            f"{jobs} jobs are too many for {cpus} CPU{'' if cpus == 1 else 's'}: give at most "
            f"{MOST_JOBS_PER_CPU * cpus}, or {AUTO} for one job on each core"
        )
    return int(jobs)


def threads_each(workers: int) -> int:
    """The share of the cores that each of so many workers gets; OMP_NUM_THREADS is a limit here too."""
    share = max(1, physical_cores() // workers)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(limit)) if limit.isdecimal() and int(limit) > 0 else share


@dataclass(frozen=True)
class Event:
    """What happened to task number `index`; -1 if it concerns no task.

    kind and value: "ready", what the first worker says of itself. "started", None. "reported", a word of the work.
    "done", the answer. "failed", the exception. "lost", a sentence: a worker died, and the task is done again.
    """

    kind: str
    index: int
    value: Any = None


class Workers:
    """`count` workers for one `run`.

    threads: what each computes with; None for its share of the CPUs. name: of a task's number and itself, what to call
    it in sentences.
    """

    def __init__(
        self,
        opening: Opening,
        count: int,
        threads: int | None = None,
        name: Callable[[int, Any], str] = lambda index, task: str(task),
    ):
        self._opening, self._count, self._name = opening, count, name
        self._threads = threads_each(count) if threads is None else threads
        self._workers: list[Worker] = []
        self._again: deque[tuple[int, Any]] = deque()
        self._losses: Counter[int] = Counter()
        self._heard = False  # whether a worker has been ready

    def run(
        self, tasks: Iterable[Any], may_start: Callable[[int], bool] = lambda index: True
    ) -> Generator[Event, None, None]:
        """Do the tasks, and tell what happens; a task's answer or exception comes once, in any order.

        A task begins when a worker is free and `may_start` of its number is true. Leaving the iterator ends the
        workers. Raises UserError if no worker can be started, and what an `Opening` raises.
        """
        from multiprocessing.connection import wait  # not for who starts no worker: it takes 10 ms

        self._waiting = enumerate(tasks)
        self._next = next(self._waiting, None)
        self._may_start = may_start
        try:
            self._start(self._count)
            while self._next or self._again or any(worker.task for worker in self._workers):
                yield from self._hand_out()
                for connection in wait([worker.connection for worker in self._workers]):
                    worker = next(worker for worker in self._workers if worker.connection is connection)
                    yield from self._receive(worker)
        finally:
            self._stop()

    def _hand_out(self) -> Iterator[Event]:
        for worker in [worker for worker in self._workers if worker.ready and worker.task is None]:
            if self._again:
                worker.task = self._again.popleft()
            elif self._next is not None and self._may_start(self._next[0]):
                worker.task, self._next = self._next, next(self._waiting, None)
            else:
                return
            worker.send(worker.task[1])
            yield Event("started", worker.task[0])

    def _receive(self, worker: Worker) -> Iterator[Event]:
        """What a worker has to say. The next task is given before an answer is passed on, which may take long."""
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if kind == "ready":
            worker.ready = True
            if not self._heard:
                self._heard = True
                yield Event("ready", -1, value)
        elif kind == "log":
            LOG.log(value[0], "%s", value[1])
        elif kind == "broken":
            error = received(*value)
            if not isinstance(error, MemoryError) or len(self._workers) == 1:
                raise error
            yield from self._replace(worker)
        elif worker.task is not None:
            index = worker.task[0]
            if kind in ("done", "failed"):
                worker.task = None
                yield from self._hand_out()
            yield Event(kind, index, received(*value) if kind == "failed" else value)

    def _replace(self, worker: Worker) -> Iterator[Event]:
        """After the end of a worker: another one, and its task again. One that did not even start is not replaced."""
        how = worker.end()
        self._workers.remove(worker)
        if not worker.ready:
            if not self._workers:
                raise UserError(f"a worker process {how} while it was starting: give fewer jobs, or one")
            yield Event("lost", -1, f"a worker process {how} while it was starting: the others go on")
            return
        if worker.task is None:
            yield Event("lost", -1, f"a worker process {how} while it was idle: another one takes its place")
        else:
            index, task = worker.task
            self._losses[index] += 1
            if self._losses[index] < MOST_LOSSES:
                self._again.append(worker.task)
                yield Event("lost", index, f"{self._name(index, task)} is done again: its worker process {how}")
            else:
                name = self._name(index, task)
                error = UserError(f"{name} ended {MOST_LOSSES} worker processes (the last one {how}): give it alone")
                yield Event("failed", index, error)
        if self._next or self._again:
            self._start(1)

    def _start(self, count: int) -> None:
        """Start workers, all of them before the first gets its message, which it has to be awake for."""
        with leaving_signals():
            for _ in range(count):
                self._workers.append(start_process(self._threads))
        for worker in self._workers[-count:]:
            try:
                worker.send(self._opening)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise UserError(
                    f"several jobs need what can be sent to other processes, and this cannot ({in_words(error)}): "
                    "define its classes and functions in a module, or use one job"
                ) from error

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        end_s = time.monotonic() + STOP_S
        for worker in self._workers:
            worker.end(max(0.0, end_s - time.monotonic()))
        self._workers.clear()


def in_order(workers: Workers, tasks: Iterable[Any], ahead: int) -> Iterator[tuple[Any, Any, Exception | None]]:
    """Each task with its answer and exception, in the order of the tasks; what happens to workers is logged.

    At most `ahead` tasks are begun before the first of them is asked for.
    """
    begun: dict[int, Any] = {}
    ended: dict[int, tuple[Any, Exception | None]] = {}
    first = 0

    def remembered() -> Iterator[Any]:
        for index, task in enumerate(tasks):
            begun[index] = task
            yield task

    def may_start(index: int) -> bool:
        return index < first + ahead

    for event in workers.run(remembered(), may_start):
        if event.kind == "lost":
            LOG.warning("%s", event.value)
        elif event.kind in ("done", "failed"):
            ended[event.index] = (event.value, None) if event.kind == "done" else (None, event.value)
        while first in ended:
            first += 1
            yield begun.pop(first - 1), *ended.pop(first - 1)
