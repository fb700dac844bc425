"""An estimator in several worker processes, each of which gets a copy of it, with its weights, once."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from typing import TYPE_CHECKING, Any

from rmvpe.track import F0Track
from rmvpe.worker_process import Report, Work
from rmvpe.workers import LOOK_AHEAD, Workers, checked_jobs, in_order

if TYPE_CHECKING:
    from rmvpe.estimator import Estimator


def worker_count(estimator: "Estimator", jobs: int | str, tasks: Iterable[Any]) -> int:
    """How many processes `jobs` means, and not more than there are tasks. Raises UserError for an impossible number."""
    count = checked_jobs(jobs, on_cpu=estimator.backend.threads is not None)
    return min(count, len(tasks)) if isinstance(tasks, Sized) else count


def in_workers(
    estimator: "Estimator",
    method: str,
    arguments: dict[str, Any],
    tasks: Iterable[Any],
    count: int,
    name: Callable[[int, Any], str] = lambda index, task: str(task),
) -> Iterator[tuple[Any, F0Track, Exception | None]]:
    """Each task with what a method of the estimator returns or raises for it, in order.

    arguments: of the method, besides the task, which comes first. name: see `Workers`.
    """
    workers = Workers(partial(_open, estimator, method, arguments), count, name=name)
    return in_order(workers, tasks, LOOK_AHEAD * count)


def batch_in_workers(
    estimator: "Estimator",
    arguments: dict[str, Any],
    rows: Sequence[Any],
    count: int,
    progress: Callable[[float], None] | None,
) -> list[F0Track]:
    """The tracks of arrays of samples; an exception of one of them is raised."""
    tracks = []
    for _, track, error in in_workers(estimator, "from_audio", arguments, rows, count, "recording {}".format):
        if error is not None:
            raise error
        tracks.append(track)
        if progress is not None:
            progress(len(tracks) / len(rows))
    return tracks


def _open(estimator: "Estimator", method: str, arguments: dict[str, Any]) -> tuple[Work, None]:
    """What a worker does."""
    return partial(_call, getattr(estimator, method), arguments), None


def _call(method: Callable[..., F0Track], arguments: dict[str, Any], task: Any, report: Report) -> F0Track:
    return method(task, **arguments)
