"""The torch side of a training run: network, Adam, averaged weights, mixed precision, one or many processes.

`rmvpe.training.loop.fit` runs it. With several processes (`rmvpe_torch.distributed`) each holds the same weights and
its own share of the batch: gradients, loss and batch norm's running statistics are averaged over them at every update,
so that each holds the whole state.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe.processes import ONE_RANK, Ranks
from rmvpe.training.state import RunState, StateStore
from rmvpe_torch import device as devices
from rmvpe_torch import distributed, state
from rmvpe_torch.checkpoint import load_model
from rmvpe_torch.compat import data_parallel, has_fused_adam
from rmvpe_torch.cpu_training import arrange
from rmvpe_torch.infer import Backend
from rmvpe_torch.losses import LOSSES
from rmvpe_torch.model import RMVPE
from rmvpe_torch.sync_batch_norm import synchronise


class Objective(nn.Module):
    """Network and loss as one module: `DistributedDataParallel` wraps a module and its forward pass."""

    def __init__(self, model: RMVPE, loss: str):
        super().__init__()
        self.model = model
        self.loss = LOSSES[loss]

    def forward(self, log_mel: Tensor, target: Tensor) -> Tensor:
        """Log-mel [B, T, n_mels] and target [B, T, 360] -> mean loss []."""
        return self.loss(self.model.logits(log_mel), target)


class TorchTrainer:
    """One network in training on this process's `device`; batches come as numpy and are moved here."""

    framework = "torch"
    compiles = False
    states: StateStore = state

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device | str = "cpu",
        initial: Checkpoint | None = None,
        ranks: Ranks = ONE_RANK,
    ):
        """With several processes, `rmvpe_torch.distributed.start` must have made the process group before."""
        self.config = config
        self.ranks = ranks
        self.device = torch.device(device)
        self.step = 0
        dtype = getattr(torch, config.conv_dtype)
        torch.manual_seed(config.seed)
        model = RMVPE(config.model, dtype) if initial is None else load_model(initial, dtype)
        model.to(self.device, memory_format=devices.memory_format(self.device))  # type: ignore[call-overload]
        model = arrange(model, self.device)
        self.model = synchronise(model, self.device, ranks) if config.sync_batch_norm else model
        objective = Objective(self.model, config.loss)
        self.objective = objective if ranks.total == 1 else data_parallel(objective)
        self.average = copies(floats(self.model)) if config.ema_decay else {}
        self.parameters = dict(self.model.named_parameters())
        self.optimizer = make_optimizer(self.parameters.values(), config, self.device)
        self.scaler = devices.grad_scaler(self.device, devices.needs_scaler(dtype))

    @property
    def updates(self) -> int:
        """Adam's own count: it lags behind `step` by the updates that float16 overflow made the scaler skip."""
        states = self.optimizer.state
        return int(states[next(iter(states))]["step"]) if states else 0

    def train_step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, float]:
        """One update from this process's micro-batches, and its record; see `rmvpe.training.loop.Trainer`."""
        return self.start_step(batches, learning_rate).record()

    def start_step(self, batches: Sequence[Batch], learning_rate: float) -> "TorchUpdate":
        """Queue one update from this process's micro-batches; see `rmvpe.training.loop.Trainer`."""
        with devices.out_of_memory_errors(self.device):
            return self._start_step(batches, learning_rate)

    def _start_step(self, batches: Sequence[Batch], learning_rate: float) -> "TorchUpdate":
        self.model.train()
        devices.seed(self.device, dropout_seed(self.config.seed, self.step, self.ranks.process))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        own_loss = self._gradients(batches)
        loss = self._mean_over_processes(own_loss)
        parameters = list(self.parameters.values())
        scale = self.scaler.get_scale()
        self.scaler.unscale_(self.optimizer)
        grad_norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_grad_norm or math.inf)
        before = list(copies(self.parameters).values())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self._update_average()
        with torch.no_grad():
            param_norm = total_norm(parameters)
            torch._foreach_sub_(before, list(parameters))
            update_norm = total_norm(before)
        numbers = torch.stack([loss, grad_norm, param_norm, update_norm])
        return TorchUpdate(numbers, own_loss, {"loss_scale": scale} if self.scaler.is_enabled() else {})

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in their order; all of them call it at the same time."""
        return distributed.gather(self.ranks, self.device, text)

    def _gradients(self, batches: Sequence[Batch]) -> Tensor:
        """Store the batches' mean gradient, scaled, in the parameters; returns this process's mean loss."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, batch in enumerate(batches, 1):
            with self._no_gradient_sync(number < len(batches)):
                loss = self.objective(*self._to_device(batch))
                self.scaler.scale(loss / len(batches)).backward()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def _no_gradient_sync(self, more_follow: bool) -> AbstractContextManager[object]:
        """While more micro-batches follow, gradients are not averaged over the processes yet."""
        if more_follow and isinstance(self.objective, DistributedDataParallel):
            return self.objective.no_sync()
        return nullcontext()

    def _to_device(self, batch: Batch) -> list[Tensor]:
        return [devices.moved(array, self.device) for array in (batch.log_mel, batch.target)]

    @torch.no_grad()
    def _mean_over_processes(self, loss: Tensor) -> Tensor:
        """The mean of the loss over all processes; running statistics become their mean too, in the same all-reduce."""
        if self.ranks.total == 1:
            return loss
        statistics = [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        mean = torch.cat([loss.reshape(1), *(buffer.flatten() for buffer in statistics)])
        dist.all_reduce(mean)
        mean /= self.ranks.total
        sizes = [1, *(buffer.numel() for buffer in statistics)]
        for buffer, values in zip(statistics, mean.split(sizes)[1:]):
            buffer.copy_(values.view_as(buffer))
        return mean[0]

    @torch.no_grad()
    def _update_average(self) -> None:
        if not self.average:
            return
        # A lower decay in the first updates, (1 + n) / (10 + n), so that the random initial weights soon have no share
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        latest = floats(self.model)
        torch._foreach_lerp_(list(self.average.values()), [latest[name] for name in self.average], 1.0 - decay)

    def _averaged_or_latest(self) -> dict[str, Tensor]:
        return self.average or floats(self.model)

    def network(self, checkpoint: Checkpoint) -> Backend:
        """The network of `checkpoint` on this trainer's device, in the precision of the training."""
        config = self.config
        return Backend(checkpoint, str(self.device), config.conv_dtype, sdaa_conv_fp32=config.sdaa_conv_fp32)

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        """The weights to publish, under the official names."""
        return Checkpoint(self.config.model, to_arrays(self._averaged_or_latest()), metadata)

    def capture(self) -> RunState:
        """The state of this step, without `examples` and `about`. It is the same in all processes."""
        moments = {name: self.optimizer.state.get(value, {}) for name, value in self.parameters.items()}
        zeros = {name: torch.zeros_like(value) for name, value in self.parameters.items() if not moments[name]}
        first, second = (
            {name: held[key] if held else zeros[name] for name, held in moments.items()}
            for key in ("exp_avg", "exp_avg_sq")
        )
        return RunState(
            config=self.config,
            step=self.step,
            examples=0,
            weights=to_arrays(floats(self.model)),
            average=to_arrays(self.average),
            first_moment=to_arrays(first),
            second_moment=to_arrays(second),
            updates=self.updates,
            # No generators: dropout's random numbers follow from seed, step and process alone
            scaler={name: float(value) for name, value in self.scaler.state_dict().items()},
        )

    def restore(self, state: RunState) -> None:
        """Continue from `state`, whichever framework wrote it. Raises UserError if it is of another network."""
        state.check_network(self.config.model)
        self.step = state.step
        fill(floats(self.model), state.weights)
        fill(self.average, state.average or state.weights)
        for name, parameter in self.parameters.items():
            held = {key: torch.empty_like(parameter, requires_grad=False) for key in ("exp_avg", "exp_avg_sq")}
            fill(held, {"exp_avg": state.first_moment[name], "exp_avg_sq": state.second_moment[name]})
            self.optimizer.state[parameter] = {"step": torch.tensor(float(state.updates)), **held}
        if state.scaler and state.about.get("framework") == self.framework:
            kinds = {name: type(value) for name, value in self.scaler.state_dict().items()}
            self.scaler.load_state_dict({name: kind(state.scaler[name]) for name, kind in kinds.items()})

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        if self.ranks.total > 1:
            zero = torch.zeros(1, device=self.device)
            dist.all_reduce(zero)
            zero.item()  # on a GPU the line above only queues the work


@dataclass(frozen=True)
class TorchUpdate:
    """One update that the device has or will have computed; see `rmvpe.training.loop.Update`."""

    numbers: Tensor  # loss, norms of gradient, parameters and their change: [4]
    own_loss: Tensor  # on this process's batches
    scale: dict[str, float]

    def record(self) -> dict[str, float]:
        """Loss and norms, as soon as they are computed."""
        with devices.out_of_memory_errors(self.numbers.device):
            numbers = self.numbers.tolist()
        return dict(zip(("loss", "grad_norm", "param_norm", "update_norm"), numbers)) | self.scale

    def rank_losses(self) -> list[float]:
        """The loss on this process's batches."""
        return [float(self.own_loss)]


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: TrainConfig, device: torch.device
) -> torch.optim.Optimizer:
    """The config's optimizer; adamw decays every parameter, biases and batch norms too, as optax does."""
    fused = has_fused_adam(device.type)  # one pass over memory; else few launches
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused, foreach=not fused
        )
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=fused, foreach=not fused)


def dropout_seed(seed: int, step: int, process: int) -> int:
    """The seed of one step's random numbers in one process, so that a resumed run needs no generator's state."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0]) >> 1  # fits int64


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all numbers together."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))


def floats(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and batch statistics by official name, in the model's memory, without batch norm's counters."""
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies, by the same names, without gradients."""
    return {name: value.detach().clone() for name, value in tensors.items()}


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies as contiguous numpy arrays, by the same names."""
    return {name: np.array(value.detach().cpu().numpy(), order="C") for name, value in tensors.items()}


@torch.no_grad()
def fill(tensors: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]) -> None:
    """Copy `arrays` into the tensors of the same names, which keep their device and memory layout."""
    for name, tensor in tensors.items():
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name])))
