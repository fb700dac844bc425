"""What differs between the versions of PyTorch that we support, from 2.0 on; other files do not ask for a version.

Tecorigin's older stack has PyTorch 2.0.0a0, a build from before 2.0.0.
"""

import inspect
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rmvpe.errors import UserError


def save(content: object, file: Any) -> None:
    """`torch.save` into an open binary file. Given a name, torch would write that name into the file.

    Raises the file's own OSError, such as a full disk: torch raises a RuntimeError without the reason.
    """
    output = _Output(file)
    try:
        with _quiet_storages():
            torch.save(content, output)  # type: ignore[arg-type]  # it calls write and flush alone
    except RuntimeError as error:
        raise output.error or error from None


class _Output:
    """A binary file that keeps the error of a failed write."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return int(self.file.write(data))
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


@contextmanager
def _quiet_storages() -> Iterator[None]:
    """Torch 2.0 warns of its own use of TypedStorage in `torch.save`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TypedStorage is deprecated", category=UserWarning)
        yield


def grad_scaler(device_type: str, enabled: bool) -> Any:
    """Torch's gradient scaler for "cuda", "cpu" or "mps"; before torch 2.3 it has one for CUDA only.

    Raises UserError if it is enabled and this torch has none for such a device.
    """
    if hasattr(torch.amp, "GradScaler"):  # torch 2.3
        return torch.amp.GradScaler(device_type, enabled=enabled)
    if enabled and device_type != "cuda":
        raise UserError(
            f"torch {torch.__version__} cannot scale gradients on {device_type}: choose bfloat16 or float32 "
            "instead of float16, or install torch 2.3 or later"
        )
    return torch.cuda.amp.GradScaler(enabled=enabled)


def data_parallel(module: nn.Module) -> DistributedDataParallel:
    """The module with gradients that are averaged over all processes while the backward pass still runs.

    Torch's default, to copy batch norm's statistics from process 0 before each step, is off: the trainer averages them.
    """
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # its name before 2.13
    settings: dict[str, Any] = {name: False, "gradient_as_bucket_view": True}
    return DistributedDataParallel(module, **settings)


def has_fused_adam(device_type: str) -> bool:
    """Whether Adam updates each number in one pass on the CPU: torch does so since 2.4, in half the time."""
    release = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    return device_type == "cpu" and release >= (2, 4)
