"""Run a function in several processes of this machine, one per device, and end them together.

`torchrun` does it for many machines. Here the error of the process that failed first is shown once, and no process is
left behind: not if one fails or is killed, not on Ctrl-C or SIGTERM, and not if the launcher itself is killed.

The processes come from `multiprocessing`. `torch.multiprocessing.start_processes` could start them too, but it does not
end the data workers of a process that is killed, it leaves processes behind if a later one cannot start, and it reports
the process that ended first, which may only have lost its connection to the one that failed.

Windows has no process groups and no signal masks, and a process there cannot be asked to end, only be ended: `windows`
says which way is taken.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NamedTuple

from rmvpe.errors import EXIT_USER_ERROR, UserError, user_message
from rmvpe.processes import ReportedByMain
from rmvpe_torch.distributed import check_processes, cores, process_env

GRACE_S = 1.0  # after a failure: another process may be about to report the one that caused it
TERMINATE_S = 5.0  # from SIGTERM to SIGKILL: on a busy core torch needs seconds to end
MAX_ERROR_LINES = 40  # of a traceback
WINDOWS = os.name == "nt"


class Failure(NamedTuple):
    """How a process failed. The smallest explains the others: they lose their connection to a process that ends."""

    kind: int  # 0: a mistake of the user's, 1: killed by a signal, 2: anything else
    time_s: float
    rank: int
    message: str
    exit_code: int


class Worker(NamedTuple):
    """One of the processes, and the connection on which it reports its failure."""

    process: BaseProcess
    failures: Connection

    def failure(self, rank: int) -> list[Failure]:
        """What the process reported, or how it ended; empty if it did its work. Waits for one of the two."""
        try:
            return [self.failures.recv()]
        except (EOFError, OSError):  # it ended without a report, or in the middle of one
            self.process.join()
        code = self.process.exitcode or 0
        if code == 0:
            return []
        if code > 0:
            return [Failure(2, time.monotonic(), rank, f"process {rank} ended with exit code {code}", code)]
        name = signal.Signals(-code).name
        hint = ": the machine's memory may have run out" if name == "SIGKILL" else ""
        message = f"process {rank} was killed by {name}{hint}"
        return [Failure(1, time.monotonic(), rank, message, 128 - code)]


def run_processes(processes: int | None, device: str, function: Callable[[], object]) -> int | None:
    """Call `function` in `processes` new processes; returns the exit code, or None if this process is to call it.

    None without `processes`, with 1, and in a process that `torchrun` or this function started. `function` can be
    pickled and raises what goes wrong. Raises UserError if there are fewer devices, and as `launch` does.
    """
    environment = process_env()
    if environment is not None:
        if processes not in (None, environment.local_world_size):
            raise UserError(
                f"--nproc_per_node {processes} differs from torchrun's {environment.local_world_size}: "
                "give the number to torchrun"
            )
        return None
    if processes is None:
        return None
    check_processes(processes, device)
    return None if processes == 1 else launch(processes, function)


def launch(processes: int, function: Callable[[], object], windows: bool = WINDOWS) -> int:
    """Call `function` in `processes` processes, of which the first writes to the terminal; returns the exit code.

    If one fails, the others are ended. A mistake of the user's is raised again as UserError; of a bug the traceback is
    written to stderr and the exit code is 1; if signal n killed the process, it is 128 + n. Raises KeyboardInterrupt on
    Ctrl-C and SystemExit(143) on SIGTERM. To be called from the main thread.
    """
    handler = signal.signal(signal.SIGTERM, _exit)
    try:
        failure = start_and_stop(processes, function, windows)
    except SystemExit:
        sys.stderr.write("stopped by SIGTERM\n")
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
    if failure is None:
        return 0
    if failure.exit_code == EXIT_USER_ERROR:
        raise UserError(failure.message)
    sys.stderr.write(f"{failure.message}\n")
    return failure.exit_code


def start_and_stop(processes: int, function: Callable[[], object], windows: bool = WINDOWS) -> Failure | None:
    """Start the processes, wait for their end or a failure, and end those that are left; returns the failure."""
    workers: list[Worker] = []
    try:
        with environment_variables(shared_environment(processes)), signals_blocked(windows):
            for rank in range(processes):
                workers.append(start(rank, function, windows))
        return first_failure(workers)
    finally:
        stop([worker.process for worker in workers], windows)


def start(rank: int, function: Callable[[], object], windows: bool) -> Worker:
    """Start one of the processes."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(rank, function, sender, windows))
    process.start()
    sender.close()  # else the connection would not end when the process does
    return Worker(process, receiver)


