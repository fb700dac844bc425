"""The state of a training run, independent of the framework.

Each framework package stores it in its own format (`rmvpe_torch.state` in one .pt file, `rmvpe_jax.state` in an Orbax
folder), so that a run can be resumed exactly, bit for bit, or continued in the other framework.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.errors import UserError

Tensors = Mapping[str, np.ndarray]  # by official (torch) name


@dataclass(frozen=True)
class RunState:
    """A run after `step` updates. Arrays are float32, by official name, in the shapes of `expected_tensors`.

    `generators` and `scaler` are for the framework that wrote them (`about["framework"]`); a run that continues in the
    other one drops them.
    """

    config: TrainConfig
    step: int  # updates done, which the schedule counts
    examples: int  # training examples drawn by all ranks: where the data stream continues
    weights: Tensors  # parameters and batch statistics
    average: Tensors  # their exponential average; empty if the run has none
    first_moment: Tensors  # Adam's, of the parameters alone
    second_moment: Tensors
    updates: int  # Adam's own count: less than `step` after an overflow of float16
    generators: Tensors = field(default_factory=dict)  # random states by device, for dropout
    scaler: Mapping[str, float] = field(default_factory=dict)  # loss scaling of float16
    about: Mapping[str, str] = field(default_factory=dict)  # git_commit, framework, ranks, best_rpa, ...

    @property
    def published(self) -> Tensors:
        """The weights to predict with, arrays [...] by name: the averaged ones if there are any."""
        return self.average or self.weights

    def check_network(self, model: ModelConfig) -> None:
        """Raise UserError unless the state is of the network `model`."""
        stored = self.config.model
        if stored != model:
            raise UserError(
                f"the state of iteration {self.step} is of network {stored.name!r}, not of this run's {model.name!r}: "
                "choose the --model_name or --config that belongs to it"
            )

    def without_framework(self) -> "RunState":
        """The state without what only its own framework can use."""
        return replace(self, generators={}, scaler={})


class StateStore(Protocol):
    """Reads and writes states: the modules `rmvpe_torch.state` and `rmvpe_jax.state` are such stores."""

    def save(self, folder: Path, state: RunState) -> Path:
        """Write `folder`/state-<step>, complete or not at all. Raises UserError if it cannot be written."""
        ...

    def load(self, path: Path) -> RunState:
        """Read a state that `save` wrote. Raises UserError if it is damaged."""
        ...

    def find(self, folder: Path) -> dict[int, Path]:
        """The complete states in `folder` by step, lowest first."""
        ...

    def remove(self, path: Path) -> None:
        """Delete one state."""
        ...


def choose(store: StateStore, folder: Path, wanted: str) -> Path:
    """The state of step `wanted`, or the newest for "latest". Raises UserError if it is not there."""
    states = store.find(folder)
    if not states:
        raise UserError(f"{folder} holds no training state to resume: give the --logdir of an earlier run")
    if wanted == "latest":
        return states[max(states)]
    # Python converts no more than 4300 digits, and other digits than 0 to 9 are decimal too
    if not re.fullmatch("[0-9]{1,18}", wanted) or int(wanted) not in states:
        there = ", ".join(map(str, states))
        raise UserError(f"{folder} has no state of iteration {wanted[:20]}: choose latest or one of {there}")
    return states[int(wanted)]


def prune(store: StateStore, folder: Path, keep: int, best: int | None) -> None:
    """Remove all but the `keep` newest states and that of step `best`."""
    states = store.find(folder)
    for step in list(states)[:-keep]:
        if step != best:
            store.remove(states[step])
