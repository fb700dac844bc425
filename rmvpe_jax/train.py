"""The JAX side of a training run: network, optax Adam, averaged weights, pmap over all local devices.

`rmvpe.training.fit` runs it. With one device or many the code is the same: the state is replicated, the batch is split,
and gradients, loss and batch-norm statistics are averaged across devices inside one `jax.pmap`, so that the global
batch, not the number of devices, decides what is learnt.
"""

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from convert.apply import nnx_to_torch
from rmvpe.checkpoint import Checkpoint
from rmvpe.config import TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError
from rmvpe_jax import checkpoint
from rmvpe_jax.checkpoint import flatten, load_tensors
from rmvpe_jax.losses import bce
from rmvpe_jax.model import RMVPE

AXIS = "devices"
STATE_NAME = "state-{step:08d}"
STATE_PATTERN = re.compile(r"state-(\d{8})")
ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)  # torch's defaults; the rate is applied apart, step by step


class State(NamedTuple):
    """Everything an update changes; each leaf is replicated over the devices."""

    params: nnx.State
    statistics: nnx.State  # batch norm's running mean and variance
    rest: nnx.State  # the dropout's random stream
    optimizer: Any
    average: tuple[nnx.State, nnx.State]  # of params and statistics
    step: Array


class JaxTrainer:
    """One network in training on `devices`; batches come as numpy and are split over the devices here."""

    batch_windows = 1

    def __init__(self, config: TrainConfig, devices: list[jax.Device], initial: Checkpoint | None = None):
        if config.batch_size % len(devices):
            raise UserError(
                f"batch_size {config.batch_size} cannot be split over {len(devices)} devices: "
                f"choose a multiple of {len(devices)}"
            )
        self.config = config
        self.devices = devices
        conv_dtype = jnp.dtype(config.conv_dtype)
        model = RMVPE(config.model, seed=config.seed, conv_dtype=conv_dtype, axis_name=AXIS)
        if initial is not None:
            load_tensors(model, initial)
        self.graph, params, statistics, rest = split(model)
        optimizer = ADAM.init(params)
        self.state = self._replicate(
            State(params, statistics, rest, optimizer, (params, statistics), jnp.zeros((), int))
        )
        self._update = jax.pmap(
            partial(update, self.graph, config), axis_name=AXIS, devices=devices, in_axes=(0, 0, None), donate_argnums=0
        )
        self._forward = jax.jit(partial(forward, self.graph))

    @property
    def step(self) -> int:
        """Updates done."""
        return int(self.state.step[0])

    def train_step(self, batch: Batch, learning_rate: float) -> dict[str, float]:
        """One update; returns loss and gradient norm before clipping."""
        count = len(self.devices)
        split = {name: batch[name].reshape(count, -1, *batch[name].shape[1:]) for name in ("log_mel", "target")}
        self.state, loss, norm = self._update(self.state, split, learning_rate)
        return {"loss": float(loss[0]), "grad_norm": float(norm[0])}

    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Evaluation forward on the first device with the weights a checkpoint would hold."""
        params, statistics = self._published()
        return np.asarray(self._forward(params, statistics, self._single().rest, log_mel))

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        """The weights to publish, under the official names."""
        flat = flatten(self._published())
        return Checkpoint(self.config.model, nnx_to_torch(flat, self.config.model), metadata)

    def _published(self) -> tuple[nnx.State, nnx.State]:
        single = self._single()
        return single.average if self.config.ema_decay else (single.params, single.statistics)

    def _single(self) -> State:
        """The state of the first device; all devices hold the same."""
        return jax.tree.map(lambda leaf: leaf[0], self.state)

    def _replicate(self, state: State) -> State:
        """One copy on each device, laid out as pmap gives its results back: otherwise the second step compiles anew."""
        placing = NamedSharding(Mesh(np.asarray(self.devices), (AXIS,)), PartitionSpec(AXIS))
        return jax.tree.map(lambda leaf: jax.device_put(jnp.stack([leaf] * len(self.devices)), placing), state)

    def save(self, folder: Path) -> None:
        """Write this step's whole state to `folder`, as an Orbax checkpoint that inference and `convert` read too.

        Older states there are removed after it is complete.
        """
        state = self._single()
        published = flatten(self._published())
        path = folder / STATE_NAME.format(step=self.step)
        items = checkpoint.items(published, self.config.model, {"step": str(self.step)})
        save_items(path, items | {name: ocp.args.StandardSave(tree) for name, tree in training_items(state).items()})
        for other in state_folders(folder):
            if other != path:
                shutil.rmtree(other)

    def restore(self, folder: Path) -> None:
        """Continue from the newest state in `folder`. Raises UserError if there is none or it is another network's."""
        paths = state_folders(folder)
        if not paths:
            raise UserError(f"{folder} holds no training state to resume: give the --logdir of an earlier run")
        stored = checkpoint.load(paths[-1]).config
        if stored != self.config.model:
            raise UserError(
                f"{paths[-1]} is a state of network {stored.name!r}, not of this run's {self.config.model.name!r}"
            )
        single = self._single()
        trees = restore_items(paths[-1], training_items(single))
        self.state = self._replicate(from_training_items(single, trees))


