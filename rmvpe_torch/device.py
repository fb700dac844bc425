"""The devices that PyTorch can compute on: the kinds there are, what each can do, and everything about `torch_sdaa`.

Each kind of device is a row of `KINDS`. Other files ask this one and never compare device names.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rmvpe.backends import device_name
from rmvpe.errors import UserError
from rmvpe_torch import compat

CPU_REMEDY = "or choose cpu"
ALIASES = {"gpu": "cuda"}  # as JAX calls it
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
# Without them an SDAA card computes float32 convolutions in float16, forward and backward; Tecorigin's ModelZoo sets 1
SDAA_FLOAT32_VARIABLES = ("TORCH_SDAA_CONV_USE_FP32", "TORCH_SDAA_CONV2D_BACKWARD_USE_FP32")


@dataclass(frozen=True)
class DeviceKind:
    """One kind of device.

    why_not: "" if such a device can be used here, else what is missing and what to do. module: torch's module for it,
    with `manual_seed` and others. amp_dtype: the low precision that is fast on a device of this kind. count: how many
    there are. complex_fft: whether `torch.fft` works there; otherwise spectra are computed as real matrix products.
    batch_windows: how many inference windows go through the network together (one where bandwidth is the limit, more
    where latency is). whole_batches: whether recordings go through it without a way back to the host. pinned: whether a
    copy from memory that the system cannot move goes on beside the computation. process_group: the backend of
    `torch.distributed`. automatic: whether "auto" may choose it. numbered: whether there may be several, so that each
    process chooses one. channels_last: whether convolutions are faster, or no slower, on images whose channels lie
    together. ranks_per_card: how many of the devices are one card. arranged_training: whether the network is rearranged
    for training (`rmvpe_torch.cpu_training`).
    """

    why_not: Callable[[], str]
    module: Callable[[], Any]
    amp_dtype: Callable[[torch.device], torch.dtype]
    count: Callable[[], int] = lambda: 1
    complex_fft: bool = True
    batch_windows: int = 1
    whole_batches: bool = False
    pinned: bool = False
    process_group: str = "gloo"
    automatic: bool = True
    numbered: bool = False
    channels_last: bool = True
    ranks_per_card: int = 1
    arranged_training: bool = False


def cuda_amp_dtype(capability: tuple[int, int]) -> torch.dtype:
    """The fast low precision of an NVIDIA GPU of this compute capability, such as (8, 0)."""
    # Ampere is the first with bfloat16 in hardware; torch also counts GPUs that only emulate it
    return torch.bfloat16 if capability >= (8, 0) else torch.float16


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
    except Exception as error:  # whatever a package for another torch raises
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = sdaa_torch_mismatch() or "fix its installation"
        return f"torch_sdaa cannot be used ({reason}); {remedy}, {CPU_REMEDY}"
    return "" if available else f"torch_sdaa finds no card; check the driver, {CPU_REMEDY}"


def sdaa_torch_mismatch(torch_version: str = str(torch.__version__)) -> str:
    """What to do if the installed torch_sdaa asks for another torch, with both versions; "" if it does not.

    Tecorigin's torch is a pre-release such as 2.0.0a0+gitdfe6533, which stands for its release 2.0.0 too.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import Version

    try:
        package = importlib.metadata.distribution("torch_sdaa")
        wanted = [Requirement(line) for line in package.requires or ()]
    except (importlib.metadata.PackageNotFoundError, InvalidRequirement):
        return ""  # nothing is stated
    own = Version(torch_version)
    for row in wanted:
        fits = any(row.specifier.contains(version, prereleases=True) for version in (own, Version(own.base_version)))
        if row.name.lower() == "torch" and not fits:
            return (
                f"torch_sdaa {package.version} asks for torch{row.specifier} and torch {torch_version} is installed: "
                "install the torch of Tecorigin's release again"
            )
    return ""


