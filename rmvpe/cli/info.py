"""`rmvpe info`: which frameworks are installed, which devices they find, which weights are here."""

import argparse
import platform
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

import rmvpe
from rmvpe.backends import INSTALL, MODULES, backend_class, check_numpy, is_installed, python_too_old
from rmvpe.checkpoint.published import PUBLISHED, place_of
from rmvpe.checkpoint.store import bundled_weights
from rmvpe.errors import UserError
from rmvpe.text import printable

SUMMARY = "List the installed frameworks with their devices, and the weights that have a name."
WIDTH = 11


def torch_devices() -> list[str]:
    """The names that `--device` takes with PyTorch on this machine. Raises UserError if a library is missing."""
    backend_class("torch")
    from rmvpe_torch.device import KINDS

    names: list[str] = []
    for kind, row in KINDS.items():
        if not row.why_not():
            names += [f"{kind}:{number}" for number in range(row.count())] if row.numbered else [kind]
    return names


def jax_devices() -> list[str]:
    """The names that `--device` takes with JAX on this machine. Raises UserError if a library is missing."""
    backend_class("jax")
    from rmvpe_jax.device import KINDS, devices_of, name_of, take_memory_as_needed

    take_memory_as_needed()
    return list(dict.fromkeys(name_of(device) for kind in KINDS for device in devices_of(kind)))


def onnx_devices() -> list[str]:
    """The names that `--device` takes with ONNX Runtime on this machine. Raises UserError if a library is missing."""
    backend_class("onnx")
    from onnxruntime import get_available_providers

    from rmvpe_ort.device import KINDS

    return [kind for kind, row in KINDS.items() if row.provider in get_available_providers()]


# Framework -> what lists its devices
DEVICES: Mapping[str, Callable[[], list[str]]] = {"torch": torch_devices, "jax": jax_devices, "onnx": onnx_devices}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No flags."""


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    print("\n".join(report()))
    return 0


def report(
    devices: Mapping[str, Callable[[], list[str]]] = DEVICES, packages: Mapping[str, str] = INSTALL
) -> list[str]:
    """One line per fact. A framework that is missing or broken is a line of its own.

    devices: what lists the devices of each framework; packages: what pip installs for it.
    """
    lines = [
        row("rmvpe", f"{rmvpe.__version__} in {Path(rmvpe.__file__).parent}"),
        row("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    lines += [row(name, describe(name, found, packages[name])) for name, found in devices.items()]
    if is_installed("torch_sdaa"):
        lines.append(row("torch_sdaa", describe_sdaa()))
    lines += [row("weights", describe_weights(name, file)) for name, file in bundled_weights().items()]
    return lines + [row("weights", describe_published(name)) for name in PUBLISHED]


def describe(framework: str, devices: Callable[[], list[str]], packages: str) -> str:
    """Version and devices of a framework, or what is wrong with it and what to do."""
    if why := python_too_old(framework):
        return f"cannot be used: {why}"
    if not is_installed(MODULES[framework]):
        return f"not installed: run pip install {packages}"
    import importlib.metadata

    try:
        found = ", ".join(devices())
        # Its package may be onnxruntime-gpu: the module knows its version whatever it came in
        version = importlib.metadata.version(framework) if framework != "onnx" else onnxruntime_version()
        return f"{version}, devices: {found}"
    except UserError as error:
        return f"does not work: {error}"
    except Exception as error:  # whatever a broken installation raises, the rest of the report is wanted
        # With torch_sdaa, pip's torch would replace the vendor's
        vendors = framework == "torch" and is_installed("torch_sdaa")
        remedy = "install Tecorigin's release again" if vendors else f"run pip install --force-reinstall {packages}"
        return f"does not work ({in_one_line(error)}): {remedy}"


def onnxruntime_version() -> str:
    """Of the installed onnxruntime."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def describe_sdaa() -> str:
    """Whether the installed torch_sdaa works, and with this torch; else what to do."""
    try:
        check_numpy("torch")
        from rmvpe_torch.device import KINDS, sdaa_torch_mismatch

        reason = KINDS["sdaa"].why_not() or sdaa_torch_mismatch()
    except Exception as error:  # as above: torch itself may be broken or missing
        reason = f"{in_one_line(error)}; install Tecorigin's release again"
    return f"warning: {reason}" if reason else "works"


def in_one_line(error: Exception) -> str:
    """Class and message of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def describe_weights(name: str, file: str) -> str:
    """Name, file and size of bundled weights."""
    with resources.as_file(resources.files("rmvpe") / "weights" / file) as path:
        return f"{name} ({file}, {path.stat().st_size / 1e6:.1f} MB)"


def describe_published(name: str) -> str:
    """Name, file and size of published weights, or the command that fetches them. The checksum is not computed."""
    try:
        path = place_of(name)
        if path.is_file():
            return f"{name} ({printable(path)}, {path.stat().st_size / 1e6:.1f} MB)"
    except (UserError, OSError) as error:
        return f"{name} cannot be looked for: {printable(str(error))}"
    return f"{name}, not fetched: run rmvpe fetch {name}"


def row(label: str, text: str) -> str:
    """A line of the report."""
    return f"{label:<{WIDTH}}{text}"
