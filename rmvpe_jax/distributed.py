"""Several processes that train together, as a rule one per host: how they meet, wait for each other, and leave.

`jax.distributed` joins them, `jax.pmap` over the devices of all averages over all. Process 0 listens at the
coordinator's address and writes the run's files.
"""

import argparse
import atexit
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from rmvpe.config import ConfigError
from rmvpe.errors import EXIT_USER_ERROR, UserError
from rmvpe.processes import Ranks
from rmvpe_jax.rendezvous import roll_call

AUTO = "auto"
MEETING_S = 300  # how long the first process waits for the last one at the start
PATIENCE_S = 6 * 3600  # how long the others wait while process 0 validates and writes
SILENCE_S = 60  # a process that was not heard of for so long is gone, and the others end


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """The flags of several hosts."""
    group.add_argument(
        "--coordinator",
        metavar="HOST:PORT|auto",
        help="several hosts: process 0 and a free port of it; auto: ask Slurm, Open MPI, Kubernetes or Cloud TPU",
    )
    group.add_argument(
        "--num_processes", "--num-processes", type=int, metavar="N", help="processes in all, one per host (default: 1)"
    )
    group.add_argument(
        "--process_id", "--process-id", type=int, metavar="I", help="number of this process, 0 to N - 1 (default: 0)"
    )


def start(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout_s: float = MEETING_S,
) -> None:
    """Join the other processes; must come before JAX looks for devices. Without a coordinator this process is alone.

    `coordinator` is HOST:PORT of process 0, or "auto" where JAX can ask the cluster. Raises UserError if the processes
    do not find each other within `timeout_s` seconds, or their numbers do not fit.
    """
    if coordinator is None:
        if num_processes not in (None, 1) or process_id not in (None, 0):
            raise UserError(
                "--num_processes and --process_id need --coordinator HOST:PORT: give the address of process 0"
            )
        return
    # Nothing that JAX does on a CPU alone goes from process to process; Gloo is the library that does
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if coordinator == AUTO:
        join_cluster(timeout_s)
        return
    if num_processes is None or process_id is None:
        raise UserError("--coordinator HOST:PORT needs --num_processes and --process_id: give all three, or auto")
    roll_call(coordinator, num_processes, process_id, timeout_s)
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        cluster_detection_method="deactivate",
        initialization_timeout=MEETING_S,
        heartbeat_timeout_seconds=SILENCE_S,
        shutdown_timeout_seconds=SILENCE_S,
    )


def join_cluster(timeout_s: float) -> None:
    """Let JAX find the other processes by what the cluster has told each."""
    try:
        jax.distributed.initialize(
            initialization_timeout=int(timeout_s),
            heartbeat_timeout_seconds=SILENCE_S,
            shutdown_timeout_seconds=SILENCE_S,
        )
    except ValueError as error:  # it says that coordinator_address should be defined
        raise UserError(
            "--coordinator auto: this is no Slurm, Open MPI, Kubernetes or Cloud TPU job that JAX knows; give "
            "--coordinator HOST:PORT, --num_processes and --process_id"
        ) from error


def stop() -> None:
    """Leave the group of processes, after the others have come to their end too.

    While an exception is on its way up nobody waits: this process ends at its exit at once, and the others, which
    cannot go on without it, notice that it is gone.
    """
    if not jax.distributed.is_initialized():
        return
    failure = sys.exc_info()[1]
    if failure is None:
        barrier(Ranks(jax.process_count(), jax.process_index()), "the end")
        jax.distributed.shutdown()
    else:
        atexit.register(end_at_once, exit_code(failure))


def exit_code(failure: BaseException) -> int:
    """What `rmvpe.errors.cli_errors` and Python make of an exception."""
    if isinstance(failure, (UserError, ConfigError, OSError)):
        return EXIT_USER_ERROR
    return 130 if isinstance(failure, KeyboardInterrupt) else 1


def end_at_once(code: int) -> None:
    """End this process without JAX's own farewell, which would wait for processes that wait for this one."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def everyone(devices: list[jax.Device], ranks: Ranks) -> list[jax.Device]:
    """The devices of all processes, in one order everywhere, of which `devices` are this process's.

    Raises UserError if not every process brings all its devices, and as many as the others.
    """
    if ranks.processes == 1:
        return devices
    kind = devices[0].platform
    there = jax.devices(kind)
    counts = [sum(device.process_index == process for device in there) for process in range(ranks.processes)]
    if counts != [ranks.local] * ranks.processes:
        raise UserError(
            f"the {ranks.processes} processes have {', '.join(map(str, counts))} {kind} devices, and this one uses "
            f"{ranks.local}: each must use all of its devices and have as many as the others (CUDA_VISIBLE_DEVICES "
            f"hides some; give --device {kind} without a number)"
        )
    return there


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Around what all processes do together: that another one is gone is told in a sentence."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).split(". ")[0].splitlines()[0]
        if ranks.processes == 1 or "RESOURCE_EXHAUSTED" in reason:  # too little memory is this process's own trouble
            raise
        raise UserError(
            f"another process of this run is gone ({reason}): see what it told, then start all again with "
            "--resume_iteration latest"
        ) from error


def barrier(ranks: Ranks, name: str) -> None:
    """Wait until all processes are here. `name` must be another one each time."""
    if ranks.processes > 1:
        from orbax.checkpoint import multihost

        with together(ranks):
            multihost.get_barrier_sync_fn()(key=name, timeout_ms=PATIENCE_S * 1000)
