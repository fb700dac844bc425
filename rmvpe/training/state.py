"""The state of a training run, independent of the framework.

Each framework package stores it in its own format (`rmvpe_torch.state` in one .pt file, `rmvpe_jax.state` in an Orbax
folder), so that a run can be resumed exactly, bit for bit, or continued in the other framework.
"""

import hashlib
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.config_check import to_dict
from rmvpe.data.readers.base import Source
from rmvpe.errors import UserError

MAX_SHOWN = 20  # characters of an iteration in a message
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
    # git_commit, framework, ranks, data (`fingerprint`), threshold, calibration, ...
    about: Mapping[str, str] = field(default_factory=dict)

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
    # No number of more digits than the longest there is: Python refuses to read those of thousands of digits
    digits = wanted.lstrip("0") or "0"
    readable = wanted.isascii() and wanted.isdecimal() and len(digits) <= len(str(max(states)))
    if not readable or int(digits) not in states:
        there = ", ".join(map(str, states))
        shown = wanted if len(wanted) <= MAX_SHOWN else f"{wanted[:MAX_SHOWN]}..."
        raise UserError(f"{folder} has no state of iteration {shown}: choose latest or one of {there}")
    return states[int(digits)]


def prune(store: StateStore, folder: Path, keep: int, best: int | None) -> None:
    """Remove all but the `keep` newest states and that of step `best`."""
    states = store.find(folder)
    for step in list(states)[:-keep]:
        if step != best:
            store.remove(states[step])


def fingerprint(source: Source) -> str:
    """What a source holds, as text: the number of its items and a hash of their names, in their order."""
    names = "\n".join(source.name(index) for index in range(len(source)))
    return f"{len(source)} items, {hashlib.sha256(names.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def changes(state: RunState, config: TrainConfig, data: str, ranks: int) -> list[str]:
    """What differs in a run that goes on from `state`: "NAME is NEW, was OLD" for each setting, and the data.

    `data`: the `fingerprint` of the source. A difference that changes no number (iterations, keep, ...) is listed too.
    """
    before, now = (_flat(to_dict(part)) for part in (state.config, config))
    found = [f"{name} is {now.get(name)}, was {before.get(name)}" for name in now if now[name] != before.get(name)]
    if state.about.get("ranks", str(ranks)) != str(ranks):
        found.append(f"the number of ranks is {ranks}, was {state.about['ranks']}")
    stored = state.about.get("data", data)
    if stored != data:
        counts = [text.split(",")[0] for text in (data, stored)]
        found.append(
            f"{config.data} holds {counts[0]}, was {counts[1]}"
            if counts[0] != counts[1]
            else f"the {counts[0]} of {config.data} have other names"
        )
    return found


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def resume_command(framework: str, logdir: Path, more: Sequence[str] = (), windows: bool = os.name == "nt") -> str:
    """The command that continues the run in `logdir` from its newest state, quoted for the system's shell.

    `more`: what else it takes, such as devices.
    """
    words = ["rmvpe", "train", framework, "--logdir", str(logdir), "--resume_iteration", "latest", *more]
    return subprocess.list2cmdline(words) if windows else shlex.join(words)
