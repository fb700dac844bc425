"""Start a command as several processes of one machine, and see to it that they end together.

What `torchrun` does for many machines, without its noise: the error of the process that failed comes through once, and
nothing stays behind, whether a process fails, is killed, or the launcher itself is.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from rmvpe.errors import EXIT_USER_ERROR, UserError
from rmvpe_torch.distributed import check_processes, cores, place
from rmvpe_torch.worker import ERROR_FILE

POLL_S = 0.05
GRACE_S = 1.0  # after the first failure: the others may be about to fail for the same reason
TERMINATE_S = 5.0  # from SIGTERM to SIGKILL
TOLD_LINES = 40  # of what a failed process wrote


def relaunch(processes: int | None, device: str, command: Sequence[str]) -> int | None:
    """Run `command` as `processes` processes and return the exit code, or None if this process is to do the work.

    That is so without `processes`, with 1, and in a process that `torchrun` or this function started. Raises UserError
    if there are fewer devices.
    """
    here = place()
    if here is not None:
        if processes not in (None, here.local_world_size):
            raise UserError(
                f"--nproc_per_node {processes} differs from torchrun's {here.local_world_size}: give it to torchrun"
            )
        return None
    if processes is None:
        return None
    check_processes(processes, device)
    return None if processes == 1 else launch(processes, command)


def launch(processes: int, command: Sequence[str]) -> int:
    """Run `command` as `processes` processes; the terminal belongs to the first of them.

    Returns the exit code of the process that failed first (128 + n if signal n killed it or was sent to the launcher),
    after its error was written to stderr.
    """
    with tempfile.TemporaryDirectory(prefix="rmvpe-") as folder, signals_noted() as noted:
        workers: list[Worker] = []
        port = free_port()
        try:
            workers += (Worker(rank, processes, port, command, Path(folder)) for rank in range(processes))
            failed = watch(workers, noted)
        finally:
            for worker in workers:
                worker.end()
        if noted:
            if workers[0].code != 128 + signal.SIGINT:  # whoever exits so has said it
                sys.stderr.write(f"stopped by {signal.Signals(noted[0]).name}\n")
            return 128 + noted[0]
        return tell(culprit(failed)) if failed else 0


class Worker:
    """One process of the group, in a session of its own, and what it leaves behind when it fails."""

    def __init__(self, rank: int, processes: int, port: int, command: Sequence[str], folder: Path):
        self.rank = rank
        self.error_file, self.output_file = folder / f"error-{rank}", folder / f"output-{rank}"
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=environment(rank, processes, port) | {ERROR_FILE: str(self.error_file)},
                stdin=subprocess.PIPE,  # never written to: it closes when this process ends, however it does
                stdout=None if rank == 0 else subprocess.DEVNULL,
                stderr=None if rank == 0 else output,
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which passes it on once
            )

    @property
    def code(self) -> int | None:
        """The exit code (negative: the signal that killed it), or None while it runs."""
        return self.process.poll()

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.code is None:
            self.process.send_signal(number)

    def end(self) -> None:
        """Kill what is left of it and of the processes that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of one that has ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def last_words(self) -> list[str]:
        """What it wrote at last; none of the first process, whose words were seen as they came, but for a traceback."""
        path = self.error_file if self.error_file.exists() else self.output_file
        return path.read_text(encoding="utf-8", errors="replace").splitlines()


def environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """The environment of one process: this one's, and its place as `torchrun` would say it."""
    defaults = {
        "OMP_NUM_THREADS": str(max(1, cores() // processes)),  # all processes together get the machine's cores
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # a process that ends is reported here, not by each of its partners
    }
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    place["MASTER_PORT"] = port
    return {**defaults, **os.environ, **{key: str(value) for key, value in place.items()}, "MASTER_ADDR": "127.0.0.1"}


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def signals_noted() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM are appended to, instead of their usual effect (in the main thread alone)."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(workers: Sequence[Worker], noted: list[int]) -> list[Worker]:
    """Wait for the workers; a signal is passed on, and after one's failure the others are asked to end.

    Returns the workers that failed before they were asked.
    """
    while any(worker.code is None for worker in workers) and not any(worker.code for worker in workers) and not noted:
        time.sleep(POLL_S)
    if noted:
        send(workers, noted[0])
    # A signal has told them to end, and ending takes torch seconds on a busy core
    await_end(workers, noted, TERMINATE_S if noted else GRACE_S)
    failed = [worker for worker in workers if worker.code]
    send(workers, signal.SIGTERM)
    await_end(workers, noted, TERMINATE_S)
    return failed


def send(workers: Sequence[Worker], number: int) -> None:
    """Send a signal to those that still run."""
    for worker in workers:
        worker.send(number)


def await_end(workers: Sequence[Worker], noted: list[int], seconds: float) -> None:
    """Wait until all have ended, for `seconds` at most, and no longer once a second signal has come."""
    deadline = time.monotonic() + seconds
    while any(worker.code is None for worker in workers) and time.monotonic() < deadline and len(noted) < 2:
        time.sleep(POLL_S)


def culprit(failed: Sequence[Worker]) -> Worker:
    """The worker whose failure explains the others': partners of a process that ends lose their connection to it."""

    def rank(worker: Worker) -> tuple[float, ...]:
        code = worker.code or 0
        kind = 0 if code == EXIT_USER_ERROR else 1 if code < 0 else 2
        when = worker.error_file.stat().st_mtime_ns if worker.error_file.exists() else float("inf")
        return kind, when, worker.rank

    return min(failed, key=rank)


def tell(worker: Worker) -> int:
    """Write a failed worker's error to stderr, once; returns the exit code."""
    code, words = worker.code or 0, worker.last_words()
    if code < 0:
        name = signal.Signals(-code).name
        hint = ": the machine's memory may have run out" if -code == signal.SIGKILL else ""
        sys.stderr.write(f"process {worker.rank} was killed by {name}{hint}\n")
        return 128 - code
    words = words[-1:] if code == EXIT_USER_ERROR else words[-TOLD_LINES:]
    if words:
        sys.stderr.write("\n".join(words) + "\n")
    return code
