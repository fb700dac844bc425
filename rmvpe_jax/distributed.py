"""Several processes that train together, usually one per host: how they join, wait for each other, and leave.

`jax.distributed` joins them; `jax.pmap` runs over the devices of all of them. Process 0 listens at the coordinator's
address and writes the run's files.
"""

import atexit
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np

from rmvpe.errors import UserError, exit_code
from rmvpe.processes import Ranks
from rmvpe_jax.rendezvous import rendezvous

AUTO = "auto"
JOIN_TIMEOUT_S = 300  # the first process waits so long for the last one
BARRIER_TIMEOUT_S = 6 * 3600  # the others wait while process 0 validates and writes
HEARTBEAT_TIMEOUT_S = 60  # a process that gives no sign of life for so long counts as lost, and the others end


def start(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout_s: float = JOIN_TIMEOUT_S,
) -> None:
    """Join the other processes. Without a coordinator this process is alone. Call it before JAX looks for devices.

    `coordinator` is HOST:PORT of process 0, or "auto" where JAX can ask the cluster. Raises UserError if a process is
    missing after `timeout_s` seconds, or if the numbers given to the processes contradict each other.
    """
    if coordinator is None:
        if num_processes not in (None, 1) or process_id not in (None, 0):
            raise UserError(
                "--num_processes and --process_id need --coordinator HOST:PORT: give the address of process 0"
            )
        return
    # Between processes, JAX on a CPU needs a library for its collectives
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if coordinator == AUTO:
        join_cluster(timeout_s)
        return
    if num_processes is None or process_id is None:
        raise UserError("--coordinator HOST:PORT needs --num_processes and --process_id: give all three, or auto")
    rendezvous(coordinator, num_processes, process_id, timeout_s)
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        cluster_detection_method="deactivate",
        initialization_timeout=JOIN_TIMEOUT_S,
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
        shutdown_timeout_seconds=HEARTBEAT_TIMEOUT_S,
    )


def join_cluster(timeout_s: float) -> None:
    """Let JAX read the address and the numbers from the cluster's environment. Raises UserError if there is none."""
    try:
        jax.distributed.initialize(
            initialization_timeout=int(timeout_s),
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=HEARTBEAT_TIMEOUT_S,
        )
    except ValueError as error:  # it says that coordinator_address should be defined
        raise UserError(
            "--coordinator auto: JAX finds no Slurm, Open MPI, Kubernetes or Cloud TPU job here; give "
            "--coordinator HOST:PORT, --num_processes and --process_id"
        ) from error


def stop() -> None:
    """Leave the group of processes once all of them have finished.

    While an exception is being raised, this process does not wait: it ends at its exit without the others, which notice
    that it is gone and end too.
    """
    if not jax.distributed.is_initialized():
        return
    failure = sys.exc_info()[1]
    if failure is None:
        barrier(Ranks(jax.process_count(), jax.process_index()), "the end")
        jax.distributed.shutdown()
    else:
        atexit.register(end_at_once, exit_code(failure))


def end_at_once(code: int) -> None:
    """End this process without JAX's shutdown, which would wait for processes that wait for this one."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def all_devices(devices: list[jax.Device], ranks: Ranks) -> list[jax.Device]:
    """The devices of all processes, in the same order in each process; `devices` are this process's own.

    Raises UserError unless every process uses all of its devices and all processes have the same number.
    """
    if ranks.processes == 1:
        return devices
    kind = devices[0].platform
    found = jax.devices(kind)
    counts = [sum(device.process_index == process for device in found) for process in range(ranks.processes)]
    if counts != [ranks.local] * ranks.processes:
        raise UserError(
            f"the {ranks.processes} processes have {', '.join(map(str, counts))} {kind} devices, and this one uses "
            f"{ranks.local}: each must use all of its devices and have as many as the others (CUDA_VISIBLE_DEVICES "
            f"hides some; give --device {kind} without a number)"
        )
    return found


@contextmanager
def collective_errors(ranks: Ranks) -> Iterator[None]:
    """Around a computation of all processes: UserError if another process is gone, instead of JAX's own error."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).split(". ")[0].splitlines()[0]
        if ranks.processes == 1 or "RESOURCE_EXHAUSTED" in reason:  # this process is out of memory
            raise
        raise UserError(
            f"another process of this run is gone ({reason}): see its message, then start all again with "
            "--resume_iteration latest"
        ) from error


def barrier(ranks: Ranks, name: str) -> None:
    """Wait until all processes have called this. `name` must be a new one each time, the same in all processes."""
    if ranks.processes > 1:
        from orbax.checkpoint import multihost

        with collective_errors(ranks):
            multihost.get_barrier_sync_fn()(key=name, timeout_ms=BARRIER_TIMEOUT_S * 1000)


def gather(ranks: Ranks, text: str) -> list[str]:
    """The texts of all processes, in their order; all of them call it at the same time."""
    if ranks.processes == 1:
        return [text]
    from jax.experimental import multihost_utils

    own = np.frombuffer(text.encode("utf-8"), np.uint8)
    with collective_errors(ranks):
        lengths = np.ravel(multihost_utils.process_allgather(np.array(len(own), np.int32)))
        padded = np.zeros(max(1, int(lengths.max())), np.uint8)
        padded[: len(own)] = own
        texts = np.asarray(multihost_utils.process_allgather(padded)).reshape(ranks.processes, -1)
    return [bytes(row[:length]).decode("utf-8") for row, length in zip(texts, lengths)]
