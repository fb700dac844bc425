"""A stand-in for Tecorigin's torch_sdaa, for tests on machines without a card.

As with the real one, importing it registers the device `sdaa` and `torch.sdaa`. The device uses the CPU's memory and
kernels; device.cpp says what is simulated. The first import compiles that file, into the folder for temporary files.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import torch
from torch.utils import cpp_extension

from torch_sdaa import device, tccl

NAME = "simulated_sdaa"
SOURCE = Path(__file__).with_name("device.cpp")


def library() -> Path:
    """The compiled device: one per user, torch, Python and source text."""
    versions = f"{torch.__version__}-{sys.version_info.major}.{sys.version_info.minor}"
    text = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"rmvpe-simulated-sdaa-{user}" / f"{versions}-{text}.so"


def _build(path: Path) -> None:
    """Compile and load the device. Other processes may do so too, so the finished file is renamed to `path`."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        cpp_extension.load(NAME, [str(SOURCE)], extra_cflags=["-O1"], build_directory=folder, is_python_module=False)
        os.replace(Path(folder) / f"{NAME}.so", path)


if library().is_file():
    torch.ops.load_library(library())
else:
    _build(library())
torch.utils.rename_privateuse1_backend("sdaa")
torch._register_device_module("sdaa", device)
torch.utils.generate_methods_for_privateuse1_backend()
tccl.register()
