"""The network as a pure function of its parameters, for `jax.jit`, `jax.vmap` and `jax.grad`.

    params = rmvpe_jax.load_params("small")
    salience = jax.jit(rmvpe_jax.salience)(params, log_mel)

It computes what the backend of `rmvpe.load(backend="jax")` computes, in evaluation mode: running batch statistics, no
dropout. Nothing is drawn at random and nothing is kept between calls.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from rmvpe.checkpoint import store
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ModelConfig
from rmvpe.framing import round_up
from rmvpe_jax.model import RMVPE
from rmvpe_jax.params import nnx_to_torch, torch_to_nnx

Tree = dict[str, Any]  # arrays in nested dicts, by the parts of their dotted NNX paths


@partial(jax.tree_util.register_dataclass, data_fields=["weights", "statistics"], meta_fields=["config"])
@dataclass(frozen=True)
class Params:
    """The parameters of one network, a pytree.

    weights: what training changes, float32 in nested dicts by NNX path: `weights["fc"]["1"]["kernel"]` is [2 * hidden,
    360]. statistics: the batch norms' running mean and variance, in the same way. config: the network, static under
    `jit`. Shapes and paths are those of `rmvpe_jax.params.table`; `jax.tree.map` changes the type of all arrays.
    """

    weights: Tree
    statistics: Tree
    config: ModelConfig


def load_params(weights: str | os.PathLike[str] | Checkpoint = "small") -> Params:
    """The parameters of bundled weights, of a file or folder (as `rmvpe.load` takes them), or of a `Checkpoint`.

    Raises UserError if there are no such weights, or if they do not fit their config.
    """
    checkpoint = weights if isinstance(weights, Checkpoint) else store.load(weights)
    flat = torch_to_nnx(checkpoint.tensors, checkpoint.config)
    _, *parts = skeleton(checkpoint.config)
    trees = [nest({path: jnp.asarray(flat[".".join(map(str, path))]) for path in part}) for part in parts[:2]]
    return Params(trees[0], trees[1], checkpoint.config)


def to_checkpoint(params: Params, metadata: Mapping[str, str] | None = None) -> Checkpoint:
    """A `Checkpoint` of parameters, for `rmvpe.load` and `rmvpe.checkpoint.store.save`: the inverse of `load_params`.

    A threshold and a calibration, if `metadata` has them, should be those of these weights. Raises ConversionError if
    the arrays do not fit the config.
    """
    flat = flatten(params.weights) | flatten(params.statistics)
    arrays = {path: np.asarray(array, np.float32) for path, array in flat.items()}
    return Checkpoint(params.config, nnx_to_torch(arrays, params.config), dict(metadata or {}))


def salience(params: Params, log_mel: ArrayLike) -> Array:
    """Salience [..., T, 360] in 0..1 of log-mel [..., T, n_mels], in the wider type of both: a pure function.

    No leading axis, or any number of them; any T > 0. If T is not a multiple of the U-Net's stride (2^levels: 32),
    frames of silence are added at the end and removed from the result. `rmvpe_jax.mel.log_mel` makes a log-mel that can
    be differentiated. No product is rounded to TF32 or bfloat16, on any device. Raises ValueError for a log-mel of
    another shape. The network: https://arxiv.org/abs/2306.15412
    """
    config, log_mel = params.config, jnp.asarray(log_mel)
    if log_mel.ndim < 2 or log_mel.shape[-1] != config.mel.n_mels or not log_mel.shape[-2]:
        raise ValueError(f"log_mel must be [..., frames, {config.mel.n_mels}], not {list(log_mel.shape)}")
    *batch, frames, bands = log_mel.shape
    missing = round_up(frames, config.time_multiple) - frames
    silence = float(np.log(config.mel.floor))
    x = jnp.pad(log_mel.reshape(-1, frames, bands), ((0, 0), (0, missing), (0, 0)), constant_values=silence)
    found = merge(params)(x)[:, :frames]
    return found.reshape(*batch, frames, config.n_bins)


def merge(params: Params) -> RMVPE:
    """The flax model of the parameters, in evaluation mode. It holds their arrays, not copies."""
    graph, weights, statistics, rest = skeleton(params.config)
    states = (fill(weights, params.weights), fill(statistics, params.statistics), nnx.from_flat_state(rest.items()))
    model: RMVPE = nnx.merge(graph, *states)
    return model


@lru_cache(maxsize=8)
def skeleton(config: ModelConfig) -> tuple[Any, dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
    """A network's graph without arrays, and its weights, statistics and other variables (without values) by path."""

    def build() -> RMVPE:
        model = RMVPE(replace(config, dropout=0.0), seed=None)
        model.eval()
        return model

    graph, *states = nnx.split(nnx.eval_shape(build), nnx.Param, nnx.BatchStat, ...)
    weights, statistics, rest = (dict(nnx.to_flat_state(state)) for state in states)
    return graph, weights, statistics, rest


def fill(variables: Mapping[Any, Any], tree: Tree) -> nnx.State:
    """The state of these variables with the arrays of a tree."""
    found = flatten(tree)
    return nnx.from_flat_state({path: v.replace(found[".".join(map(str, path))]) for path, v in variables.items()})


def nest(flat: Mapping[tuple[Any, ...], Array]) -> Tree:
    """Arrays by path -> nested dicts."""
    tree: Tree = {}
    for path, array in flat.items():
        *parents, leaf = map(str, path)
        branch = tree
        for name in parents:
            branch = branch.setdefault(name, {})
        branch[leaf] = array
    return tree


def flatten(tree: Tree, prefix: str = "") -> dict[str, Array]:
    """Nested dicts -> arrays by dotted path."""
    flat: dict[str, Array] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
