"""Several processes that train together: this process's place among them, its device, and the group they form.

A process is told its place by the environment that `torchrun` sets (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
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
from rmvpe_torch.worker import obey_launcher

# The others wait while the leading process validates and writes, for longer than torch's default would let them. A
# process that dies is noticed at once all the same, by the launcher or by torchrun.
PATIENCE = timedelta(hours=6)
FEWEST_ALLOWED = 4  # processes on a CPU, however few its cores: enough to try things out


class Place(NamedTuple):
    """Where a process stands: among all processes, and among those of its machine."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int


def place() -> Place | None:
    """This process's place as its environment says, or None if nobody started it as one of several.

    Raises UserError if the environment says it in part.
    """
    names = [name.upper() for name in Place._fields]
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    missing = [name for name in (*names, "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UserError(f"RANK and WORLD_SIZE are set, {' and '.join(missing)} not: start the processes with torchrun")
    return Place(*(int(os.environ[name]) for name in names))


def start(device: str = "auto") -> tuple[Ranks, torch.device]:
    """This process's share of the run and its device; joins the others, if there are any, and waits for them.

    Of several processes on a machine each takes the device with its own number. Raises UserError if there are fewer
    devices than processes, or no such device.
    """
    obey_launcher()
    here = place()
    if here is None or here.local_world_size == 1:
        own = resolve(device)
    else:
        kind = check_processes(here.local_world_size, device)
        own = resolve(f"{kind}:{here.local_rank}" if KINDS[kind].numbered else kind)
    set_device(own)
    if here is None or here.world_size == 1:
        return ONE_RANK, own
    dist.init_process_group(process_group(own), timeout=PATIENCE)
    atexit.register(leave)  # its threads would abort a process that ends after losing its partners
    return Ranks(processes=here.world_size, process=here.rank), own


def leave() -> None:
    """Leave the group of processes, if this one is in it."""
    if dist.is_initialized():
        dist.destroy_process_group()


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
    there = max(cores(), FEWEST_ALLOWED) if on_cpu else KINDS[kind].count()
    if processes > there:
        what = f"this machine with {cores()} CPU cores can serve" if on_cpu else f"there are {kind} devices here"
        raise UserError(f"--nproc_per_node {processes} is more processes than {what}: choose at most {there}")
    return kind


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere; containers often hand out some of the cores alone
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
