"""The loop's order of work with a trainer that only notes what it is asked for: nothing is computed here."""

import math
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("tensorboardX")

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError
from rmvpe.processes import ONE_RANK, Ranks
from rmvpe.signals import Stopped
from rmvpe.training.loop import Run, update_until_done
from rmvpe.training.run_log import RunLog, read_log
from rmvpe.training.state import RunState

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=16, dropout=0.0)
ZEROS = {name: np.zeros(shape, np.float32) for name, shape in expected_tensors(TINY).items()}


class Names:
    """A source of which only the names are asked for: item `n` is the only one in the batch of step n."""

    def name(self, index: int) -> str:
        return f"song-{index}"


class Store:
    """Training states in memory, by step."""

    def __init__(self) -> None:
        self.states: dict[int, RunState] = {}

    def save(self, folder: Path, state: RunState) -> Path:
        self.states[state.step] = state
        return folder / str(state.step)

    def find(self, folder: Path) -> dict[int, Path]:
        return {step: folder / str(step) for step in sorted(self.states)}

    def remove(self, path: Path) -> None:
        del self.states[int(path.name)]


class Update:
    def __init__(self, trainer: "Recorder", step: int) -> None:
        self.trainer, self.step = trainer, step

    def record(self) -> dict[str, float]:
        self.trainer.events.append(f"read {self.step}")
        loss = math.nan if self.step == self.trainer.broken else 1.0 / self.step
        return {"loss": loss, "grad_norm": 1.0, "param_norm": 1.0, "update_norm": 1.0}

    def rank_losses(self) -> list[float]:
        return [math.nan if self.step == self.trainer.broken else 1.0]


class Recorder:
    """A trainer without a network: `broken` is the step whose loss is nan, `full` the one that has no memory."""

    framework, compiles, ranks = "torch", False, ONE_RANK

    def __init__(self, config: TrainConfig, broken: int = 0, full: int = 0, interrupted: int = 0) -> None:
        self.config, self.broken, self.full, self.interrupted = config, broken, full, interrupted
        self.states = Store()
        self.step = 0
        self.events: list[str] = []

    def start_step(self, batches: Sequence[Batch], learning_rate: float) -> Update:
        if self.step + 1 == self.full:
            raise UserError("too little memory")
        self.step += 1
        self.events.append(f"start {self.step}")
        if self.step == self.interrupted:
            signal.raise_signal(signal.SIGTERM)
        return Update(self, self.step)

    def gather(self, text: str) -> list[str]:
        return [text]

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        return Checkpoint(TINY, ZEROS, metadata)

    def capture(self) -> RunState:
        self.events.append(f"state {self.step}")
        return RunState(self.config, self.step, 0, ZEROS, {}, {}, {}, self.step)

    def barrier(self) -> None:
        pass


def stream(missing: int = 0) -> Iterator[Batch]:
    """The batches of steps 1, 2, ...; that of step `missing` cannot be read."""
    step = 1
    while step != missing:
        frames = np.zeros((1, 32), np.float32)
        yield Batch(np.zeros((1, 32, 128)), np.zeros((1, 32, 360)), frames, np.array([step]), np.zeros(1))
        step += 1
    raise UserError("song.wav is gone")


def train(trainer: Any, logdir: Path, batches: Iterator[Batch]) -> None:
    config = trainer.config
    source: Any = Names()
    with RunLog(logdir, config, ONE_RANK, 0) as log:
        run = Run(trainer, config, source, None, logdir, log, 0, (-1.0, None), {}, {}, "data", "rmvpe train")
        update_until_done(run, batches, quiet=True)


def settings(iterations: int = 8, validation_interval: int = 100) -> TrainConfig:
    return TrainConfig(
        model=TINY, batch_size=1, excerpt_frames=32, iterations=iterations, validation_interval=validation_interval
    )


def logged(logdir: Path) -> list[int]:
    return [row["step"] for row in read_log(logdir)]


def test_numbers_are_read_after_the_next_step_was_started_and_before_a_state(tmp_path):
    trainer = Recorder(settings(iterations=5, validation_interval=3))
    train(trainer, tmp_path, stream())
    assert trainer.events == [
        *("start 1", "start 2", "read 1", "start 3", "read 2", "read 3", "state 3"),
        *("start 4", "start 5", "read 4", "read 5", "state 5"),
    ]
    rows = read_log(tmp_path)
    assert [(row["step"], row["loss"]) for row in rows] == [(step, 1.0 / step) for step in range(1, 6)]
    assert all(0.0 <= row["data_wait"] <= 1.0 for row in rows)
    assert [trainer.states.states[step].examples for step in (3, 5)] == [3, 5]


@pytest.mark.parametrize("broken", [1, 4, 8])
def test_a_loss_that_is_not_finite_is_named_with_its_own_step_and_files(broken, tmp_path):
    trainer = Recorder(settings(), broken=broken)
    with pytest.raises(UserError, match=rf"loss became nan at iteration {broken} on song-{broken} at"):
        train(trainer, tmp_path, stream())
    assert logged(tmp_path) == list(range(1, broken))
    assert not trainer.states.states


def test_a_signal_in_a_step_loses_no_record(tmp_path):
    trainer = Recorder(settings(), interrupted=4)
    with pytest.raises(Stopped, match="iteration 4"):
        train(trainer, tmp_path, stream())
    assert logged(tmp_path) == [1, 2, 3, 4]
    assert list(trainer.states.states) == [4]


def test_a_signal_in_a_step_whose_loss_is_not_finite_saves_no_state(tmp_path):
    trainer = Recorder(settings(), interrupted=4, broken=4)
    with pytest.raises(UserError, match="nan at iteration 4"):
        train(trainer, tmp_path, stream())
    assert not trainer.states.states


def test_a_file_that_cannot_be_read_loses_no_record_and_no_step(tmp_path):
    trainer = Recorder(settings())
    with pytest.raises(UserError, match=r"song\.wav is gone; the state of iteration 3 is saved"):
        train(trainer, tmp_path, stream(missing=4))
    assert logged(tmp_path) == [1, 2, 3]
    assert list(trainer.states.states) == [3]
    assert trainer.states.states[3].examples == 3


def test_before_a_file_that_cannot_be_read_a_loss_that_is_not_finite_comes_first(tmp_path):
    trainer = Recorder(settings(), broken=3)
    with pytest.raises(UserError, match="nan at iteration 3 on song-3"):
        train(trainer, tmp_path, stream(missing=4))
    assert logged(tmp_path) == [1, 2]
    assert not trainer.states.states


def test_a_step_that_cannot_be_started_loses_no_record(tmp_path):
    with pytest.raises(UserError, match="too little memory"):
        train(Recorder(settings(), full=4), tmp_path, stream())
    assert logged(tmp_path) == [1, 2, 3]


def test_several_processes_read_each_step_at_once(tmp_path):
    trainer = Recorder(settings(iterations=3))
    trainer.ranks = Ranks(processes=2)
    train(trainer, tmp_path, stream())
    assert trainer.events == ["start 1", "read 1", "start 2", "read 2", "start 3", "read 3", "state 3"]
