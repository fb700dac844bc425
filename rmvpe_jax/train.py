"""The JAX side of a training run: network, optax Adam, averaged weights, pmap over all devices of all hosts.

`rmvpe.training.loop.fit` runs it. With one device or many, one host or many, the code is the same: every device holds
the whole state and takes its share of the batch, and gradients, loss and batch-norm statistics are averaged over all of
them inside one `jax.pmap`, so that the global batch, not the number of devices, decides what is learnt.
"""

from collections.abc import Callable, Sequence
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
from rmvpe.training.state import RunState, StateStore
from rmvpe_jax import distributed, state
from rmvpe_jax.checkpoint import dotted, flatten, load_tensors
from rmvpe_jax.device import kind_of
from rmvpe_jax.losses import LOSSES
from rmvpe_jax.model import RMVPE
from rmvpe_jax.params import nnx_to_torch, torch_to_nnx

AXIS = "devices"
INPUTS = ("log_mel", "target")
RECORD = ("loss", "grad_norm", "param_norm", "update_norm")


class State(NamedTuple):
    """Everything an update changes; on the devices each leaf has a leading axis with one copy per device."""

    params: nnx.State
    statistics: nnx.State  # batch norm's running mean and variance
    rest: nnx.State  # the dropout's random stream
    optimizer: Any
    average: tuple[nnx.State, ...]  # of params and statistics; empty if the run has none
    step: Array


