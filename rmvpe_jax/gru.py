"""A bidirectional GRU (Cho et al. 2014, arXiv:1406.1078) with torch's arithmetic, weights and names.

`nnx.GRUCell` cannot hold torch's weights: it has no hidden bias b_hn in n = tanh(W_in x + b_in + r (W_hn h + b_hn)).
Here both bias vectors exist, the gates have torch's order (r, z, n), and every tensor has torch's name and shape, so
that conversion is the identity. Parameters and state are always float32 (float64 in a float64 model).

Shapes: B batch, T frames.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from rmvpe_jax.layers import Draw

GATES = 3  # r reset, z update, n new: torch's order


class GRU(nnx.Module):
    """Layers of a forward and a backward GRU each, as `torch.nn.GRU(batch_first=True, bidirectional=True)`."""

    def __init__(self, features: int, hidden: int, layers: int, draw: Draw):
        self.hidden = hidden
        self.layers = layers
        bound = hidden**-0.5  # torch's default initialisation
        for layer in range(layers):
            inputs = features if layer == 0 else 2 * hidden
            for suffix in (f"l{layer}", f"l{layer}_reverse"):
                for name, shape in gru_shapes(inputs, hidden).items():
                    setattr(self, f"{name}_{suffix}", nnx.Param(draw.uniform(shape, bound)))

    def __call__(self, x: Array) -> Array:
        """[B, T, features] -> [B, T, 2 * hidden]."""
        for layer in range(self.layers):
            forward = gru(x, *self.weights(layer, reverse=False))
            backward = gru(x, *self.weights(layer, reverse=True), reverse=True)
            x = jnp.concatenate((forward, backward), axis=-1)
        return x

    def weights(self, layer: int, *, reverse: bool) -> tuple[Array, ...]:
        """The weights of one direction of a layer, as arguments of `gru`."""
        suffix = f"l{layer}_reverse" if reverse else f"l{layer}"
        return tuple(getattr(self, f"{name}_{suffix}")[...] for name in gru_shapes(0, 0))


def gru_shapes(features: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one direction's weights by name (torch's, without the suffix for layer and direction)."""
    rows = GATES * hidden
    return {
        "weight_ih": (rows, features),
        "weight_hh": (rows, hidden),
        "bias_ih": (rows,),
        "bias_hh": (rows,),
    }


def gru(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    *,
    reverse: bool = False,
) -> Array:
    """One direction of a GRU, [B, T, features] -> [B, T, hidden]; `reverse` runs from the last frame to the first.

    The weights have torch's shapes (`gru_shapes`); the state before the first step is zeros.
    """
    step, gates_x = _steps(x, weight_ih, weight_hh, bias_ih, bias_hh)
    start = jnp.zeros((x.shape[0], weight_hh.shape[1]), gates_x.dtype)
    # Not unrolled: that was never faster on a CPU (T x B 2048 x 1 and 128 x 32, hidden 128 and 256) and compiles longer
    _, out = lax.scan(lambda h, gate_x: (step(h, gate_x),) * 2, start, gates_x, reverse=reverse)
    return out.swapaxes(0, 1)  # [T, B, hidden] -> [B, T, hidden]


def gru_of_length(
    x: Array,
    frames: Array,
    start: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
) -> Array:
    """As `gru` over the first `frames` (int32 []) of x [B, T, features], and zeros: one program for any length."""
    step, gates_x = _steps(x, weight_ih, weight_hh, bias_ih, bias_hh)

    def advance(t: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        h, out = carry
        h = step(h, gates_x[t])
        return h, out.at[t].set(h)

    out = jnp.zeros((x.shape[1], *start.shape), gates_x.dtype)
    return lax.fori_loop(0, frames, advance, (start, out))[1].swapaxes(0, 1)


def bidirectional(x: Array, frames: Array, forward: tuple[Array, ...], backward: tuple[Array, ...]) -> Array:
    """Both directions of a layer in one loop: [B, T, features] -> [B, T, 2 * hidden], with the weights of `gru` each.

    frames: int32 [B]; the backward direction of row k starts at its frame `frames[k] - 1`.
    """
    step_ahead, gates_ahead = _steps(x, *forward)
    step_back, gates_back = _steps(x, *backward)
    last = x.shape[1] - 1
    zeros = jnp.zeros((x.shape[0], forward[1].shape[1]), gates_ahead.dtype)

    def step(states: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        ahead = step_ahead(states[0], gates_ahead[t])
        is_own = (last - t < frames)[:, None]  # [B, 1]
        back = jnp.where(is_own, step_back(states[1], gates_back[last - t]), 0.0)
        return (ahead, back), (ahead, back)

    _, (ahead, back) = lax.scan(step, (zeros, zeros), jnp.arange(x.shape[1]))
    return jnp.concatenate((ahead, back[::-1]), axis=-1).swapaxes(0, 1)


def _steps(
    x: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array
) -> tuple[Callable[[Array, Array], Array], Array]:
    """The function from a state [B, hidden] to the next, and its second argument for each frame [T, B, 3 * hidden]."""
    # The input's part of the gates does not depend on the state: one large product for all frames, outside the loop
    gates_x = jnp.einsum("btf,gf->tbg", x, weight_ih, precision=lax.Precision.HIGHEST) + bias_ih[None, None]
    weight = weight_hh.T

    def step(h: Array, gate_x: Array) -> Array:
        gate_h = jnp.dot(h, weight, precision=lax.Precision.HIGHEST) + bias_hh[None]  # [B, 3 * hidden]
        r_x, z_x, n_x = jnp.split(gate_x, GATES, axis=-1)
        r_h, z_h, n_h = jnp.split(gate_h, GATES, axis=-1)
        r = jax.nn.sigmoid(r_x + r_h)
        z = jax.nn.sigmoid(z_x + z_h)
        n = jnp.tanh(n_x + r * n_h)
        return (1 - z) * n + z * h

    return step, gates_x
