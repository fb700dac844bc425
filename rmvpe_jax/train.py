"""The JAX side of a training run: network, optax Adam, averaged weights, pmap over all devices of all hosts.

`rmvpe.training.loop.fit` runs it. The code is the same for one device or many, on one host or many: every device holds
the whole state and takes its part of the batch, and gradients, loss and batch-norm statistics are averaged over all
devices inside one `jax.pmap`. So the result depends on the global batch, not on the number of devices.

JAX calls `pmap` the old way (it is built on jit and shard_map since 0.8). The step is a plain function of one device's
arrays, so that moving to `jax.shard_map` changes a few lines: `_pmap`, `_replicate` and `first_replica`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError
from rmvpe.processes import Ranks
from rmvpe.training.state import RunState, StateStore, Tensors
from rmvpe_jax import distributed, state
from rmvpe_jax.checkpoint import dotted, flatten, load_tensors
from rmvpe_jax.device import name_of, training_options
from rmvpe_jax.infer import Backend
from rmvpe_jax.losses import LOSSES
from rmvpe_jax.model import RMVPE
from rmvpe_jax.params import nnx_to_torch, torch_to_nnx

AXIS = "devices"
RECORD = ("loss", "grad_norm", "param_norm", "update_norm")


class State(NamedTuple):
    """Everything that an update changes. On the devices each array has a leading axis with one replica per device."""

    params: nnx.State
    statistics: nnx.State  # batch norm's running mean and variance
    rng_state: nnx.State  # of the dropout's random numbers
    optimizer: Any
    average: tuple[nnx.State, ...]  # of params and statistics, exponential; empty if the run has none
    step: Array


class JaxTrainer:
    """One network in training on `devices` of this process; numpy batches are split over them here."""

    framework = "jax"
    compiles = True
    states: StateStore = state

    def __init__(
        self,
        config: TrainConfig,
        devices: list[jax.Device],
        initial: Checkpoint | None = None,
        ranks: Ranks | None = None,
    ):
        """`ranks` None: the processes that `rmvpe_jax.distributed.start` has joined. Raises UserError for float16."""
        if config.conv_dtype == "float16":
            raise UserError("conv_dtype float16 needs loss scaling, which JAX training does not have: choose bfloat16")
        self.config = config
        self.devices = devices
        self.ranks = ranks or Ranks(jax.process_count(), jax.process_index(), len(devices))
        model = RMVPE(config.model, seed=config.seed, conv_dtype=jnp.dtype(config.conv_dtype), axis_name=AXIS)
        if initial is not None:
            load_tensors(model, initial)
        self.graph, params, statistics, rng_state = split(model)
        average = (params, statistics) if config.ema_decay else ()
        optimizer = make_optimizer(config).init(params)
        self.state = self._replicate(State(params, statistics, rng_state, optimizer, average, jnp.zeros((), int)))
        self._one_batch = self._pmap(one_batch, (0, 0, None), donate=(0,))
        # Several micro-batches are added up by a Python loop: inside a loop of XLA, convolutions on a CPU are fifteen
        # times slower
        self._zero_accumulator = self._pmap(zero_accumulator, (0,))
        self._add_batch = self._pmap(add_batch, (0, 0, 0), donate=(1,))
        self._finish = self._pmap(finish, (0, 0, None), donate=(0,))
        self.step = 0  # updates started; the devices' own count is the same, but reading it would wait for them
        self._barriers = 0  # passed so far: each needs a name of its own

    def _pmap(self, function: Callable, in_axes: tuple, donate: tuple[int, ...] = ()) -> Callable:
        """`function(graph, config, ...)` on all devices of all processes; the memory of `donate` is reused."""
        mapped = partial(function, self.graph, self.config)
        options = training_options(self.devices[0])
        if options and self.ranks.processes == 1:
            return map_with_options(mapped, self.devices, in_axes, donate, options)
        return jax.pmap(
            mapped,
            axis_name=AXIS,
            devices=distributed.all_devices(self.devices, self.ranks),
            in_axes=in_axes,
            donate_argnums=donate,
        )

    def train_step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, float]:
        """One update from this process's micro-batches, and its record; see `rmvpe.training.loop.Trainer`."""
        return self.start_step(batches, learning_rate).record()

    def start_step(self, batches: Sequence[Batch], learning_rate: float) -> "JaxUpdate":
        """Queue one update from this process's micro-batches; see `rmvpe.training.loop.Trainer`."""
        shards = [{"log_mel": self._shard(batch.log_mel), "target": self._shard(batch.target)} for batch in batches]
        rate = np.float32(learning_rate)
        with distributed.collective_errors(self.ranks):
            if len(shards) == 1:
                self.state, numbers = self._one_batch(self.state, shards[0], rate)
            else:
                accumulator = self._zero_accumulator(self.state)
                for shard in shards:
                    accumulator = self._add_batch(self.state.params, accumulator, shard)
                self.state, numbers = self._finish(self.state, accumulator, rate)
        self.step += 1
        return JaxUpdate(numbers, self.devices, self.ranks)

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in their order; all of them call it at the same time."""
        return distributed.gather(self.ranks, text)

    def _shard(self, array: np.ndarray) -> np.ndarray:
        """[local * b, ...] -> [local, b, ...]: one part per device, in the order of the stream."""
        return array.reshape(self.ranks.local, -1, *array.shape[1:])

    def network(self, checkpoint: Checkpoint) -> Backend:
        """The network of `checkpoint` on this trainer's first device, in the precision of the training."""
        return Backend(checkpoint, name_of(self.devices[0]), self.config.conv_dtype)

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        """The weights to publish, under the official names."""
        return Checkpoint(self.config.model, self._official(self._published()), metadata)

    def _published(self) -> tuple[nnx.State, ...]:
        return first_replica(self.state.average or (self.state.params, self.state.statistics))

    def _official(self, states: tuple[nnx.State, ...], *, parameters_only: bool = False) -> dict[str, np.ndarray]:
        flat = {name: array[0] for name, array in flatten(first_replica(states)).items()}
        return nnx_to_torch(flat, self.config.model, parameters_only=parameters_only)

    def _replicate(self, single: State) -> State:
        """One replica on each device, with the sharding of pmap's results: otherwise the second step compiles again."""
        sharding = NamedSharding(Mesh(np.asarray(self.devices), (AXIS,)), PartitionSpec(AXIS))
        return jax.tree.map(lambda leaf: jax.device_put(jnp.stack([leaf] * len(self.devices)), sharding), single)

    def capture(self) -> RunState:
        """The state of this step, without `examples` and `about`. Every process holds the same, so none is asked."""
        now = self.state
        adam = adam_of(now.optimizer)
        return RunState(
            config=self.config,
            step=self.step,
            examples=0,
            weights=self._official((now.params, now.statistics)),
            average=self._official(now.average) if now.average else {},
            first_moment=self._official((adam.mu,), parameters_only=True),
            second_moment=self._official((adam.nu,), parameters_only=True),
            updates=int(first_replica(adam.count)[0]),
            generators=rng_to_arrays(jax.tree.map(lambda leaf: leaf[0], first_replica(now.rng_state))),
        )

    def restore(self, state: RunState) -> None:
        """Go on from `state`, written by either framework. Raises UserError if it is of another network."""
        own = self.config.model
        state.check_network(own)
        single = jax.tree.map(lambda leaf: leaf[0], first_replica(self.state))
        weights, published = (torch_to_nnx(tensors, own) for tensors in (state.weights, state.published))
        mu, nu = (
            unflatten(single.params, torch_to_nnx(moment, own, parameters_only=True))
            for moment in (state.first_moment, state.second_moment)
        )
        adam = optax.ScaleByAdamState(jnp.asarray(state.updates, adam_of(single.optimizer).count.dtype), mu, nu)
        same_framework = state.generators and state.about.get("framework") == self.framework
        restored = State(
            params=unflatten(single.params, weights),
            statistics=unflatten(single.statistics, weights),
            rng_state=rng_from_arrays(single.rng_state, state.generators) if same_framework else single.rng_state,
            optimizer=(adam, *single.optimizer[1:]),
            average=tuple(unflatten(part, published) for part in single.average),
            step=jnp.asarray(state.step, single.step.dtype),
        )
        self.state = self._replicate(restored)
        self.step = state.step

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        self._barriers += 1
        distributed.barrier(self.ranks, f"{self.framework}-{self._barriers}")


