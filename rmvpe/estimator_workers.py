"""An estimator in several worker processes, each of which gets a copy of it, with its weights, once."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from typing import Any

from rmvpe.track import F0Track
from rmvpe.worker_process import Report, Work
from rmvpe.workers import LOOK_AHEAD, Workers, checked_jobs, in_order


def worker_count(jobs: int | str, tasks: Iterable[Any], on_cpu: bool) -> int:
    """How many processes `jobs` means, and not more than there are tasks. Raises UserError for an impossible number."""
    count = checked_jobs(jobs, on_cpu)
    return min(count, len(tasks)) if isinstance(tasks, Sized) else count


def in_workers(
    method: Callable[..., F0Track],
    arguments: dict[str, Any],
    tasks: Iterable[Any],
    count: int,
    name: Callable[[int, Any], str] = lambda index, task: str(task),
) -> Iterator[tuple[Any, F0Track, Exception | None]]:
    """Each task with what a method of an estimator returns or raises for it, in order.

    arguments: of the method, besides the task, which comes first. name: see `Workers`.
    """
    workers = Workers(partial(_open, method, arguments), count, name=name)
    return in_order(workers, tasks, LOOK_AHEAD * count)


def batch_in_workers(
    method: Callable[..., F0Track],
    arguments: dict[str, Any],
    rows: Sequence[Any],
    count: int,
    progress: Callable[[float], None] | None,
) -> list[F0Track]:
    """The tracks of arrays of samples; an exception of one of them is raised."""
    tracks = []
    for _, track, error in in_workers(method, arguments, rows, count, "recording {}".format):
        if error is not None:
            raise error
        tracks.append(track)
        if progress is not None:
            progress(len(tracks) / len(rows))
    return tracks


def _open(method: Callable[..., F0Track], arguments: dict[str, Any]) -> tuple[Work, None]:
    """What a worker does. The method brought its estimator along."""
    return partial(_call, method, arguments), None


def _call(method: Callable[..., F0Track], arguments: dict[str, Any], task: Any, report: Report) -> F0Track:
    return method(task, **arguments)
