"""Where JAX computes: the only file that knows the kinds of device and what each can do."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from rmvpe.backends import device_name
from rmvpe.errors import UserError

ALIASES = {"cuda": "gpu"}
YNNPACK_WITHOUT_CONVOLUTIONS = ("LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT", "LIBRARY_FUSION_TYPE_REDUCE")


@dataclass(frozen=True)
class DeviceKind:
    """One kind of device."""

    remedy: str  # what to do where there is no such device
    float64: bool  # whether it computes in float64
    batch_windows: int  # inference windows that go through the network together: 1 where bandwidth is the limit
    whole_batches: bool = True  # whether recordings go through it without a way back to the host


KINDS = {
    "cpu": DeviceKind("", float64=True, batch_windows=1, whole_batches=False),
    "gpu": DeviceKind("install the driver and jax[cuda12], or choose cpu", float64=True, batch_windows=8),
    "tpu": DeviceKind("install jax[tpu] on a machine that has one, or choose cpu", float64=False, batch_windows=8),
}


def devices_of(kind: str) -> list[jax.Device]:
    """All devices of this process of a kind of `KINDS`; none if JAX cannot use that kind here."""
    try:
        return jax.local_devices(backend=kind)
    except RuntimeError:  # how JAX says that a platform is not installed or does not start
        return []


def resolve(device: Any = "auto", devices_of: Callable[[str], list[jax.Device]] = devices_of) -> jax.Device:
    """The JAX device called auto, cpu, gpu (or cuda), tpu, or one by number such as gpu:1.

    It may also be given as for `rmvpe.backends.device_name`. "auto" is the first device of JAX's own choice: an
    accelerator if JAX finds one. Raises UserError, with the remedy, if there is no such device here.
    """
    name = device_name(device)
    if name == "auto":
        return jax.local_devices()[0]
    kind, _, index = name.partition(":")
    kind = ALIASES.get(kind, kind)
    if kind not in KINDS or not (index or "0").isdecimal():
        names = ", ".join([*KINDS, *ALIASES])
        raise UserError(f"unknown device {name!r}: choose auto, {names}, or one by number such as gpu:1")
    devices = devices_of(kind)
    if not devices:
        found = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        raise UserError(f"device {name!r} is not there: JAX finds only {found}; {KINDS[kind].remedy}")
    if int(index or 0) >= len(devices):
        raise UserError(f"device {name!r} is not there: JAX finds {len(devices)} of them, counted from {kind}:0")
    return devices[int(index or 0)]


def kind_of(device: jax.Device) -> DeviceKind:
    """The kind of `device`. Raises KeyError if it is none of `KINDS`."""
    return KINDS[device.platform]


def name_of(device: jax.Device) -> str:
    """The name that `resolve` takes: "cpu", or for an accelerator its number too, as in "gpu:0"."""
    return device.platform if device.platform == "cpu" else f"{device.platform}:{device.local_hardware_id or 0}"


@functools.cache
def training_options(device: jax.Device) -> dict[str, str]:
    """Options of XLA with which a training step is compiled for `device`; none if this version does not know them.

    On a CPU: without YNNPACK's convolutions. They divide the work among threads only if the last axis of an image is
    long. In training it has 128 places or fewer: a step of `small` takes 1.15 times as long with them, on two cores.
    """
    if device.platform != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": ",".join(YNNPACK_WITHOUT_CONVOLUTIONS)}
    try:
        with jax.default_device(device):
            jax.jit(lambda x: x, compiler_options=options).lower(np.float32(0)).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def take_memory_as_needed() -> None:
    """Ask XLA not to reserve three quarters of a GPU's memory at the start, unless the user has set that variable.

    It works only before JAX first looks for devices in this process.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
