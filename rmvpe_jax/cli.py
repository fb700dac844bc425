"""What JAX brings to the command line of a training run: its devices, and how several hosts find each other."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import TrainConfig
from rmvpe.errors import UserError
from rmvpe.processes import Ranks
from rmvpe.training.launch import add_flag

if TYPE_CHECKING:
    import jax

    from rmvpe_jax.train import JaxTrainer


@dataclass(frozen=True)
class JaxSession:
    """This process's devices, in the group of all processes."""

    ranks: Ranks
    devices: "list[jax.Device]"

    def amp_dtype(self) -> str:
        """The low precision of XLA's devices."""
        return "bfloat16"

    def trainer(self, config: TrainConfig, initial: Checkpoint | None) -> "JaxTrainer":
        """A trainer on the devices."""
        from rmvpe_jax.train import JaxTrainer

        return JaxTrainer(config, self.devices, initial)

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in their order."""
        from rmvpe_jax import distributed

        return distributed.gather(self.ranks, text)

    def stop(self) -> None:
        """Leave the group of processes."""
        from rmvpe_jax import distributed

        distributed.stop()


@dataclass(frozen=True)
class JaxProcesses:
    """All local devices of the kind asked for ("gpu:1": that one alone), on one host or several."""

    device: str
    nproc_per_node: int | None = None
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def relaunch(self, function: Callable[[], object]) -> int | None:
        """None: each host starts its own process."""
        return None

    def start(self) -> JaxSession:
        """Join the other processes and find the devices. Raises UserError."""
        import jax

        from rmvpe_jax import distributed
        from rmvpe_jax.device import resolve

        distributed.start(self.coordinator, self.num_processes, self.process_id)
        devices = chosen(resolve(self.device), self.device, self.nproc_per_node)
        return JaxSession(Ranks(jax.process_count(), jax.process_index(), len(devices)), devices)


class Jax:
    """The `rmvpe.training.launch.Runtime` of JAX."""

    name = "jax"
    libraries: tuple[str, ...] = ("jax", "flax")  # flax brings optax and orbax
    devices = "auto, cpu, gpu, gpu:N or tpu"

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Flags about devices and hosts."""
        text = "devices of this host to train on; PyTorch's processes are JAX's devices (default: all of the kind)"
        add_flag(group, "nproc_per_node", "-np", "-npn", type=int, metavar="N", help=text)
        text = (
            "several hosts: process 0 and a free port of it; auto: ask Slurm, Open MPI, Kubernetes or Cloud TPU. With "
            "RMVPE_RENDEZVOUS_TOKEN in the environment, only processes with the same token may join"
        )
        add_flag(group, "coordinator", metavar="HOST:PORT|auto", help=text)
        text = "processes in all, one per host (default: 1)"
        add_flag(group, "num_processes", type=int, metavar="N", help=text)
        text = "number of this process, 0 to N - 1 (default: 0)"
        add_flag(group, "process_id", type=int, metavar="I", help=text)

    def processes(self, arguments: argparse.Namespace, config: TrainConfig) -> JaxProcesses:
        """The devices and hosts that the flags ask for."""
        return JaxProcesses(
            arguments.device,
            arguments.nproc_per_node,
            arguments.coordinator,
            arguments.num_processes,
            arguments.process_id,
        )


def chosen(first: "jax.Device", device: str, count: int | None) -> "list[jax.Device]":
    """The devices to train on: `first` alone if `device` has its number, else `count`, or all, of its kind."""
    from rmvpe_jax.device import devices_of

    found = [first] if ":" in device else devices_of(first.platform)
    if count is None:
        return found
    if not 1 <= count <= len(found):
        raise UserError(
            f"--nproc_per_node {count} asks for devices that are not there: choose 1 to {len(found)} ({first.platform})"
        )
    return found[:count]