class JaxTrainer:
    """One network in training on `devices` of this process; batches come as numpy and are split over them here."""

    framework = "jax"
    states: StateStore = state

    def __init__(
        self,
        config: TrainConfig,
        devices: list[jax.Device],
        initial: Checkpoint | None = None,
        ranks: Ranks | None = None,
    ):
        """With `ranks` of several processes, by default as many as `rmvpe_jax.distributed.start` has joined."""
        if config.conv_dtype == "float16":
            raise UserError("conv_dtype float16 needs loss scaling, which JAX training has not: choose bfloat16")
        self.config = config
        self.devices = devices
        self.ranks = ranks or Ranks(jax.process_count(), jax.process_index(), len(devices))
        self.batch_windows = kind_of(devices[0]).batch_windows
        model = RMVPE(config.model, seed=config.seed, conv_dtype=jnp.dtype(config.conv_dtype), axis_name=AXIS)
        if initial is not None:
            load_tensors(model, initial)
        self.graph, params, statistics, rest = split(model)
        average = (params, statistics) if config.ema_decay else ()
        optimizer = make_optimizer(config).init(params)
        self.state = self._replicate(State(params, statistics, rest, optimizer, average, jnp.zeros((), int)))
        self._one_batch = self._pmap(one_batch, (0, 0, None), donate=(0,))
        # Several micro-batches: their gradients are added up by a loop outside the compiled program, because XLA's
        # convolutions on a CPU are fifteen times slower inside a loop of its own
        self._nothing_yet = self._pmap(nothing_yet, (0,))
        self._add_batch = self._pmap(add_batch, (0, 0, 0), donate=(1,))
        self._finish = self._pmap(finish, (0, 0, None), donate=(0,))
        self._forward = jax.jit(partial(forward, self.graph))
        self._meetings = 0  # of all processes, at `barrier`

    def _pmap(self, function: Callable, in_axes: tuple, donate: tuple[int, ...] = ()) -> Callable:
        """`function`(graph, config, ...) over the devices of all processes."""
        return jax.pmap(
            partial(function, self.graph, self.config),
            axis_name=AXIS,
            devices=distributed.all_devices(self.devices, self.ranks),
            in_axes=in_axes,
            donate_argnums=donate,
        )

    @property
    def step(self) -> int:
        """Updates done."""
        return int(one_copy(self.state.step)[0])

    def train_step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, float]:
        """One update from this process's micro-batches; see `rmvpe.training.loop.Trainer`."""
        shares = [{name: self._share(batch[name]) for name in INPUTS} for batch in batches]
        rate = np.float32(learning_rate)
        with distributed.collective_errors(self.ranks):
            if len(shares) == 1:
                self.state, numbers = self._one_batch(self.state, shares[0], rate)
            else:
                sums = self._nothing_yet(self.state)
                for share in shares:
                    sums = self._add_batch(self.state.params, sums, share)
                self.state, numbers = self._finish(self.state, sums, rate)
            return dict(zip(RECORD, np.asarray(one_copy(numbers))[0].tolist()))

    def _share(self, array: np.ndarray) -> np.ndarray:
        """[local * b, ...] -> [local, b, ...]: rank after rank, as the stream has them."""
        return array.reshape(self.ranks.local, -1, *array.shape[1:])

    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Evaluation forward on the first device with the weights a checkpoint would hold."""
        single = (*self._published(), one_copy(self.state.rest))
        return np.asarray(self._forward(*single, jax.device_put(log_mel, self.devices[0])))

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        """The weights to publish, under the official names."""
        return Checkpoint(self.config.model, self._official(self._published()), metadata)

    def _published(self) -> tuple[nnx.State, ...]:
        return one_copy(self.state.average or (self.state.params, self.state.statistics))

    def _official(self, states: tuple[nnx.State, ...], *, parameters_only: bool = False) -> dict[str, np.ndarray]:
        flat = {name: array[0] for name, array in flatten(one_copy(states)).items()}
        return nnx_to_torch(flat, self.config.model, parameters_only=parameters_only)

    def _replicate(self, single: State) -> State:
        """One copy on each device, laid out as pmap gives its results back: otherwise the second step compiles anew."""
        placing = NamedSharding(Mesh(np.asarray(self.devices), (AXIS,)), PartitionSpec(AXIS))
        return jax.tree.map(lambda leaf: jax.device_put(jnp.stack([leaf] * len(self.devices)), placing), single)

    def capture(self) -> RunState:
        """The state of this step, without `examples` and `about`. No other process is asked: all hold the same."""
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
            updates=int(one_copy(adam.count)[0]),
            generators=to_numbers(jax.tree.map(lambda leaf: leaf[0], one_copy(now.rest))),
        )

    def restore(self, state: RunState) -> None:
        """Go on from `state`, whichever framework wrote it; UserError if it is another network's."""
        stored, own = state.config.model, self.config.model
        if stored != own:
            raise UserError(
                f"the state of iteration {state.step} is of network {stored.name!r}, not of this run's {own.name!r}: "
                "choose the --model_name or --config that belongs to it"
            )
        single = jax.tree.map(lambda leaf: leaf[0], one_copy(self.state))
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
            rest=from_numbers(single.rest, state.generators) if same_framework else single.rest,
            optimizer=(adam, *single.optimizer[1:]),
            average=tuple(unflatten(part, published) for part in single.average),
            step=jnp.asarray(state.step, single.step.dtype),
        )
        self.state = self._replicate(restored)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self._meetings += 1
        distributed.barrier(self.ranks, f"{self.framework}-{self._meetings}")


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam's step before the learning rate, which is applied apart; adamw decays every parameter, as torch's does."""
    adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)  # torch's defaults
    decay = optax.add_decayed_weights(config.weight_decay) if config.optimizer == "adamw" else optax.identity()
    return optax.chain(adam, decay)


def adam_of(optimizer: Any) -> optax.ScaleByAdamState:
    """Adam's part of the optimizer's state."""
    return optimizer[0]


class Sums(NamedTuple):
    """What the micro-batches of an update leave behind, so far."""

    batches: Array
    loss: Array
    gradients: nnx.State
    statistics: nnx.State  # batch norm sees one micro-batch after the other, as torch's does
    rest: nnx.State


def nothing_yet(graph: nnx.GraphDef, config: TrainConfig, state: State) -> Sums:
    """The sums before the first micro-batch."""
    zero = jnp.zeros(())
    return Sums(zero, zero, jax.tree.map(jnp.zeros_like, state.params), state.statistics, own_stream(state.rest))


def add_batch(graph: nnx.GraphDef, config: TrainConfig, params: nnx.State, sums: Sums, batch: dict[str, Array]) -> Sums:
    """The sums after one more micro-batch of this device, [b, ...]."""
    differentiate = jax.value_and_grad(partial(loss_of, graph, config.loss), has_aux=True)
    (loss, (statistics, rest)), gradients = differentiate(params, sums.statistics, sums.rest, batch)
    gradients = jax.tree.map(jnp.add, sums.gradients, gradients)
    return Sums(sums.batches + 1, sums.loss + loss, gradients, statistics, rest)


def finish(graph: nnx.GraphDef, config: TrainConfig, state: State, sums: Sums, rate: Array) -> tuple[State, Array]:
    """The update by the mean of all devices' micro-batches, and its `RECORD`."""
    means = jax.tree.map(lambda value: value / sums.batches, (sums.loss, sums.gradients))
    loss, gradients = lax.pmean(means, AXIS)
    grad_norm = norm(gradients)
    scale = jnp.minimum(1.0, config.clip_grad_norm / (grad_norm + 1e-6))  # torch's clip_grad_norm_
    gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
    steps, optimizer = make_optimizer(config).update(gradients, state.optimizer, state.params)
    params = jax.tree.map(lambda weight, step: weight - rate * step, state.params, steps)
    step = state.step + 1
    average = averaged(state.average, (params, sums.statistics), step, config.ema_decay)
    # The keys stay those that all devices share; the counters have moved on
    rest = jax.tree.map(lambda old, new: old if is_key(old) else new, state.rest, sums.rest)
    record = jnp.stack([loss, grad_norm, norm(params), rate * norm(steps)])
    return State(params, sums.statistics, rest, optimizer, average, step), record