@dataclass(frozen=True)
class JaxUpdate:
    """One update that the devices have or will have computed; see `rmvpe.training.loop.Update`."""

    numbers: Array  # `RECORD` and the device's own loss, one replica per device
    devices: list[jax.Device]
    ranks: Ranks

    def record(self) -> dict[str, float]:
        """The numbers of `RECORD`, as soon as they are computed."""
        with distributed.collective_errors(self.ranks):
            return dict(zip(RECORD, np.asarray(first_replica(self.numbers))[0].tolist()))

    def rank_losses(self) -> list[float]:
        """The loss on each of this process's devices, before the mean over all of them."""
        order = [self.devices.index(shard.device) for shard in self.numbers.addressable_shards]
        losses = [float(np.asarray(shard.data)[0, len(RECORD)]) for shard in self.numbers.addressable_shards]
        return [loss for _, loss in sorted(zip(order, losses))]


def map_with_options(
    function: Callable, devices: list[jax.Device], in_axes: tuple, donate: tuple[int, ...], options: dict[str, str]
) -> Callable:
    """What `jax.pmap` makes of `function` in one process, compiled with options of XLA, which pmap does not take."""

    def one_device(*arguments: Any) -> Any:
        own = (
            part if axis is None else jax.tree.map(lambda leaf: leaf[0], part) for part, axis in zip(arguments, in_axes)
        )
        return jax.tree.map(lambda leaf: leaf[None], function(*own))

    mapped = jax.shard_map(
        one_device,
        mesh=Mesh(np.asarray(devices), (AXIS,)),
        in_specs=tuple(PartitionSpec() if axis is None else PartitionSpec(AXIS) for axis in in_axes),
        out_specs=PartitionSpec(AXIS),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=donate, compiler_options=options)


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam (arXiv:1412.6980) without the learning rate; adamw (arXiv:1711.05101) decays all parameters, as in torch."""
    adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)  # torch's defaults
    decay = optax.add_decayed_weights(config.weight_decay) if config.optimizer == "adamw" else optax.identity()
    return optax.chain(adam, decay)


def adam_of(optimizer: Any) -> optax.ScaleByAdamState:
    """Adam's part of the state of `make_optimizer`'s optimizer."""
    return optimizer[0]


class Accumulator(NamedTuple):
    """Totals over the micro-batches of one update so far, and the states after them."""

    batches: Array
    loss: Array
    gradients: nnx.State
    statistics: nnx.State  # batch norm takes one step per micro-batch, as in torch
    rng_state: nnx.State


def zero_accumulator(graph: nnx.GraphDef, config: TrainConfig, state: State) -> Accumulator:
    """The accumulator before the first micro-batch."""
    zero = jnp.zeros(())
    return Accumulator(
        zero, zero, jax.tree.map(jnp.zeros_like, state.params), state.statistics, fold_in_device(state.rng_state)
    )


def add_batch(
    graph: nnx.GraphDef, config: TrainConfig, params: nnx.State, accumulator: Accumulator, batch: dict[str, Array]
) -> Accumulator:
    """The accumulator after one more micro-batch of this device, [b, ...]."""
    differentiate = jax.value_and_grad(partial(loss_of, graph, config.loss), has_aux=True)
    (loss, (statistics, rng_state)), gradients = differentiate(
        params, accumulator.statistics, accumulator.rng_state, batch
    )
    gradients = jax.tree.map(jnp.add, accumulator.gradients, gradients)
    return Accumulator(accumulator.batches + 1, accumulator.loss + loss, gradients, statistics, rng_state)


def finish(
    graph: nnx.GraphDef, config: TrainConfig, state: State, accumulator: Accumulator, rate: Array
) -> tuple[State, Array]:
    """The update by the mean over the micro-batches of all devices, its `RECORD`, and this device's own loss."""
    own_loss, own_gradients = jax.tree.map(
        lambda value: value / accumulator.batches, (accumulator.loss, accumulator.gradients)
    )
    loss, gradients = lax.pmean((own_loss, own_gradients), AXIS)
    grad_norm = norm(gradients)
    scale = jnp.minimum(1.0, (config.clip_grad_norm or jnp.inf) / (grad_norm + 1e-6))  # torch's clip_grad_norm_
    gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
    steps, optimizer = make_optimizer(config).update(gradients, state.optimizer, state.params)
    params = jax.tree.map(lambda weight, step: weight - rate * step, state.params, steps)
    step = state.step + 1
    average = averaged(state.average, (params, accumulator.statistics), step, config.ema_decay)
    # Keys stay those that all devices share; only the counters have changed
    rng_state = jax.tree.map(lambda old, new: old if is_key(old) else new, state.rng_state, accumulator.rng_state)
    record = jnp.stack([loss, grad_norm, norm(params), rate * norm(steps), own_loss])
    return State(params, accumulator.statistics, rng_state, optimizer, average, step), record


