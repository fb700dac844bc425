"""What PyTorch brings to the command line of a training run: its devices, and one process for each of them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import TrainConfig
from rmvpe.processes import Ranks
from rmvpe.training.launch import add_flag

if TYPE_CHECKING:
    import torch

    from rmvpe_torch.train import TorchTrainer


@dataclass(frozen=True)
class TorchSession:
    """This process's device, in the group of all processes."""

    ranks: Ranks
    device: "torch.device"

    def amp_dtype(self) -> str:
        """The low precision that the device is fast in: "bfloat16" or "float16"."""
        from rmvpe_torch.device import amp_dtype

        return str(amp_dtype(self.device)).removeprefix("torch.")

    def trainer(self, config: TrainConfig, initial: Checkpoint | None) -> "TorchTrainer":
        """A trainer on the device."""
        from rmvpe_torch.train import TorchTrainer

        return TorchTrainer(config, self.device, initial, self.ranks)

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in their order."""
        from rmvpe_torch import distributed

        return distributed.gather(self.ranks, self.device, text)

    def stop(self) -> None:
        """Leave the group of processes."""
        from rmvpe_torch import distributed

        distributed.destroy()


@dataclass(frozen=True)
class TorchProcesses:
    """One device per process.

    nproc_per_node: processes of this machine; None leaves it to `torchrun`. sdaa_conv_fp32: as in the config.
    """

    device: str
    nproc_per_node: int | None
    sdaa_conv_fp32: bool = False

    def relaunch(self, function: Callable[[], object]) -> int | None:
        """Call `function` in `nproc_per_node` processes; None if this process is one of them, or the only one."""
        from rmvpe_torch.launch import run_processes

        return run_processes(self.nproc_per_node, self.device, function)

    def start(self) -> TorchSession:
        """Find the device and join the other processes. Raises UserError."""
        from rmvpe_torch import distributed
        from rmvpe_torch.device import use_float32_convolutions

        if self.sdaa_conv_fp32:
            use_float32_convolutions()
        return TorchSession(*distributed.start(self.device))


class Torch:
    """The `rmvpe.training.launch.Runtime` of PyTorch."""

    name = "torch"
    libraries: tuple[str, ...] = ("torch",)
    devices = "auto, cpu, cuda, cuda:N, sdaa, sdaa:N or mps"

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Flags about processes."""
        text = "processes on this machine, one device each; or start them with torchrun (default: 1)"
        add_flag(group, "nproc_per_node", "-np", "-npn", type=int, metavar="N", help=text)
        text = "batch norm over all processes instead of over each one's share (default: off; see docs/devices.md)"
        add_flag(group, "sync_batch_norm", action="store_true", default=None, help=text)
        text = "SDAA: convolutions in float32, not in the card's default (default: off; see docs/sdaa.md)"
        add_flag(group, "sdaa_conv_fp32", action="store_true", default=None, help=text)

    def processes(self, arguments: argparse.Namespace, config: TrainConfig) -> TorchProcesses:
        """The device and the number of processes that the flags ask for."""
        return TorchProcesses(arguments.device, arguments.nproc_per_node, config.sdaa_conv_fp32)
