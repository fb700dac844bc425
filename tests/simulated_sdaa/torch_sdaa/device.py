"""`torch.sdaa`: those functions of the real package that this project or torch calls."""

from typing import Any

import torch
from torch import Tensor

from torch_sdaa import amp as amp

CORE_GROUPS = 4  # of one card, each of which counts as a device


def is_available() -> bool:
    return True


def device_count() -> int:
    return CORE_GROUPS


def current_device() -> int:
    return torch.ops.simulated_sdaa.current_device()


def set_device(device: torch.device | int | str) -> None:
    index = device if isinstance(device, int) else torch.device(device).index
    if index is not None:
        torch.ops.simulated_sdaa.set_device(index)


def synchronize(device: Any = None) -> None:
    pass


def _is_in_bad_fork() -> bool:
    return False


def _lazy_init() -> None:
    pass


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.float16, torch.bfloat16]


# The simulated card draws from the CPU's generator, so that dropout is the same there


def manual_seed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)


manual_seed_all = manual_seed


def get_rng_state(device: Any = "sdaa") -> Tensor:
    return torch.get_rng_state()


def set_rng_state(state: Tensor, device: Any = "sdaa") -> None:
    torch.set_rng_state(state)


def host_copies() -> int:
    """Copies from the device to the host so far; each makes a real device wait. The simulation's own."""
    return torch.ops.simulated_sdaa.counts()[0]


def device_copies() -> int:
    """Copies from the host to the device so far. The simulation's own."""
    return torch.ops.simulated_sdaa.counts()[1]


def operators_run() -> int:
    """Operators that ran on the device so far. The simulation's own."""
    return torch.ops.simulated_sdaa.counts()[2]
