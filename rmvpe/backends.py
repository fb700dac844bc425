"""What computes: the protocols of a network and of a backend, and how one of the installed runtimes is chosen.

A backend is a package of `PACKAGES` whose module `infer` has a class `Backend`. This is the only place in the core that
reaches one, by its name, so that importing the core imports no runtime. What this machine has is looked up without
importing one either (`rmvpe.accelerators`).
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Protocol

import numpy as np

from rmvpe import accelerators
from rmvpe.batches import Batch
from rmvpe.errors import UserError

BACKENDS = ("torch", "jax", "onnx")
PACKAGES = {"torch": "rmvpe_torch", "jax": "rmvpe_jax", "onnx": "rmvpe_ort"}
MODULES = {"torch": "torch", "jax": "jax", "onnx": "onnxruntime"}  # what must be importable
BESIDES = {"onnx": ("onnx",)}  # and what else: other programs bring onnxruntime alone
INSTALL = {  # what pip installs for a backend
    "torch": "torch",
    "jax": "jax flax orbax-checkpoint",
    "onnx": "onnxruntime onnx",
}
# Kind of device -> the backends that may have it, the preferred one first. On a CPU ONNX Runtime comes first: it
# is the lightest to install and imported in a tenth of the time of torch (0.17 s to 1.8 s on 2 cores)
ON_CPU = ("onnx", "torch", "jax")
DEVICE_BACKENDS = {
    "cpu": ON_CPU,
    "cuda": ("torch", "onnx", "jax"),
    "gpu": ("torch", "onnx", "jax"),
    "sdaa": ("torch",),
    "mps": ("torch",),
    "tpu": ("jax",),
    "dml": ("onnx",),
    "coreml": ("onnx",),
}
MIN_PYTHON = {"jax": (3, 11)}  # of a backend that asks for more than the package: flax 0.12.8 does
THIS_PYTHON = tuple(sys.version_info[:3])


Pair = tuple[np.ndarray, np.ndarray]  # of the forward direction and of the backward one
States = tuple[np.ndarray | None, np.ndarray | None]


class Network(Protocol):
    """One network, in the three parts that long audio needs: `head(bidirectional GRU(features(log_mel)))`.

    Salience is their composition (`rmvpe.chunked_gru`), for prediction and for a trainer's validation alike.
    """

    gru_layers: int
    batch_windows: int  # windows that go through `features` together
    whole_batches: bool  # whether `salience` is the faster way on this device

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        """Log-mel float32 [B, T, n_mels], T a multiple of the U-Net's stride -> input of the GRU [B, T, features].

        lengths: how many frames of each row are its own, each a multiple of the stride too; the rest is filler, finite
        and of no influence on them. What is at the filler's place in the result has no meaning.
        """
        ...

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """One direction of a GRU layer over [T, features] -> [T, hidden]; `reverse` runs from the last frame.

        state: [hidden], the output at the frame before (after, in reverse); None for zeros, as at the ends.
        """
        ...

    def gru_pair(self, xs: Pair, states: States, layer: int) -> Pair:
        """`gru` over the first of `xs`, in reverse over the second: [n, features], [m, features] -> [n and m, hidden].

        states: of each, as for `gru`.
        """
        ...

    def salience(self, batch: Batch) -> np.ndarray:
        """The windows of several recordings -> salience float32 [B, T, 360], without a way back to the host between.

        What lies beyond a recording's own frames has no meaning. Raises NotImplementedError where `whole_batches` is
        false and the runtime has no such way.
        """
        ...

    def head(self, hidden: np.ndarray) -> np.ndarray:
        """The last layer's outputs, forward and backward side by side [T, 2 * hidden] -> salience [T, 360]."""
        ...


class Backend(Network, Protocol):
    """A network on a device of one runtime: `rmvpe_torch.infer.Backend`, and those of `rmvpe_jax` and `rmvpe_ort`."""

    name: str  # one of `BACKENDS`
    device: str  # where it runs, such as "cpu" or "cuda:0"

    @property
    def threads(self) -> int | None:
        """How many threads of the CPU compute; None on another device."""
        ...

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """Audio float32 [B, samples] -> log-mel [B, frames, n_mels] of uncentred frames, computed on the device."""
        ...


def device_name(device: Any) -> str:
    """The name of a device, in lower case: of a name, a `torch.device`, a device of JAX, or the number of a GPU.

    None is "auto". Raises UserError for anything else.
    """
    if device is None:
        return "auto"
    if isinstance(device, str):
        return device.strip().lower()
    if isinstance(device, Integral) and not isinstance(device, bool):
        return f"gpu:{int(device)}"
    library = type(device).__module__.partition(".")[0]
    if library == "torch":
        return str(device)
    if library in ("jax", "jaxlib"):
        number = device.local_hardware_id
        return device.platform if device.platform == "cpu" or number is None else f"{device.platform}:{number}"
    raise UserError(f"device must be a name such as cpu, gpu or cuda:1, or a torch.device, not {device!r}")


