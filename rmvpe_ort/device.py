"""Where ONNX Runtime computes: the only file that knows its execution providers and which package has each.

https://onnxruntime.ai/docs/execution-providers/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from rmvpe.backends import device_name
from rmvpe.errors import UserError

CPU_REMEDY = "or choose cpu"


@dataclass(frozen=True)
class DeviceKind:
    """One kind of device.

    provider: ONNX Runtime's name for it. remedy: what to do where it is missing. numbered: whether there are several.
    precision: of the spectrum on the device. batch_windows: how many inference windows go through the network together.
    automatic: whether "auto" may choose it.
    """

    provider: str
    remedy: str = ""
    numbered: bool = False
    precision: type = np.float64
    batch_windows: int = 1
    automatic: bool = True


# In the order in which "auto" looks for them
KINDS = {
    "cuda": DeviceKind(
        "CUDAExecutionProvider",
        f"run pip install onnxruntime-gpu in place of onnxruntime, {CPU_REMEDY}",
        numbered=True,
        batch_windows=8,
    ),
    "dml": DeviceKind(
        "DmlExecutionProvider",
        f"on Windows, run pip install onnxruntime-directml in place of onnxruntime, {CPU_REMEDY}",
        numbered=True,
        precision=np.float32,
        batch_windows=8,
    ),
    "coreml": DeviceKind(
        "CoreMLExecutionProvider",
        f"onnxruntime has it on a Mac only, {CPU_REMEDY}",
        precision=np.float32,
        automatic=False,
    ),
    "cpu": DeviceKind("CPUExecutionProvider"),
}
ALIASES = {"gpu": ("cuda", "dml")}  # whichever is there


@dataclass(frozen=True)
class Device:
    """A device of this machine: its kind, and its number among those of the kind."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if KINDS[self.kind].numbered else self.kind

    @property
    def providers(self) -> list[Any]:
        """What an `onnxruntime.InferenceSession` takes. Operators that the device lacks run on the CPU."""
        row = KINDS[self.kind]
        first: Any = (row.provider, {"device_id": str(self.index)}) if row.numbered else row.provider
        return [first] if self.kind == "cpu" else [first, KINDS["cpu"].provider]


def resolve(device: Any = "auto", available: Sequence[str] | None = None) -> Device:
    """The device called auto, cpu, cuda, cuda:1, gpu (cuda or dml), dml, dml:1 or coreml.

    It may also be given as for `rmvpe.backends.device_name`. available: the providers of the installed onnxruntime.
    "auto" is the first of cuda, dml and cpu that it has. Raises UserError if it has no such provider, with the remedy.
    """
    has = onnxruntime.get_available_providers() if available is None else available
    name = device_name(device)
    if name == "auto":
        return Device(next(kind for kind, row in KINDS.items() if row.automatic and row.provider in has))
    asked, _, index = name.partition(":")
    kinds = ALIASES.get(asked, (asked,))
    if not set(kinds) <= set(KINDS) or not (index or "0").isdecimal():
        names = ", ".join([*KINDS, *ALIASES])
        raise UserError(f"unknown device {name!r}: choose auto, {names}, or one by number such as cuda:1")
    for kind in kinds:
        if KINDS[kind].provider in has:
            if int(index or 0) and not KINDS[kind].numbered:
                raise UserError(f"device {name!r} does not exist: there is one {kind}")
            return Device(kind, int(index or 0))
    row = KINDS[kinds[0]]
    version = onnxruntime.__version__
    raise UserError(f"device {name!r} cannot be used: onnxruntime {version} has no {row.provider} here; {row.remedy}")
