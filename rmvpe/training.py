"""The training run both frameworks share: data, steps, log, validation, checkpoints. A `Trainer` does the arithmetic.

Order at the start: config, seed, data (first batch read, so that a bad folder fails before minutes of compilation),
network, optional resume, loop. A NaN or infinite loss stops the run; the last good checkpoint stays.
"""

import json
import math
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from rmvpe.checkpoint import Checkpoint, save
from rmvpe.config import TrainConfig, to_dict
from rmvpe.data.pipeline import Batch, Source, training_batches
from rmvpe.errors import UserError
from rmvpe.estimator import Backend, Estimator
from rmvpe.evaluate import CLEAN, evaluate, spread
from rmvpe.files import atomic_path
from rmvpe.schedule import learning_rate

VALIDATION_SNR_DB = (CLEAN, 0.0)
VALIDATION_THRESHOLD = 0.1


class Trainer(Protocol):
    """One framework's network, optimizer and averaged weights."""

    step: int  # updates done
    batch_windows: int  # as of an estimator's backend

    def train_step(self, batch: Batch, learning_rate: float) -> dict[str, float]:
        """One update; returns {"loss", "grad_norm"} (the norm before clipping)."""
        ...

    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Evaluation forward [B, T, n_mels] -> [B, T, 360] with the weights that a checkpoint would hold."""
        ...

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        """The weights to publish: averaged ones if the run averages."""
        ...

    def save(self, folder: Path) -> None:
        """Write the whole training state of this step into `folder`, atomically."""
        ...

    def restore(self, folder: Path) -> None:
        """Continue from the newest state in `folder`; UserError if there is none or it is another network's."""
        ...


def fit(trainer: Trainer, config: TrainConfig, source: Source, valid: Source | None, logdir: Path) -> dict:
    """Train from `trainer.step` to `config.iterations`; returns the last validation's scores ({} without `valid`).

    Writes into `logdir`: config.json, log.jsonl (one line per log interval or validation), the trainer's states,
    last.safetensors and best.safetensors (by mean RPA over `VALIDATION_SNR_DB` on the validation split).
    """
    from tqdm import tqdm

    logdir.mkdir(parents=True, exist_ok=True)
    with atomic_path(logdir / "config.json") as path:
        path.write_text(json.dumps(to_dict(config), indent=1))
    batches = training_batches(source, config, trainer.step)
    best, last_scores = _best_so_far(logdir), {}
    with tqdm(total=config.iterations, initial=trainer.step, unit="step", dynamic_ncols=True) as bar:
        while trainer.step < config.iterations:
            record = _timed_step(trainer, config, batches)
            bar.update()
            bar.set_postfix(loss=f"{record['loss']:.4f}", refresh=False)
            _append(logdir, record)
            if trainer.step % config.validation_interval == 0 or trainer.step == config.iterations:
                last_scores = validate(trainer, config, valid) if valid is not None else {}
                best = _publish(trainer, config, logdir, last_scores, best)
    return last_scores


def _timed_step(trainer: Trainer, config: TrainConfig, batches: Iterator[Batch]) -> dict[str, float]:
    start = time.perf_counter()
    batch = next(batches)
    waited = time.perf_counter() - start
    rate = learning_rate(trainer.step, config)
    record = trainer.train_step(batch, rate)
    if not math.isfinite(record["loss"]):
        raise UserError(
            f"the loss became {record['loss']} at step {trainer.step}: the run stopped and its last checkpoint is "
            "kept; resume it with a lower learning rate or conv_dtype float32"
        )
    seconds = time.perf_counter() - start
    return {"step": trainer.step, **record, "learning_rate": rate, "seconds": seconds, "data_wait": waited / seconds}


def validate(trainer: Trainer, config: TrainConfig, valid: Source) -> dict[str, dict[str, float]]:
    """Scores by voice-to-music ratio on at most `config.validation_files` files spread over the split."""
    network = Estimator(cast(Backend, trainer), config.model)  # its host front end asks for `salience` alone
    return evaluate(
        network.salience,
        valid,
        config.model,
        threshold=VALIDATION_THRESHOLD,
        snr_db=VALIDATION_SNR_DB,
        indices=spread(len(valid), config.validation_files),
    )


def _publish(trainer: Trainer, config: TrainConfig, logdir: Path, scores: dict, best: float) -> float:
    """Save state and weights of this step; returns the best mean RPA so far."""
    trainer.save(logdir)
    checkpoint = trainer.checkpoint(run_metadata(trainer.step, config))
    save(logdir / "last.safetensors", checkpoint)
    if not scores:
        return best
    _append(logdir, {"step": trainer.step, "validation": scores})
    mean_rpa = float(np.mean([row["RPA"] for row in scores.values()]))
    if mean_rpa > best:
        save(logdir / "best.safetensors", checkpoint)
        return mean_rpa
    return best


def run_metadata(step: int, config: TrainConfig) -> dict[str, str]:
    """What a published checkpoint says of its origin."""
    return {"git_commit": git_commit(), "step": str(step), "seed": str(config.seed)}


def git_commit() -> str:
    """The commit of the code that runs, with "-dirty" if the tree differs; "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _append(logdir: Path, record: dict) -> None:
    with (logdir / "log.jsonl").open("a") as log:  # appended line by line: a crash loses one line at most
        log.write(json.dumps(record) + "\n")


def read_log(logdir: Path) -> list[dict]:
    """All lines of a run's log; a last line cut off by a crash is left out."""
    path = logdir / "log.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def _best_so_far(logdir: Path) -> float:
    rows = [record["validation"] for record in read_log(logdir) if record.get("validation")]
    return max((float(np.mean([row["RPA"] for row in scores.values()])) for scores in rows), default=-1.0)
