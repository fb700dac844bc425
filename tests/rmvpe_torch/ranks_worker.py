"""One process of tests/rmvpe_torch/test_distributed.py: trains on its share of made-up batches, or fails as asked.

Usage: ranks_worker.py FOLDER train CASE... | ranks_worker.py FOLDER FAILURE
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rmvpe.chunked_gru import salience
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError, cli_errors
from rmvpe.processes import ONE_RANK, Ranks
from rmvpe_torch import distributed, state
from rmvpe_torch.train import TorchTrainer

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=4, gru_hidden=16, dropout=0.0)
GLOBAL_BATCH = 4  # of all processes together
CONFIG = TrainConfig(model=TINY, excerpt_frames=32, batch_size=GLOBAL_BATCH, ema_decay=0.9)
STEPS = 8


@dataclasses.dataclass(frozen=True)
class Case:
    config: TrainConfig
    rate: float = 5e-4
    dtype: torch.dtype = (
        torch.float64
    )  # what is the same sum in exact numbers stays the same: nothing hides in rounding


CASES = {
    "sync": Case(dataclasses.replace(CONFIG, sync_batch_norm=True)),
    "sync float32": Case(dataclasses.replace(CONFIG, sync_batch_norm=True), rate=1e-4, dtype=torch.float32),
    "accumulate": Case(dataclasses.replace(CONFIG, sync_batch_norm=True, grad_accumulation=2)),
    "apart": Case(CONFIG),
    "dropout": Case(dataclasses.replace(CONFIG, model=dataclasses.replace(TINY, dropout=0.25)), dtype=torch.float32),
}


def batch(number: int, count: int = GLOBAL_BATCH) -> Batch:
    """Made-up examples, the same for everybody: a bright band that glides over noise."""
    rng = np.random.default_rng(number)
    bands, frames = np.arange(128), np.arange(32)
    centre = rng.uniform(20, 100, (count, 1)) + rng.uniform(-0.5, 0.5, (count, 1)) * frames
    log_mel = rng.normal(-6, 1, (count, 32, 128)) + 5 * np.exp(-((bands - centre[..., None]) ** 2) / 8)
    target = np.exp(-((np.arange(360) - 2.8 * centre[..., None]) ** 2) / 3)
    dtype = str(torch.get_default_dtype()).removeprefix("torch.")
    return {"log_mel": log_mel.astype(dtype), "target": target.astype(dtype)}


def share(whole: Batch, ranks: Ranks) -> Batch:
    size = len(whole["log_mel"]) // ranks.total
    return {name: array[ranks.process * size :][:size] for name, array in whole.items()}


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
    """Weights, averages and what the network says in the end."""
    end = trainer.capture()
    parts = {"weights": end.weights, "average": end.average, "moment": end.second_moment}
    flat = {f"{part} {name}": array for part, arrays in parts.items() for name, array in arrays.items()}
    return flat | {"salience": salience(trainer.network(trainer.checkpoint({})), batch(99)["log_mel"])}


def run_case(name: str, folder: Path, device: torch.device, ranks: Ranks) -> None:
    trainer = make_trainer(CASES[name], device, ranks)
    records = train(trainer, CASES[name])
    # Every process writes: the test compares them
    np.savez(folder / f"{name}-{ranks.process}.npz", **results(trainer))
    (folder / f"{name}-{ranks.process}.json").write_text(json.dumps(records))


def resume_in_the_middle(name: str, folder: Path, device: torch.device, ranks: Ranks) -> None:
    case = CASES[name]
    half = make_trainer(case, device, ranks)
    train(half, case, 0, STEPS // 2)
    if ranks.leads:
        state.save(folder, half.capture())
    half.barrier()
    again = make_trainer(case, device, ranks)
    again.restore(state.load(state.find(folder)[STEPS // 2]))
    records = train(again, case, STEPS // 2, STEPS)
    (folder / f"{name}-resumed-{ranks.process}.json").write_text(json.dumps(records))


def fail(how: str, folder: Path, device: torch.device, ranks: Ranks) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # as data workers are
    (folder / f"pids-{ranks.process}").write_text(f"{os.getpid()} {child.pid}")
    if how == "all the same":
        raise UserError("the data set is not there: give --data")
    if ranks.process == 1:
        if how == "user error":
            raise UserError("this recording has no label: label it")
        if how == "bug":
            raise ZeroDivisionError("process 1 divided by zero")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"ready-{ranks.process}").touch()
    if ranks.leads or how != "wait":
        torch.distributed.all_reduce(torch.zeros(1))  # waits for a process that does not come
    time.sleep(600)


def main(folder: Path, what: str, cases: list[str]) -> None:
    ranks, device = distributed.start("cpu")
    torch.set_num_threads(1)
    if what != "train":
        fail(what, folder, device, ranks)
    for name in cases:
        run_case(name, folder, device, ranks)
    if "dropout" in cases:
        resume_in_the_middle("dropout", folder, device, ranks)


if __name__ == "__main__":
    with cli_errors("worker"):
        main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