def one_batch(
    graph: nnx.GraphDef, config: TrainConfig, state: State, batch: dict[str, Array], rate: Array
) -> tuple[State, Array]:
    """The whole update by one micro-batch per device."""
    sums = add_batch(graph, config, state.params, nothing_yet(graph, config, state), batch)
    return finish(graph, config, state, sums, rate)


def loss_of(
    graph: nnx.GraphDef, kind: str, params: nnx.State, statistics: nnx.State, rest: nnx.State, batch: dict[str, Array]
) -> tuple[Array, tuple[nnx.State, nnx.State]]:
    """The training loss of one micro-batch, with the statistics and random stream it leaves."""
    model = nnx.merge(graph, params, statistics, rest, copy=True)  # the originals belong to the outer trace
    model.train()
    loss = LOSSES[kind](model.logits(batch["log_mel"]), batch["target"])
    _, _, statistics, rest = split(model)
    return loss, (statistics, rest)


def own_stream(rest: nnx.State) -> nnx.State:
    """The random stream of this device: without it, all devices would drop the same places of their excerpts."""
    index = lax.axis_index(AXIS)
    return jax.tree.map(lambda leaf: jax.random.fold_in(leaf, index) if is_key(leaf) else leaf, rest)


def forward(graph: nnx.GraphDef, params: nnx.State, statistics: nnx.State, rest: nnx.State, log_mel: Array) -> Array:
    """Salience with running statistics and without dropout; the states are one device's copy, [1, ...] each."""
    states = jax.tree.map(lambda leaf: leaf[0], (params, statistics, rest))
    model = nnx.merge(graph, *states)
    model.eval()
    return model(log_mel)


def averaged(average: tuple, latest: tuple, step: Array, decay: float) -> tuple:
    """Exponentially averaged weights; young averages forget faster, as the torch trainer's do."""
    if not decay:
        return average
    share = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + (new - old) * share, average, latest)


def norm(tree: Any) -> Array:
    """The Euclidean norm of all numbers together."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def split(model: RMVPE) -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
    """The model as graph, parameters, batch statistics and the rest."""
    parts: Any = nnx.split(model, nnx.Param, nnx.BatchStat, ...)  # its annotation leaves the number of states open
    graph, params, statistics, rest = parts
    return graph, params, statistics, rest


def one_copy(tree: Any) -> Any:
    """The first device's copy [1, ...] of each array: all hold the same. Nothing is computed or moved."""
    return jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, tree)


def is_key(leaf: Any) -> bool:
    """Whether an array is a typed random key, which no file format knows."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_numbers(rest: nnx.State) -> dict[str, np.ndarray]:
    """The random stream as named arrays; keys as their data."""
    leaves = ((dotted(path), variable[...]) for path, variable in nnx.to_flat_state(rest))
    return {name: np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf) for name, leaf in leaves}


def from_numbers(rest: nnx.State, numbers: Any) -> nnx.State:
    """`rest` with what `to_numbers` made of another."""
    flat = {}
    for path, variable in nnx.to_flat_state(rest):
        new = jnp.asarray(numbers[dotted(path)])
        flat[path] = variable.replace(jax.random.wrap_key_data(new) if is_key(variable[...]) else new)
    return nnx.from_flat_state(flat)


def unflatten(state: nnx.State, flat: dict[str, np.ndarray]) -> nnx.State:
    """`state` with its arrays replaced by those under its dotted paths in `flat`."""
    leaves = nnx.to_flat_state(state)
    return nnx.from_flat_state({path: variable.replace(jnp.asarray(flat[dotted(path)])) for path, variable in leaves})
