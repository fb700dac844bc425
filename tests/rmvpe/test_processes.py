"""How many cores a process may use: made folders stand for /sys and /proc. And which numbers of threads make sense."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from rmvpe import processes
from rmvpe.errors import UserError
from rmvpe.processes import by_core, cgroup_cpus, checked_threads, linux_cores, mac_cores, windows_cores


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def topology(root: Path, cores: list[list[int]], name: str = "thread_siblings_list") -> None:
    for core in cores:
        for cpu in core:
            write(root, f"sys/devices/system/cpu/cpu{cpu}/topology/{name}", ",".join(map(str, core)))


@pytest.mark.parametrize("name", ["thread_siblings_list", "core_cpus_list"])
def test_hyper_threads_count_once(tmp_path: Path, name: str):
    topology(tmp_path, [[0, 4], [1, 5], [2, 6], [3, 7]], name)
    assert linux_cores(set(range(8)), tmp_path) == 4
    assert by_core({0, 1, 4}, tmp_path) == [[0, 4], [1]]
    assert linux_cores({1, 5}, tmp_path) == 1  # the affinity mask leaves one core
    assert linux_cores({0, 1, 2}, tmp_path) == 3


def test_a_system_that_does_not_say_has_a_core_for_each_cpu(tmp_path: Path):
    assert linux_cores({0, 1, 2}, tmp_path) == 3
    assert cgroup_cpus(tmp_path) is None


@pytest.mark.parametrize(
    ("maximum", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("140000 100000", 1),
        ("10000 100000", 1),  # a tenth of a CPU
        ("max 100000", 8),
        ("1600000 100000", 8),  # more than there is
        ("", 8),
    ],
)
def test_the_quota_of_a_cgroup_of_version_2(tmp_path: Path, maximum: str, cores: int):
    write(tmp_path, "proc/self/cgroup", "0::/user.slice/job")
    write(tmp_path, "sys/fs/cgroup/user.slice/job/cpu.max", maximum)
    assert linux_cores(set(range(8)), tmp_path) == cores


def test_the_narrowest_group_counts(tmp_path: Path):
    write(tmp_path, "proc/self/cgroup", "0::/a/b/c")
    for folder, maximum in (("a/b/c", "max 100000"), ("a/b", "300000 100000"), ("a", "500000 100000")):
        write(tmp_path, f"sys/fs/cgroup/{folder}/cpu.max", maximum)
    assert cgroup_cpus(tmp_path) == 3.0
    write(tmp_path, "sys/fs/cgroup/a/cpu.max", "50000 20000")
    assert cgroup_cpus(tmp_path) == 2.5


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpuacct,cpu", "cpu"])
def test_the_quota_of_a_cgroup_of_version_1(tmp_path: Path, controllers: str):
    write(tmp_path, "proc/self/cgroup", f"5:memory:/docker/x\n4:{controllers}:/docker/x\n1:name=systemd:/")
    folder = f"sys/fs/cgroup/{controllers}/docker"
    write(tmp_path, f"{folder}/x/cpu.cfs_quota_us", "-1")
    write(tmp_path, f"{folder}/x/cpu.cfs_period_us", "100000")
    assert cgroup_cpus(tmp_path) is None
    write(tmp_path, f"{folder}/cpu.cfs_quota_us", "250000")
    write(tmp_path, f"{folder}/cpu.cfs_period_us", "100000")
    assert cgroup_cpus(tmp_path) == 2.5


@pytest.mark.parametrize("path", ["/docker/only-outside", "/../../elsewhere", "/"])
def test_a_container_that_sees_its_own_group_as_the_outermost(tmp_path: Path, path: str):
    write(tmp_path, "proc/self/cgroup", f"0::{path}")
    write(tmp_path, "sys/fs/cgroup/cpu.max", "300000 100000")
    assert linux_cores(set(range(8)), tmp_path) == 3


def test_both_versions_side_by_side(tmp_path: Path):
    write(tmp_path, "proc/self/cgroup", "1:cpu:/\n0::/app")
    write(tmp_path, "sys/fs/cgroup/unified/app/cpu.max", "400000 100000")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert cgroup_cpus(tmp_path) == 2.0


def test_an_apple_processor_is_asked_for_its_fast_cores():
    assert mac_cores(lambda name: {"hw.perflevel0.physicalcpu": 6, "hw.physicalcpu": 8}.get(name)) == 6
    assert mac_cores(lambda name: {"hw.physicalcpu": 4}.get(name)) == 4  # an Intel processor has one kind
    assert mac_cores(lambda name: None) == (os.cpu_count() or 1)


def test_the_records_of_windows():
    def record(kind: int, length: int = 48) -> bytes:
        return struct.pack("<II", kind, length).ljust(length, b"\1")

    assert windows_cores(record(0) + record(2, 80) + record(0) + record(0)) == 3
    assert windows_cores(b"") == max(1, (os.cpu_count() or 1) // 2)


def test_this_machine_has_a_core_and_no_more_than_cpus():
    assert 1 <= processes.physical_cores() <= processes.cpus_of_this_process() <= (os.cpu_count() or 1)


def test_threads_are_those_of_the_environment_or_the_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "physical_cores", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert processes.threads_of_this_process() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert processes.threads_of_this_process() == 5
    for nonsense in ("0", "", "-1", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert processes.threads_of_this_process() == 5


def test_threads_of_jax(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    environ: dict[str, str] = {}
    assert processes.jax_threads(environ) == processes.cpus_of_this_process()
    processes.set_jax_threads(None, environ)
    assert processes.jax_threads(environ) == 3
    processes.set_jax_threads(5, environ)
    assert environ == {"NPROC": "5"}
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    processes.set_jax_threads(None, environ)  # the user's own NPROC stays
    assert processes.jax_threads(environ) == 5


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "9"}, {"OMP_WAIT_POLICY": "active"}])
def test_a_process_of_ours_waits_briefly_unless_the_user_has_said_how(own: dict[str, str]):
    environ: dict[str, str] = {}
    processes.wait_briefly(environ)
    assert environ == {"GOMP_SPINCOUNT": "1000"}
    theirs = dict(own)
    processes.wait_briefly(theirs)
    assert theirs == own


def test_possible_numbers_of_threads():
    most = 4 * (os.cpu_count() or 1)
    assert checked_threads(1) == 1
    assert checked_threads(np.int64(most)) == most
    for number in (0, -1, 1.5, 2.0, True, "2", None):
        with pytest.raises(UserError, match="--threads must be a whole number above 0, not "):
            checked_threads(number, "--threads")
    with pytest.raises(UserError, match=f"threads {most + 1} is too many for the .* CPUs of this machine"):
        checked_threads(most + 1)
