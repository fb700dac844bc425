"""Initial weights, drawn by numpy: the same numbers on every device and JAX version, and nothing to compile.

`jax.random` compiles a kernel for each shape, which costs the `small` network ten seconds before the first step.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array


class Draw:
    """A stream of initial weights; `seed` None gives zeros, for weights that a checkpoint replaces."""

    def __init__(self, seed: int | None):
        self.seed = seed
        self._generator = None if seed is None else np.random.default_rng(seed)

    def uniform(self, shape: Sequence[int], bound: float) -> Array:
        """The next weights, U(-bound, bound) in float32; 1 / sqrt(fan in) is torch's default for most layers."""
        if self._generator is None:
            return jnp.asarray(np.zeros(shape, np.float32))
        return jnp.asarray(self._generator.uniform(-bound, bound, shape).astype(np.float32))

    def initializer(self, bound: float) -> nnx.Initializer:
        """`uniform` in the form flax layers ask for; the key they pass is not needed."""

        def initialize(key: Any, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
            return self.uniform(shape, bound).astype(dtype)

        return initialize