def one_batch(
    graph: nnx.GraphDef, config: TrainConfig, state: State, batch: dict[str, Array], rate: Array
) -> tuple[State, Array]:
    """The whole update by one micro-batch per device."""
    accumulator = add_batch(graph, config, state.params, zero_accumulator(graph, config, state), batch)
    return finish(graph, config, state, accumulator, rate)


def loss_of(
    graph: nnx.GraphDef,
    kind: str,
    params: nnx.State,
    statistics: nnx.State,
    rng_state: nnx.State,
    batch: dict[str, Array],
) -> tuple[Array, tuple[nnx.State, nnx.State]]:
    """The training loss of one micro-batch [b, ...], and the batch statistics and random state after it."""
    model = nnx.merge(graph, params, statistics, rng_state, copy=True)  # the outer trace still needs the originals
    model.train()
    loss = LOSSES[kind](model.logits(batch["log_mel"]), batch["target"])
    _, _, statistics, rng_state = split(model)
    return loss, (statistics, rng_state)


def fold_in_device(rng_state: nnx.State) -> nnx.State:
    """The random state of this device: without it, dropout would hit the same places of every device's excerpts."""
    index = lax.axis_index(AXIS)
    return jax.tree.map(lambda leaf: jax.random.fold_in(leaf, index) if is_key(leaf) else leaf, rng_state)


