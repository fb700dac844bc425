"""What a folder of tests needs to be installed; and JAX's settings for the whole run, before jax is imported."""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rmvpe.backends import is_installed

# Folder -> libraries. Where one is missing, the whole folder is skipped, its conftest.py included.
NEEDS = {
    "rmvpe_torch": ("torch",),
    "simulated_sdaa": ("torch",),
    "rmvpe_jax": ("jax", "flax", "optax", "orbax.checkpoint"),
    "rmvpe_ort": ("onnx", "onnxruntime"),
    "parity": ("torch", "jax", "flax", "optax", "orbax.checkpoint", "onnx", "onnxruntime"),
}


class SkippedFolder(pytest.Collector):
    """A folder of tests that cannot run here; the summary names it and what is missing."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Skip."""
        folder = self.path.name
        missing = [name for name in NEEDS[folder] if not is_installed(name)]
        raise pytest.skip.Exception(f"tests/{folder} needs {' and '.join(missing)}, not installed here", pytrace=False)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A skipped folder where a library is missing; everything else is collected as usual."""
    needed = NEEDS.get(path.name, ()) if path.parent == Path(__file__).parent else ()
    if all(is_installed(name) for name in needed):
        return None
    collector: pytest.Collector = SkippedFolder.from_parent(parent, name=path.name, path=path)
    return collector


# Four CPU devices, so that training over several devices is part of every run
FLAG = "--xla_force_host_platform_device_count"
if FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}=4".strip()

# Several tests build the same network: what one has compiled serves the others of this run
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="rmvpe-jax-cache-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Signals as a terminal gives them: nohup ignores SIGHUP and `&` SIGINT, and what is started here inherits that."""
    usual: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL, "SIGTERM": signal.SIG_DFL}
    numbers = {getattr(signal, name): handler for name, handler in usual.items() if hasattr(signal, name)}
    ignored = {number: handler for number, handler in numbers.items() if signal.getsignal(number) == signal.SIG_IGN}
    for number, handler in ignored.items():
        signal.signal(number, handler)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
