"""What PyTorch brings to the command line of a training run: its devices, and one process for each of them."""

import argparse
from collections.abc import Callable

from rmvpe.checkpoint.store import Checkpoint
from rmvpe.cli.train import Framework, add
from rmvpe.config import TrainConfig
from rmvpe.processes import Ranks
from rmvpe_torch import distributed, launch
from rmvpe_torch.device import amp_dtype
from rmvpe_torch.train import TorchTrainer


class Torch(Framework):
    """One device per process; `--nproc_per_node` or `torchrun` starts several."""

    name = "torch"
    devices = "auto, cpu, cuda, cuda:N, sdaa, sdaa:N or mps"

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        text = "processes on this machine, one device each; or start them with torchrun (default: 1)"
        add(group, "nproc_per_node", "-np", type=int, metavar="N", help=text)
        text = "batch norm over all processes instead of over each one's share (default: off; see docs/training.md)"
        group.add_argument("--sync_batch_norm", "--sync-batch-norm", action="store_true", default=None, help=text)

    def relaunch(self, arguments: argparse.Namespace, function: Callable[[], object]) -> int | None:
        return launch.run_processes(arguments.nproc_per_node, arguments.device, function)

    def start(self, arguments: argparse.Namespace) -> Ranks:
        self.ranks, self.device = distributed.start(arguments.device)
        return self.ranks

    def amp_dtype(self) -> str:
        return str(amp_dtype(self.device)).removeprefix("torch.")

    def stop(self) -> None:
        distributed.destroy()

    def trainer(self, config: TrainConfig, initial: Checkpoint | None) -> TorchTrainer:
        return TorchTrainer(config, self.device, initial, self.ranks)