def averaged(average: tuple, latest: tuple, step: Array, decay: float) -> tuple:
    """Exponentially averaged weights. Early averages forget faster, as in the torch trainer."""
    if not decay:
        return average
    weight = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + (new - old) * weight, average, latest)


def norm(tree: Any) -> Array:
    """The Euclidean norm over all arrays of the tree."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def split(model: RMVPE) -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
    """The model as graph, parameters, batch statistics and random state."""
    parts: Any = nnx.split(model, nnx.Param, nnx.BatchStat, ...)  # Any: its annotation does not give the number
    graph, params, statistics, rng_state = parts
    return graph, params, statistics, rng_state


def first_replica(tree: Any) -> Any:
    """The first device's replica [1, ...] of each array; all are equal. Nothing is computed or moved."""
    return jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, tree)


def is_key(leaf: Any) -> bool:
    """Whether an array is a typed random key, which no file format can hold."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def rng_to_arrays(rng_state: nnx.State) -> dict[str, np.ndarray]:
    """The random state as numpy arrays under dotted paths; of keys their data."""
    leaves = ((dotted(path), variable[...]) for path, variable in nnx.to_flat_state(rng_state))
    return {name: np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf) for name, leaf in leaves}


def rng_from_arrays(rng_state: nnx.State, arrays: Tensors) -> nnx.State:
    """`rng_state` with the values of `arrays`, the inverse of `rng_to_arrays`."""
    flat = {}
    for path, variable in nnx.to_flat_state(rng_state):
        new = jnp.asarray(arrays[dotted(path)])
        flat[path] = variable.replace(jax.random.wrap_key_data(new) if is_key(variable[...]) else new)
    return nnx.from_flat_state(flat)


def unflatten(state: nnx.State, flat: dict[str, np.ndarray]) -> nnx.State:
    """`state` with its arrays replaced by those under its dotted paths in `flat`."""
    leaves = nnx.to_flat_state(state)
    return nnx.from_flat_state({path: variable.replace(jnp.asarray(flat[dotted(path)])) for path, variable in leaves})
