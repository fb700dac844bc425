"""Where torch computes: the one place that knows the kinds of device, what each can do, and `torch_sdaa`.

A kind is a row of `KINDS`; everything else asks this file instead of looking at device names.
"""

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from rmvpe.errors import UserError

CPU_REMEDY = "or choose cpu"


@dataclass(frozen=True)
class Kind:
    """One kind of device.

    why_not: "" if such a device can be used here, else what is missing and what to do. count: how many there are.
    module: torch's module for it, with `manual_seed` and the like. complex_fft: `torch.fft` works there; otherwise
    spectra are computed as real matrix products. batch_windows: how many inference windows go through the network
    together (one where bandwidth is the limit, more where latency is). process_group: the backend of
    `torch.distributed`. automatic: "auto" may choose it.
    """

    why_not: Callable[[], str]
    count: Callable[[], int]
    module: Callable[[], Any]
    complex_fft: bool
    batch_windows: int
    process_group: str
    automatic: bool


def resolve(name: str = "auto") -> torch.device:
    """The torch device called `name`: auto, cpu, cuda, cuda:1, sdaa, sdaa:1 or mps; "auto" is the first that is there.

    Apple's GPU is used when asked for only: this project has not been measured on it. Raises UserError if there is no
    such device here, with the remedy.
    """
    if name == "auto":
        usable = (kind for kind, row in KINDS.items() if row.automatic and not row.why_not())
        return resolve(next(usable))
    kind, _, index = name.partition(":")
    if kind not in KINDS or not (index or "0").isdecimal():
        raise UserError(f"unknown device {name!r}: choose auto, {', '.join(KINDS)}, or one by number such as cuda:1")
    reason = KINDS[kind].why_not()
    if reason:
        raise UserError(f"device {name!r} is not there: {reason}")
    count = KINDS[kind].count()
    if int(index or 0) >= count:
        raise UserError(f"device {name!r} is not there: this machine has {count} of them, counted from {kind}:0")
    return torch.device("cpu") if kind == "cpu" else torch.device(kind, int(index or 0))


def kind_of(device: torch.device) -> Kind:
    """What is known about the kind of `device`."""
    return KINDS[device.type]


def seed(device: torch.device, value: int) -> None:
    """Seed torch's random numbers on the CPU and on `device`."""
    torch.manual_seed(value)
    kind_of(device).module().manual_seed(value)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context in which float32 convolutions and recurrent layers are float32.

    NVIDIA's default for them is TF32, whose ten bits of mantissa move salience by more than the frameworks may differ.
    """
    if device.type != "cuda":
        return nullcontext()
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )


def _cuda_why_not() -> str:
    if torch.cuda.is_available():
        return ""
    return f"torch {torch.__version__} sees no CUDA GPU; install the driver and a CUDA build of torch, {CPU_REMEDY}"


def _mps_why_not() -> str:
    if torch.backends.mps.is_available():
        return ""
    return f"torch {torch.__version__} sees no Apple GPU; it needs a Mac with Apple silicon, {CPU_REMEDY}"


def _sdaa_why_not() -> str:
    if importlib.util.find_spec("torch_sdaa") is None:
        return f"torch_sdaa is not installed; install it from Tecorigin's release, {CPU_REMEDY}"
    try:
        available = _sdaa().is_available()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"torch_sdaa cannot be used ({error}); mend its installation, {CPU_REMEDY}"
    return "" if available else f"torch_sdaa finds no card; check the driver, {CPU_REMEDY}"


def _sdaa() -> Any:
    """`torch.sdaa`, which importing `torch_sdaa` registers; it mirrors `torch.cuda`."""
    importlib.import_module("torch_sdaa")
    return vars(torch)["sdaa"]


# In the order in which "auto" looks; the CPU is always there
KINDS: dict[str, Kind] = {
    "cuda": Kind(_cuda_why_not, lambda: torch.cuda.device_count(), lambda: torch.cuda, True, 8, "nccl", True),
    # Whether complex numbers run natively on SDAA is unknown, so it is not asked to
    "sdaa": Kind(_sdaa_why_not, lambda: _sdaa().device_count(), _sdaa, False, 8, "tccl", True),
    "mps": Kind(_mps_why_not, lambda: 1, lambda: torch.mps, False, 4, "gloo", False),
    "cpu": Kind(lambda: "", lambda: 1, lambda: torch, True, 1, "gloo", True),
}
