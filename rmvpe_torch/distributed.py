"""Several processes that train together: this process's rank and device, and the process group.

`torchrun` gives a process its rank in environment variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
MASTER_ADDR, MASTER_PORT). `rmvpe_torch.launch` sets the same for the processes of one machine.
"""

import atexit
import os
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist

from rmvpe.errors import UserError
from rmvpe.processes import ONE_RANK, Ranks
from rmvpe_torch.device import KINDS, process_group, resolve, set_device

# The other processes wait while the main process validates and writes, which can take longer than torch's default
# timeout. A process that dies is noticed at once all the same, by the launcher or by torchrun.
BARRIER_TIMEOUT = timedelta(hours=6)
MIN_CPU_PROCESSES = 4  # allowed on a CPU with fewer cores too: enough to try things out


class ProcessEnv(NamedTuple):
    """A process's number among all processes, and among those of its machine."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int


def process_env() -> ProcessEnv | None:
    """This process's numbers as the environment gives them, or None if it was not started as one of several.

    Raises UserError if some of the variables are missing.
    """
    names = [name.upper() for name in ProcessEnv._fields]
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    missing = [name for name in (*names, "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE are set, but {' and '.join(missing)} not: start the processes with torchrun"
        )
    return ProcessEnv(*(int(os.environ[name]) for name in names))


def start(device: str = "auto", windows: bool = os.name == "nt") -> tuple[Ranks, torch.device]:
    """This process's ranks and device; with several processes, joins the process group and waits for all of them.

    Of several processes of a machine, each uses the device with its own local rank. Raises UserError if there are fewer
    devices than processes, or no such device.
    """
    environment = process_env()
    if environment is None or environment.local_world_size == 1:
        own = resolve(device)
    else:
        kind = check_processes(environment.local_world_size, device)
        own = resolve(f"{kind}:{environment.local_rank}" if KINDS[kind].numbered else kind)
    set_device(own)
    if environment is None or environment.world_size == 1:
        return ONE_RANK, own
    if windows:  # torch 2.4 and some later ones ask for libuv, which their wheels for Windows lack
        os.environ.setdefault("USE_LIBUV", "0")
    dist.init_process_group(process_group(own), timeout=BARRIER_TIMEOUT)
    atexit.register(destroy)  # otherwise its threads abort a process that ends after it has lost the others
    return Ranks(processes=environment.world_size, process=environment.rank), own


def destroy() -> None:
    """Destroy this process's process group, if it has one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def gather(ranks: Ranks, device: torch.device, text: str) -> list[str]:
    """The texts of all processes, in their order; all of them call it at the same time."""
    if ranks.total == 1:
        return [text]
    # Sums alone: what every backend can do
    own = torch.tensor(list(text.encode("utf-8")), dtype=torch.int32)
    lengths = torch.zeros(ranks.total, dtype=torch.int32, device=device)
    lengths[ranks.process] = len(own)
    dist.all_reduce(lengths)
    texts = torch.zeros((ranks.total, int(lengths.max())), dtype=torch.int32, device=device)
    texts[ranks.process, : len(own)] = own.to(device)
    if texts.numel():
        dist.all_reduce(texts)
    rows = zip(texts.cpu().tolist(), lengths.tolist())
    return [bytes(row[:length]).decode("utf-8") for row, length in rows]


def check_processes(processes: int, device: str) -> str:
    """The kind of device that `processes` processes of one machine use. Raises UserError if there are too few."""
    if processes < 1:
        raise UserError(f"--nproc_per_node {processes} must be at least 1")
    kind = resolve(device).type
    if processes > 1 and ":" in device:
        raise UserError(
            f"--device {device} is one device, and --nproc_per_node {processes} needs as many: give --device {kind}"
        )
    on_cpu = kind == "cpu"
    most = max(cores(), MIN_CPU_PROCESSES) if on_cpu else KINDS[kind].count()
    if processes > most:
        found = f"this machine with {cores()} CPU cores can serve" if on_cpu else f"there are {kind} devices here"
        raise UserError(f"--nproc_per_node {processes} is more processes than {found}: choose at most {most}")
    return kind


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system; a container often gives a process some cores only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
