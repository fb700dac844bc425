"""RMVPE on PyTorch: the network, its checkpoints, prediction and training.

Everything that does not depend on the framework is in `rmvpe`. For programs in torch: `load_model("small")`, an
`nn.Module`. It is imported with its first use; `import rmvpe_torch` imports nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmvpe_torch.checkpoint import load_model

__all__ = ["load_model"]


if not TYPE_CHECKING:  # it would hide a misspelt name from type checkers

    def __getattr__(name: str) -> Any:
        """A public name, imported now (PEP 562). Raises AttributeError for another one."""
        if name not in __all__:
            raise AttributeError(f"module 'rmvpe_torch' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module("rmvpe_torch.checkpoint"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