def training_items(state: State) -> dict[str, dict[str, np.ndarray]]:
    """What a run needs besides the published weights, as named arrays: an Orbax item each."""
    keys = [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in jax.tree.leaves(state.rest)]
    return {
        "model": flatten((state.params, state.statistics)),
        "average": flatten(state.average),
        "adam_mu": flatten((state.optimizer.mu,)),
        "adam_nu": flatten((state.optimizer.nu,)),
        "progress": {"step": np.asarray(state.step), "adam_count": np.asarray(state.optimizer.count)},
        "random": {str(number): np.asarray(key) for number, key in enumerate(keys)},
    }


def from_training_items(state: State, trees: dict[str, dict[str, np.ndarray]]) -> State:
    """`state` with its numbers replaced by those of `trees`, as `training_items` made them."""
    leaves, structure = jax.tree.flatten(state.rest)
    random = [jnp.asarray(trees["random"][str(number)]) for number in range(len(leaves))]
    keys = [jax.random.wrap_key_data(new) if is_key(old) else new for old, new in zip(leaves, random)]
    optimizer = state.optimizer._replace(
        count=jnp.asarray(trees["progress"]["adam_count"]),
        mu=unflatten(state.optimizer.mu, trees["adam_mu"]),
        nu=unflatten(state.optimizer.nu, trees["adam_nu"]),
    )
    return State(
        params=unflatten(state.params, trees["model"]),
        statistics=unflatten(state.statistics, trees["model"]),
        rest=jax.tree.unflatten(structure, keys),
        optimizer=optimizer,
        average=(unflatten(state.average[0], trees["average"]), unflatten(state.average[1], trees["average"])),
        step=jnp.asarray(trees["progress"]["step"]),
    )


def is_key(leaf: Any) -> bool:
    """Whether an array is a typed random key, which no file format knows."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def unflatten(state: nnx.State, flat: dict[str, np.ndarray]) -> nnx.State:
    """`state` with its arrays replaced by those under its dotted paths in `flat`."""
    leaves = nnx.to_flat_state(state)
    return nnx.from_flat_state(
        {path: variable.replace(jnp.asarray(flat[checkpoint.dotted(path)])) for path, variable in leaves}
    )


def save_items(path: Path, items: dict[str, Any]) -> None:
    """Write an Orbax folder; Orbax writes beside and renames. UserError if the folder cannot be written."""
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            checkpointer.save(path.absolute(), args=ocp.args.Composite(**items), force=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free some space or choose another --logdir") from error


def restore_items(path: Path, like: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Read the items of an Orbax folder into the shapes and types of `like`."""
    wanted = {name: ocp.args.StandardRestore(tree) for name, tree in like.items()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        found = checkpointer.restore(path.absolute(), args=ocp.args.Composite(**wanted))
    return {name: {key: np.asarray(array) for key, array in found[name].items()} for name in like}


def state_folders(folder: Path) -> list[Path]:
    """Complete training states in `folder`, oldest first."""
    return sorted(path for path in folder.glob("state-*") if STATE_PATTERN.fullmatch(path.name))


def update(graph: nnx.GraphDef, config: TrainConfig, state: State, batch: dict[str, Array], rate: Array) -> tuple:
    """One update on one device's share of the batch, inside a pmap over `AXIS`."""

    def loss_of(params: nnx.State) -> tuple[Array, tuple[nnx.State, nnx.State]]:
        model = nnx.merge(
            graph, params, state.statistics, state.rest, copy=True
        )  # the originals belong to the outer trace
        model.train()
        loss = bce(model.logits(batch["log_mel"]), batch["target"])
        _, _, statistics, rest = split(model)
        return loss, (statistics, rest)

    (loss, (statistics, rest)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    loss, gradients = lax.pmean((loss, gradients), AXIS)
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in jax.tree.leaves(gradients)))
    scale = jnp.minimum(1.0, config.clip_grad_norm / (norm + 1e-6))  # torch's clip_grad_norm_
    gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
    steps, optimizer = ADAM.update(gradients, state.optimizer, state.params)
    params = jax.tree.map(lambda weight, step: weight - rate * step, state.params, steps)
    step = state.step + 1
    average = averaged(state.average, (params, statistics), step, config.ema_decay)
    return State(params, statistics, rest, optimizer, average, step), loss, norm


def split(model: RMVPE) -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
    """The model as graph, parameters, batch statistics and the rest."""
    parts: Any = nnx.split(model, nnx.Param, nnx.BatchStat, ...)  # its annotation leaves the number of states open
    graph, params, statistics, rest = parts
    return graph, params, statistics, rest


def averaged(average: Any, latest: Any, step: Array, decay: float) -> Any:
    """Exponentially averaged weights; young averages forget faster, as the torch trainer's do."""
    if not decay:
        return average
    share = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + (new - old) * share, average, latest)


def forward(graph: nnx.GraphDef, params: nnx.State, statistics: nnx.State, rest: nnx.State, log_mel: Array) -> Array:
    """Salience with running statistics and without dropout."""
    model = nnx.merge(graph, params, statistics, rest)
    model.eval()
    return model(log_mel)
