"""What JAX brings to the command line of a training run: its devices, and how several hosts find each other."""

import argparse
from collections.abc import Sequence

import jax

from rmvpe.checkpoint.store import Checkpoint
from rmvpe.cli.train import Framework, add
from rmvpe.config import TrainConfig
from rmvpe.errors import UserError
from rmvpe.processes import Ranks
from rmvpe_jax import distributed
from rmvpe_jax.device import devices_of, resolve
from rmvpe_jax.train import JaxTrainer


class Jax(Framework):
    """All local devices of the kind asked for ("gpu:1": that one alone)."""

    name = "jax"
    devices = "auto, cpu, gpu, gpu:N or tpu"

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        text = "devices of this host to train on; PyTorch's processes are JAX's devices (default: all of the kind)"
        add(group, "nproc_per_node", "-np", type=int, metavar="N", help=text)
        group.add_argument(
            "--coordinator",
            metavar="HOST:PORT|auto",
            help="several hosts: process 0 and a free port of it; auto: ask Slurm, Open MPI, Kubernetes or Cloud TPU",
        )
        add(group, "num_processes", type=int, metavar="N", help="processes in all, one per host (default: 1)")
        add(group, "process_id", type=int, metavar="I", help="number of this process, 0 to N - 1 (default: 0)")

    def relaunch(self, arguments: argparse.Namespace, argv: Sequence[str]) -> int | None:
        return None  # each host starts its own process

    def start(self, arguments: argparse.Namespace) -> Ranks:
        distributed.start(arguments.coordinator, arguments.num_processes, arguments.process_id)
        first = resolve(arguments.device)
        self.local = chosen(first, arguments.device, arguments.nproc_per_node)
        return Ranks(jax.process_count(), jax.process_index(), len(self.local))

    def amp_dtype(self) -> str:
        return "bfloat16"

    def stop(self) -> None:
        distributed.stop()

    def trainer(self, config: TrainConfig, initial: Checkpoint | None) -> JaxTrainer:
        return JaxTrainer(config, self.local, initial)


def chosen(first: jax.Device, device: str, count: int | None) -> list[jax.Device]:
    """The devices to train on: `first` alone if `device` has its number, else `count`, or all, of its kind."""
    there = [first] if ":" in device else devices_of(first.platform)
    if count is None:
        return there
    if not 1 <= count <= len(there):
        raise UserError(
            f"--nproc_per_node {count} asks for devices that are not there: choose 1 to {len(there)} ({first.platform})"
        )
    return there[:count]