def first_failure(workers: Sequence[Worker]) -> Failure | None:
    """Wait until all processes have ended or one has failed; the failure that explains the others, or None."""
    running = {worker.failures: (rank, worker) for rank, worker in enumerate(workers)}
    failures: list[Failure] = []
    while running and (ready := wait(list(running), GRACE_S if failures else None)):
        for connection in ready:
            rank, worker = running.pop(connection)  # type: ignore[call-overload]  # only connections were given
            failures += worker.failure(rank)
    return min(failures, default=None)


def stop(processes: Sequence[BaseProcess], windows: bool) -> None:
    """End those that still run, and all processes that any of them has started."""
    deadline = time.monotonic() + TERMINATE_S
    try:
        for process in processes:
            # On Windows `terminate` would end the process at once, and nobody would know what it has started
            kill_tree(process, windows) if windows else process.terminate()
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:  # also on a second Ctrl-C
        for process in processes:
            process.kill()
            kill_tree(process, windows)
            process.join()


def kill_tree(process: BaseProcess, windows: bool) -> None:
    """Kill one of the processes and all that it has started."""
    assert process.pid is not None
    if windows:
        if process.is_alive():  # taskkill finds the children of a process by its number
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
        return
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, if all of them have ended
        os.killpg(process.pid, signal.SIGKILL)


def shared_environment(processes: int) -> dict[str, str]:
    """The environment variables of all processes, as `torchrun` sets them; each adds its own rank."""
    defaults = {
        "OMP_NUM_THREADS": str(max(1, cores() // processes)),  # all processes together use the machine's cores
        "TORCH_CPP_LOG_LEVEL": "FATAL",  # the launcher reports a failure, not each of the other processes
    }
    given = {name: os.environ[name] for name in defaults if name in os.environ}
    # When data workers are killed, Python's resource tracker frees their shared memory, and warns about it
    warnings = [os.environ.get("PYTHONWARNINGS", ""), "ignore:resource_tracker:UserWarning"]
    return {
        **defaults,
        **given,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "PYTHONWARNINGS": ",".join(filter(None, warnings)),
    }


def free_port() -> int:
    """A port of this machine that no program listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def environment_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside, `os.environ` also has `variables`. Torch reads some on import, so a new process must start with them."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def signals_blocked(windows: bool) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM wait. New processes start with both blocked: only the launcher gets Ctrl-C."""
    if windows:  # new processes ignore Ctrl-C by themselves
        yield
        return
    resource_tracker.ensure_running()  # the first process would start it, which unblocks both signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def install_worker_hooks(windows: bool) -> None:
    """In a new process: SIGTERM raises SystemExit, and when the launcher ends, this process and its children end."""
    if windows:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a console
    else:
        os.setsid()  # so that all of them can be ended together
        signal.signal(signal.SIGTERM, _exit)  # unlike the default, this ends data workers and removes temporary files
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    target = partial(_end_with_launcher, windows)
    threading.Thread(target=target, name="end-with-launcher", daemon=True).start()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_with_launcher(windows: bool) -> None:
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    if not windows:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(1)


def _work(rank: int, function: Callable[[], object], failures: Connection, windows: bool) -> None:
    """One of the processes: only the first writes to the terminal, and the launcher alone shows a failure."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    install_worker_hooks(windows)
    if rank > 0:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
    try:
        function()
    except (Exception, ReportedByMain) as error:
        message = error.message if isinstance(error, ReportedByMain) else user_message(error)
        lines = traceback.format_exc().splitlines()[-MAX_ERROR_LINES:]
        found = (2, "\n".join(lines), 1) if message is None else (0, message, EXIT_USER_ERROR)
        with suppress(OSError):  # the launcher is gone
            failures.send(Failure(found[0], time.monotonic(), rank, *found[1:]))
        raise SystemExit(found[2]) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends anyway, and an exception would only be written out
