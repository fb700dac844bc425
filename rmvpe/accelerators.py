"""Which accelerators this machine has and the installed runtimes were built for, found without importing a runtime.

A look at files and at the metadata of packages: it takes a millisecond where importing torch takes seconds. It says
what is worth trying; whether a device really works is seen when a backend opens it.
"""

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

# The driver's files on Linux, in WSL (Windows' own driver), and on Windows
NVIDIA_DRIVER = (
    "/proc/driver/nvidia/version",
    "/usr/lib/wsl/lib/libcuda.so.1",
    os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll"),
)
ROCM_DRIVER = ("/dev/kfd",)  # AMD's, which torch calls cuda as well
ONNX_GPU_PACKAGES = ("onnxruntime-gpu", "onnxruntime-directml")
JAX_GPU_PACKAGES = ("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm60-plugin", "jax-rocm7-plugin")


def has_gpu_driver(files: Sequence[str] = (*NVIDIA_DRIVER, *ROCM_DRIVER)) -> bool:
    """Whether a driver is there that torch's device "cuda" needs."""
    return any(os.path.exists(file) for file in files)


def torch_has() -> bool:
    """Whether the installed torch was built for CUDA (or ROCm); False without torch.

    Its file version.py says so; the version that pip knows does not, for Windows' builds.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return True  # another way of building it: torch itself will say
    built_for = dict(re.findall(r"^(\w+)(?:\s*:[^=\n]*)?\s*=\s*(.+)$", text, re.MULTILINE))
    return any(built_for.get(name, "None").strip() != "None" for name in ("cuda", "hip"))


def onnx_has() -> bool:
    """Whether one of onnxruntime's packages for GPUs is installed."""
    return any(_is_distribution(name) for name in ONNX_GPU_PACKAGES)


def jax_has() -> bool:
    """Whether one of JAX's plugins for GPUs is installed."""
    return any(_is_distribution(name) for name in JAX_GPU_PACKAGES)


def torch_has_one() -> bool:
    """Whether torch has an accelerator here: a GPU with its driver, an SDAA card's package, or an Apple chip."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return apple or importlib.util.find_spec("torch_sdaa") is not None or (has_gpu_driver() and torch_has())


def _is_distribution(name: str) -> bool:
    import importlib.metadata  # where a GPU is asked for: with email and socket it takes 10 ms

    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
