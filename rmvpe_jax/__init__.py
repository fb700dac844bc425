"""RMVPE in JAX: the network (Flax NNX), its checkpoints (Orbax) and the backend of `rmvpe.load(backend="jax")`.

For programs in JAX: `salience(params, log_mel)`, a pure function, and `load_params`. They are imported with their first
use; `import rmvpe_jax` imports nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmvpe_jax.functional import Params, load_params, salience

__all__ = ["Params", "load_params", "salience"]


if not TYPE_CHECKING:  # it would hide a misspelt name from type checkers

    def __getattr__(name: str) -> Any:
        """A public name, imported now (PEP 562). Raises AttributeError for another one."""
        if name not in __all__:
            raise AttributeError(f"module 'rmvpe_jax' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module("rmvpe_jax.functional"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