def is_installed(package: str) -> bool:
    """Whether a package can be imported. A mere folder of that name in the working directory does not count."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # of "orbax.checkpoint", orbax
        return False
    return spec is not None and spec.origin is not None


def python_too_old(backend: str, python: tuple[int, ...] = THIS_PYTHON) -> str | None:
    """What to do if this Python (major, minor, micro) is too old for a runtime, in a sentence; None if it is not."""
    needed = MIN_PYTHON.get(backend)
    if needed is None or python >= needed:
        return None
    needed_text, python_text = (".".join(map(str, numbers)) for numbers in (needed, python))
    return f"{backend} needs Python {needed_text} or later and this is {python_text}: use a newer Python, or torch here"


def installed_backends(
    is_installed: Callable[[str], bool] = is_installed, python: tuple[int, ...] = THIS_PYTHON
) -> list[str]:
    """The runtimes that can be used here, of `BACKENDS` and in that order."""
    return [
        name
        for name in BACKENDS
        if python_too_old(name, python) is None and all(map(is_installed, (MODULES[name], *BESIDES.get(name, ()))))
    ]


def choose_backend(
    backend: str = "auto",
    device: Any = "auto",
    conv_dtype: str = "float32",
    is_installed: Callable[[str], bool] = is_installed,
    python: tuple[int, ...] = THIS_PYTHON,
    machine: Any = accelerators,
) -> str:
    """The name of an installed runtime: `backend` itself, or for "auto" the one that suits the device and precision.

    Without a device that is torch where it can use an accelerator of this machine, else ONNX, torch, JAX, whichever is
    installed first. A device object of torch or JAX chooses its own runtime. machine: says what this machine has, as
    `rmvpe.accelerators`. Raises UserError if the backend is unknown, not installed, or needs a newer Python.
    """
    if backend not in ("auto", *BACKENDS):
        raise UserError(f"unknown backend {backend!r}: choose auto, {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}")
    if why := python_too_old(backend, python):
        raise UserError(why)
    installed = installed_backends(is_installed, python)
    wanted = preferred(device, conv_dtype, machine) if backend == "auto" else [backend]
    found = [name for name in wanted if name in installed]
    if found:
        kind = device_name(device).partition(":")[0]
        return next((name for name in found if _has(name, kind, machine)), found[0])
    if backend == "auto" and installed:  # none for this device: the first says what is missing
        return installed[0]
    possible = [name for name in wanted if python_too_old(name, python) is None] or list(BACKENDS[:1])
    raise UserError(
        f"{_none_of(possible)} installed: run {' or '.join(f'pip install {INSTALL[name]}' for name in possible)}"
    )


def preferred(device: Any, conv_dtype: str = "float32", machine: Any = accelerators) -> list[str]:
    """The backends that may have a device, the best first, whether or not they are installed."""
    library = type(device).__module__.partition(".")[0].replace("jaxlib", "jax")
    if library in ("torch", "jax"):
        return [library]
    kind = device_name(device).partition(":")[0]
    if kind == "auto":
        kind = "cuda" if machine.torch_has_one() else "cpu"
    order = list(DEVICE_BACKENDS.get(kind, BACKENDS))
    if conv_dtype != "float32" and kind == "cpu":  # onnxruntime computes them in float32 there
        order.sort(key="onnx".__eq__)
    return order


def is_on_cpu(backend: str = "auto", device: Any = "auto", machine: Any = accelerators) -> bool:
    """Whether this choice leads to the CPU, as far as can be seen without importing a runtime.

    Raises UserError as `choose_backend`.
    """
    kind = device_name(device).partition(":")[0]
    if kind != "auto":
        return kind == "cpu"
    name = choose_backend(backend, machine=machine)
    has: bool = {"torch": machine.torch_has_one, "onnx": machine.onnx_has, "jax": machine.jax_has}[name]()
    return not has


def _has(backend: str, kind: str, machine: Any) -> bool:
    """Whether the installed runtime can use such a device, as far as can be seen without importing it."""
    if kind not in ("cuda", "gpu"):
        return True
    has: bool = {"torch": machine.torch_has, "onnx": machine.onnx_has, "jax": machine.jax_has}[backend]()
    return has


def check_numpy(runtime: str, version: Callable[[str], str] | None = None) -> None:
    """Raise UserError for numpy 2 beside a torch from before 2.3, which was built for numpy 1 and cannot use it.

    `version` gives the version of an installed package. Such a torch would only write a long warning when it is
    imported, and fail at its first array.
    """
    if runtime != "torch":
        return
    import importlib.metadata

    version = version or importlib.metadata.version
    if int(version("numpy").split(".")[0]) < 2:
        return
    try:
        torch = version("torch")
    except importlib.metadata.PackageNotFoundError:  # not installed, or installed without its metadata
        return
    if tuple(int(part) for part in torch.split(".")[:2]) < (2, 3):
        raise UserError(
            f"torch {torch} was built for numpy 1, and numpy {version('numpy')} is installed: run pip install 'numpy<2'"
        )


def _none_of(names: Sequence[str]) -> str:
    return f"{names[0]} is not" if len(names) == 1 else f"none of {', '.join(names)} is"


def backend_class(name: str, import_module: Callable[[str], Any] = importlib.import_module) -> Any:
    """The class `Backend` of a runtime package. Raises UserError if something that the package needs is missing."""
    check_numpy(name)
    try:
        return import_module(f"{PACKAGES[name]}.infer").Backend
    except ModuleNotFoundError as error:
        raise UserError(f"backend {name} needs {error.name}: run pip install {INSTALL[name]}") from error
