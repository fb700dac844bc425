"""How many devices train together, and which of them are this process's; how many CPUs it has."""

import os
from dataclasses import dataclass

from rmvpe.errors import EXIT_USER_ERROR


@dataclass(frozen=True)
class Ranks:
    """`processes` processes with `local` ranks (devices in training) each; this is process number `process`.

    PyTorch has one rank per process; a JAX process has one per local device. One forward pass of all ranks together
    takes batch_size x `total` excerpts.
    """

    processes: int = 1
    process: int = 0
    local: int = 1

    @property
    def total(self) -> int:
        """Ranks of all processes."""
        return self.processes * self.local

    @property
    def is_main_process(self) -> bool:
        """Whether this is process 0, which alone writes the run's files."""
        return self.process == 0


class ReportedByMain(SystemExit):
    """Ends a process that is not the main one after a mistake of the user's, which all processes met together.

    The main process reports it; `message` is the same, for a launcher that hears of this process first.
    """

    def __init__(self, message: str) -> None:
        super().__init__(EXIT_USER_ERROR)
        self.message = message


ONE_RANK = Ranks()


def cpus_of_this_process() -> int:
    """On how many CPUs this process may run: all of the machine, or those that its affinity mask leaves it."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
