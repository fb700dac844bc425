"""Where JAX computes: the one place that knows the kinds of device and what each can do."""

import os
from dataclasses import dataclass

import jax

from rmvpe.errors import UserError

ALIASES = {"cuda": "gpu"}


@dataclass(frozen=True)
class Kind:
    """One kind of device.

    remedy: what to do where there is none. float64: it computes in float64. batch_windows: how many inference windows
    go through the network together (one where bandwidth is the limit, more where latency is).
    """

    remedy: str
    float64: bool
    batch_windows: int


KINDS = {
    "cpu": Kind("", float64=True, batch_windows=1),
    "gpu": Kind("install the driver and jax[cuda12], or choose cpu", float64=True, batch_windows=8),
    "tpu": Kind("install jax[tpu] on a machine that has one, or choose cpu", float64=False, batch_windows=8),
}


def resolve(name: str = "auto") -> jax.Device:
    """The JAX device called `name`: auto, cpu, gpu (or cuda), tpu, or one by number such as gpu:1.

    "auto" is the first device of JAX's own choice: an accelerator if it sees one. Raises UserError if there is no such
    device here, with the remedy.
    """
    if name == "auto":
        return jax.local_devices()[0]
    kind, _, index = name.partition(":")
    kind = ALIASES.get(kind, kind)
    if kind not in KINDS or not (index or "0").isdecimal():
        names = ", ".join([*KINDS, *ALIASES])
        raise UserError(f"unknown device {name!r}: choose auto, {names}, or one by number such as gpu:1")
    devices = devices_of(kind)
    if not devices:
        seen = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        raise UserError(f"device {name!r} is not there: JAX sees only {seen}; {KINDS[kind].remedy}")
    if int(index or 0) >= len(devices):
        raise UserError(f"device {name!r} is not there: JAX sees {len(devices)} of them, counted from {kind}:0")
    return devices[int(index or 0)]


def devices_of(kind: str) -> list[jax.Device]:
    """All devices of this process of a kind of `KINDS`; none if JAX cannot use that kind here."""
    try:
        return jax.local_devices(backend=kind)
    except RuntimeError:  # how JAX says that a platform is not installed or does not start
        return []


def kind_of(device: jax.Device) -> Kind:
    """What is known about the kind of `device`."""
    return KINDS[device.platform]


def name_of(device: jax.Device) -> str:
    """The name that `resolve` takes: "cpu", or for an accelerator its number too, as in "gpu:0"."""
    return device.platform if device.platform == "cpu" else f"{device.platform}:{device.local_hardware_id or 0}"


def take_memory_as_needed() -> None:
    """Ask XLA not to reserve three quarters of a GPU at the start, unless the user has said what it should do.

    Heeded only before JAX first looks for devices in this process.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
