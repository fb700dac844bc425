"""A process of tests/rmvpe_torch/test_distributed.py: trains on its share of made-up batches, or fails as asked.

Usage: ranks_worker.py N FOLDER train CASE... | ranks_worker.py N FOLDER FAILURE; N processes, 0 leaves it to torchrun.
FAILURE "windows": the processes wait, started the way that Windows needs.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rmvpe.chunked_gru import salience
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError, run_cli
from rmvpe.processes import ONE_RANK, Ranks
from rmvpe_torch import distributed, state
from rmvpe_torch.launch import launch, run_processes
from rmvpe_torch.train import TorchTrainer
from tests.helpers.batches import made_up, mapped

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=4, gru_hidden=16, dropout=0.0)
GLOBAL_BATCH = 4  # of all processes together
CONFIG = TrainConfig(model=TINY, excerpt_frames=32, batch_size=GLOBAL_BATCH, ema_decay=0.9)
STEPS = 8


@dataclasses.dataclass(frozen=True)
class Case:
    config: TrainConfig
    rate: float = 5e-4
    dtype: torch.dtype = torch.float64  # equal sums stay equal: rounding hides no error


CASES = {
    "sync": Case(dataclasses.replace(CONFIG, sync_batch_norm=True)),
    "sync float32": Case(dataclasses.replace(CONFIG, sync_batch_norm=True), rate=1e-4, dtype=torch.float32),
    "accumulate": Case(dataclasses.replace(CONFIG, sync_batch_norm=True, grad_accumulation=2)),
    "apart": Case(CONFIG),
    "dropout": Case(dataclasses.replace(CONFIG, model=dataclasses.replace(TINY, dropout=0.25)), dtype=torch.float32),
}


def batch(number: int, count: int = GLOBAL_BATCH) -> Batch:
    """Made-up examples, the same in every process: a bright band that glides over noise."""
    rng = np.random.default_rng(number)
    bands, frames = np.arange(128), np.arange(32)
    centre = rng.uniform(20, 100, (count, 1)) + rng.uniform(-0.5, 0.5, (count, 1)) * frames
    log_mel = rng.normal(-6, 1, (count, 32, 128)) + 5 * np.exp(-((bands - centre[..., None]) ** 2) / 8)
    target = np.exp(-((np.arange(360) - 2.8 * centre[..., None]) ** 2) / 3)
    dtype = str(torch.get_default_dtype()).removeprefix("torch.")
    return made_up(log_mel.astype(dtype), target.astype(dtype))


def share(whole: Batch, ranks: Ranks) -> Batch:
    size = len(whole.log_mel) // ranks.total
    return mapped(whole, lambda array: array[ranks.process * size :][:size])


def make_trainer(case: Case, device: torch.device | str = "cpu", ranks: Ranks = ONE_RANK) -> TorchTrainer:
    torch.set_default_dtype(case.dtype)
    config = dataclasses.replace(case.config, batch_size=case.config.batch_size // ranks.total)
    return TorchTrainer(config, device, None, ranks)


def train(trainer: TorchTrainer, case: Case, first: int = 0, last: int = STEPS) -> list[dict[str, float]]:
    parts = case.config.grad_accumulation
    return [
        trainer.train_step([share(batch(step * parts + part), trainer.ranks) for part in range(parts)], case.rate)
        for step in range(first, last)
    ]


def results(trainer: TorchTrainer) -> dict[str, np.ndarray]:
    """Weights, averages, moments and a prediction at the end."""
    end = trainer.capture()
    parts = {"weights": end.weights, "average": end.average, "moment": end.second_moment}
    flat = {f"{part} {name}": array for part, arrays in parts.items() for name, array in arrays.items()}
    return flat | {"salience": salience(trainer.network(trainer.checkpoint({})), batch(99).log_mel)}


def run_case(name: str, folder: Path, device: torch.device, ranks: Ranks) -> None:
    trainer = make_trainer(CASES[name], device, ranks)
    records = train(trainer, CASES[name])
    # Every process writes: the test compares them
    np.savez(folder / f"{name}-{ranks.process}.npz", **results(trainer))  # type: ignore[arg-type]  # names are free
    (folder / f"{name}-{ranks.process}.json").write_text(json.dumps(records))


def resume_in_the_middle(name: str, folder: Path, device: torch.device, ranks: Ranks) -> None:
    case = CASES[name]
    half = make_trainer(case, device, ranks)
    train(half, case, 0, STEPS // 2)
    if ranks.is_main_process:
        state.save(folder, half.capture())
    half.barrier()
    again = make_trainer(case, device, ranks)
    again.restore(state.load(state.find(folder)[STEPS // 2]))
    records = train(again, case, STEPS // 2, STEPS)
    (folder / f"{name}-resumed-{ranks.process}.json").write_text(json.dumps(records))


def fail(how: str, folder: Path, ranks: Ranks) -> None:
    """Fail in one way, or wait until this process is ended.

    This process and a child of it hold the pipe folder/alive open: it ends when all of them have ended.
    """
    alive = os.open(folder / "alive", os.O_WRONLY)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[alive])  # as a data worker is
    if how == "all the same":
        raise UserError("the data set does not exist: give --data")
    if ranks.process == 1:
        if how == "user error":
            raise UserError("this recording has no label: label it")
        if how == "bug":
            raise ZeroDivisionError("process 1 divided by zero")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    os.write(alive, b"ready\n")
    if ranks.is_main_process or how != "wait":
        torch.distributed.all_reduce(torch.zeros(1))  # waits for a process that does not come
    time.sleep(600)


def on_windows(folder: Path, fails: bool) -> None:
    """As a run on Windows: process 0 and its child hold the pipe folder/alive open; process 1 fails or waits too."""
    ranks, _ = distributed.start("cpu", windows=True)
    alive = os.open(folder / "alive", os.O_WRONLY)
    os.write(alive, b"ready\n")
    if fails and ranks.is_main_process:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[alive])
    torch.distributed.barrier()
    if fails and not ranks.is_main_process:
        raise ZeroDivisionError("process 1 divided by zero")
    time.sleep(600)


def main(folder: Path, what: str, cases: Sequence[str] = ()) -> None:
    ranks, device = distributed.start("cpu")
    torch.set_num_threads(1)
    if what != "train":
        fail(what, folder, ranks)
    for name in cases:
        run_case(name, folder, device, ranks)
    if "dropout" in cases:
        resume_in_the_middle("dropout", folder, device, ranks)


def program(processes: int | None, folder: str, what: str, *cases: str) -> int | None:
    if what == "windows":
        assert processes is not None
        return launch(processes, partial(on_windows, Path(folder), fails=False), windows=True)
    work = partial(main, Path(folder), what, cases)
    code = run_processes(processes, "cpu", work)
    return work() if code is None else code


if __name__ == "__main__":
    _, count, *arguments = sys.argv
    sys.exit(run_cli("worker", partial(program, int(count) or None, *arguments)))