def use_float32_convolutions(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let SDAA cards compute float32 convolutions in float32; a variable that the user has set stays as it is.

    To be called before the process uses a card: when torch_sdaa reads the variables is not documented.
    """
    for name in SDAA_FLOAT32_VARIABLES:
        environ.setdefault(name, "1")


def _sdaa() -> Any:
    """`torch.sdaa`, which importing `torch_sdaa` registers; it mirrors `torch.cuda`."""
    importlib.import_module("torch_sdaa")
    return vars(torch)["sdaa"]


# "auto" takes the first that can be used; the CPU always can
KINDS: dict[str, DeviceKind] = {
    "cuda": DeviceKind(
        why_not=_cuda_why_not,
        module=lambda: torch.cuda,
        amp_dtype=lambda device: cuda_amp_dtype(torch.cuda.get_device_capability(device)),
        count=lambda: torch.cuda.device_count(),
        batch_windows=8,
        whole_batches=True,
        pinned=True,
        process_group="nccl",
        numbered=True,
    ),
    "sdaa": DeviceKind(
        why_not=_sdaa_why_not,
        module=_sdaa,
        amp_dtype=lambda device: torch.float16,
        count=lambda: _sdaa().device_count(),
        complex_fft=False,  # we do not know whether complex numbers run natively
        batch_windows=8,
        process_group="tccl",
        numbered=True,
        ranks_per_card=4,  # a card has four core groups, and each counts as a device
    ),
    "mps": DeviceKind(
        why_not=_mps_why_not,
        module=lambda: torch.mps,
        amp_dtype=lambda device: torch.float16,
        complex_fft=False,
        batch_windows=4,
        automatic=False,  # we have not measured this project on it
        channels_last=False,
    ),
    "cpu": DeviceKind(
        why_not=lambda: "", module=lambda: torch, amp_dtype=lambda device: torch.bfloat16, arranged_training=True
    ),
}


def resolve(device: Any = "auto", kinds: Mapping[str, DeviceKind] = KINDS) -> torch.device:
    """The torch device called auto, cpu, cuda, cuda:1, gpu (which is cuda), sdaa, sdaa:1 or mps.

    It may also be given as for `rmvpe.backends.device_name`. "auto" is the first of cuda, sdaa and cpu that this
    machine has; mps is used only on request. Raises UserError if this machine has no such device, with the remedy.
    """
    name = device_name(device)
    if name == "auto":
        name = next(kind for kind, row in kinds.items() if row.automatic and not row.why_not())
    kind, _, index = name.partition(":")
    kind = ALIASES.get(kind, kind)
    if kind not in kinds or not (index or "0").isdecimal():
        raise UserError(f"unknown device {name!r}: choose auto, {', '.join(kinds)}, or one by number such as cuda:1")
    reason = kinds[kind].why_not()
    if reason:
        raise UserError(f"device {name!r} cannot be used: {reason}")
    count = kinds[kind].count()
    if int(index or 0) >= count:
        raise UserError(f"device {name!r} does not exist: this machine has {count} of them, counted from {kind}:0")
    return torch.device("cpu") if kind == "cpu" else torch.device(kind, int(index or 0))


def kind_of(device: torch.device) -> DeviceKind:
    """What is known about the kind of `device`."""
    return KINDS[device.type]


def seed(device: torch.device, value: int) -> None:
    """Seed torch's random numbers on the CPU and on `device`."""
    torch.manual_seed(value)
    kind_of(device).module().manual_seed(value)


def set_device(device: torch.device) -> None:
    """Make `device` this process's current one, so that "cuda" without a number, and random numbers, mean this one."""
    if kind_of(device).numbered:
        kind_of(device).module().set_device(device)


def memory_format(device: torch.device) -> torch.memory_format:
    """The memory layout that suits images [B, C, T, F] on `device`; the numbers are the same."""
    return torch.channels_last if kind_of(device).channels_last else torch.contiguous_format


def process_group(device: torch.device) -> str:
    """The backend of `torch.distributed` for devices of this kind: nccl, tccl or gloo."""
    return kind_of(device).process_group


def amp_dtype(device: torch.device) -> torch.dtype:
    """The low precision that `device` is fast in: bfloat16, or float16 where there is nothing better."""
    return kind_of(device).amp_dtype(device)


def needs_scaler(dtype: torch.dtype) -> bool:
    """Whether gradients must be scaled up to survive `dtype`: only float16, whose smallest number is 6e-8."""
    return dtype == torch.float16


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A context in which convolutions and matrix products on `device` run in `dtype`, on tensors kept in float32.

    `dtype` is float16 or bfloat16; with any other the context does nothing.
    """
    if dtype not in (torch.float16, torch.bfloat16):
        return nullcontext()
    if device.type == "sdaa":
        amp = _sdaa().amp
        # Tecorigin documents float16, without an argument
        return amp.autocast() if dtype == torch.float16 else amp.autocast(dtype=dtype)
    return torch.autocast(device.type, dtype=dtype)


def grad_scaler(device: torch.device, enabled: bool) -> Any:
    """A gradient scaler for `device` (scale, unscale_, step, update, get_scale, state_dict); no effect if not enabled.

    Raises UserError if it is enabled and this torch has none for such a device.
    """
    if device.type == "sdaa":
        return _sdaa().amp.GradScaler(enabled=enabled)
    return compat.grad_scaler(device.type, enabled)


@contextmanager
def out_of_memory_errors(device: torch.device) -> Iterator[None]:
    """Around training steps: an error of full device memory becomes a UserError that says which flags to change."""
    try:
        yield
    except RuntimeError as error:
        # CUDA has an exception class for it; the CPU and other devices only say so in the message
        if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise
        raise UserError(
            f"{device} has too little memory for this run: choose a smaller --batch_size, "
            "with a larger --grad_accumulation to make up for it, or --amp"
        ) from error


def moved(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The array on the device; where it can, the copy is made while the device still computes something else."""
    tensor, pinned = torch.from_numpy(array), kind_of(device).pinned
    return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=pinned)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context in which float32 convolutions and recurrent layers are float32.

    NVIDIA's default for them is TF32, whose 10 bits of mantissa change salience by more than the frameworks may differ.
    """
    return nullcontext() if device.type != "cuda" else _without_tf32


class _WithoutTf32:
    """A context in which this process computes without TF32. The switch is the process's, so threads count together."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.backends.cudnn.allow_tf32
                torch.backends.cudnn.allow_tf32 = False
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.backends.cudnn.allow_tf32 = self._before


_without_tf32 = _WithoutTf32()
