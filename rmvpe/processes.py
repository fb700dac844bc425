"""How many devices train together, and which of them are this process's; how many CPUs and cores it may use.

Cores are counted as the system describes them: Linux in /sys and /proc, macOS by sysctl, Windows by
GetLogicalProcessorInformationEx. Two hyper-threads of one core are one here: for matrix products the second one adds
nothing.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from rmvpe.errors import EXIT_USER_ERROR, UserError

ROOT = Path("/")
SIBLINGS = ("core_cpus_list", "thread_siblings_list")  # the same list by its new and its old name
PROCESSOR_CORE = 0  # RelationProcessorCore of Windows
JAX_VARIABLE = "NPROC"
SPIN_VARIABLE = "GOMP_SPINCOUNT"
THREADS_PER_CPU = 4  # more threads than this for each CPU of the machine are a slip of the finger


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
    return len(allowed_cpus())


def allowed_cpus() -> set[int]:
    """The numbers of those CPUs."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def wait_briefly(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads that wait for others sleep soon, in a process of our own, before it imports torch.

    GNU's OpenMP spins for milliseconds first. Beside other programs that takes their CPU from the very threads that are
    waited for: with two busy programs on two cores, three times as long. A thousand turns cost nothing measurable
    on a quiet machine; none at all, as with OMP_WAIT_POLICY=passive, costs a tenth. What the user has set stays.
    https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    """
    if not {"OMP_WAIT_POLICY", SPIN_VARIABLE} & set(environ):
        environ[SPIN_VARIABLE] = "1000"


def jax_threads(environ: Mapping[str, str] = os.environ) -> int:
    """With how many threads JAX computes on a CPU: NPROC, a variable of XLA, or one for each CPU of this process."""
    return _positive(environ.get(JAX_VARIABLE)) or cpus_of_this_process()


def set_jax_threads(threads: int | None, environ: MutableMapping[str, str] = os.environ) -> None:
    """Choose that number in a process of our own, before it imports JAX: `threads`, or else as for other backends."""
    if threads is not None:
        environ[JAX_VARIABLE] = str(threads)
    else:
        environ.setdefault(JAX_VARIABLE, str(threads_of_this_process()))


def threads_of_this_process() -> int:
    """With how many threads to compute on a CPU: OMP_NUM_THREADS if that is set, as for torch, else the cores."""
    return _positive(os.environ.get("OMP_NUM_THREADS")) or physical_cores()


def _positive(text: str | None) -> int | None:
    """The number above 0 that `text` is, or None."""
    return int(text) if text and text.isdecimal() and int(text) else None


def checked_threads(threads: Any, name: str = "threads") -> int:
    """`threads`, called `name` in messages. Raises UserError unless it is a whole number from 1 to what makes sense."""
    if isinstance(threads, bool) or not isinstance(threads, Integral) or int(threads) < 1:
        raise UserError(f"{name} must be a whole number above 0, not {threads!r}")
    cpus = os.cpu_count() or 1
    if int(threads) > THREADS_PER_CPU * cpus:
        raise UserError(f"{name} {threads} is too many for the {cpus} CPUs of this machine: choose {cpus} or fewer")
    return int(threads)


def physical_cores() -> int:
    """How many cores this process may use, at least 1: its affinity mask and cgroup quotas count, hyper-threads not."""
    if sys.platform == "darwin":
        return mac_cores(sysctl)
    if sys.platform == "win32":
        return windows_cores(processor_information())
    return linux_cores(allowed_cpus())


def linux_cores(cpus: set[int], root: Path = ROOT) -> int:
    """The cores that the CPUs `cpus` belong to, or fewer if cgroups allow less time. `root`: of the file system."""
    quota = cgroup_cpus(root)
    cores = len(by_core(cpus, root))
    return cores if quota is None else max(1, min(cores, int(quota + 0.5)))


def by_core(cpus: set[int], root: Path = ROOT) -> list[list[int]]:
    """`cpus`, those of one core together. A CPU that the system says nothing about is a core of its own."""
    cores: dict[str, list[int]] = {}
    for cpu in sorted(cpus):
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        texts = (_text(topology / name) for name in SIBLINGS)
        cores.setdefault(next(filter(None, texts), str(cpu)), []).append(cpu)
    return list(cores.values())


def cgroup_cpus(root: Path = ROOT) -> float | None:
    """The CPU time per second that cgroups leave this process, such as 1.5; None without a limit.

    Of the process's own group and all groups around it, the narrowest counts. Version 2:
    https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max; version 1: cpu.cfs_quota_us over cpu.cfs_period_us.
    """
    limits = [limit for folder in _cgroup_folders(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _cgroup_folders(root: Path) -> Iterator[Path]:
    """The folders of this process's groups, from its own to the outermost, in every hierarchy that limits CPU time.

    In a container the path may be that of the machine outside: then only the outermost folder is there, and its files
    are those of the container.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            found = [mounts, mounts / "unified"]
        elif "cpu" in controllers.split(","):
            found = [mounts / controllers, mounts / "cpu"]
        else:
            continue
        inside = Path(path.lstrip("/"))
        groups = [Path()] if ".." in inside.parts else [inside, *inside.parents]
        yield from (mount / group for mount in found for group in groups)


def _limit(folder: Path) -> float | None:
    """CPU seconds per second of one group."""
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    # "max" in version 2, -1 in version 1: no limit
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _text(path: Path) -> str:
    """What a small file of the system says; "" if there is none, or this process may not read it."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def mac_cores(sysctl: Callable[[str], int | None]) -> int:
    """The fast cores of an Apple processor, else all cores: the slow ones would hold up each step."""
    return sysctl("hw.perflevel0.physicalcpu") or sysctl("hw.physicalcpu") or os.cpu_count() or 1


def sysctl(name: str) -> int | None:
    """A whole number that macOS knows by this name; None if it does not."""
    value = ctypes.c_int32(0)
    size = ctypes.c_size_t(ctypes.sizeof(value))
    call = ctypes.CDLL(None).sysctlbyname
    failed = call(name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return None if failed else value.value


def windows_cores(records: bytes) -> int:
    """The cores in the records of GetLogicalProcessorInformationEx, each of which begins with its kind and its length.

    Without records, half of the CPUs: most processors have two hyper-threads in each core.
    """
    cores = at = 0
    while at + 8 <= len(records):
        kind, length = struct.unpack_from("<II", records, at)
        cores += kind == PROCESSOR_CORE
        at += max(length, 8)
    return cores or max(1, (os.cpu_count() or 1) // 2)


def processor_information() -> bytes:
    """What Windows says about its cores; b"" if it says nothing."""
    call = vars(ctypes)["windll"].kernel32.GetLogicalProcessorInformationEx
    size = ctypes.c_uint32(0)
    call(PROCESSOR_CORE, None, ctypes.byref(size))  # fails, and says how much room is needed
    buffer = ctypes.create_string_buffer(size.value)
    return buffer.raw[: size.value] if call(PROCESSOR_CORE, buffer, ctypes.byref(size)) else b""
