"""The training loop of both frameworks: data, steps, log, validation, states. A `Trainer` computes the steps.

The order at the start is: config, devices, data, network, resume (if asked for), loop. Only the main process writes
files. A loss that is not finite stops the run; the last state is kept.
"""

import json
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rmvpe.backends import Backend
from rmvpe.calibration import NONE as NO_CALIBRATION
from rmvpe.checkpoint.store import Checkpoint, save
from rmvpe.config import DecodeConfig, TrainConfig
from rmvpe.config_check import to_json
from rmvpe.data.pipeline import Batch, training_batches
from rmvpe.data.readers.base import Source
from rmvpe.errors import UserError, user_message
from rmvpe.estimator import Estimator
from rmvpe.evaluation.evaluate import CLEAN, Evaluation, Prediction, evenly_spaced, predictions, scored, snr_name
from rmvpe.evaluation.recommend import NAMES, updated
from rmvpe.files import write_text
from rmvpe.pictures.theme import DEFAULT_THEME
from rmvpe.processes import Ranks, ReportedByMain
from rmvpe.signals import Stopped
from rmvpe.training.folder import BEST, CONFIG, FAILED_BATCH, LAST, has_state
from rmvpe.training.losses import dropout_floor
from rmvpe.training.model_card import write_card
from rmvpe.training.run_log import RunLog, best_so_far
from rmvpe.training.schedule import learning_rate
from rmvpe.training.state import RunState, StateStore, choose, fingerprint, prune, resume_command

VALIDATION_SNR_DB = (CLEAN, 0.0)
# Voicing in a validation's scores: on salience, the same at every step of every run, so that scores can be compared
SCORED_AS = DecodeConfig(threshold=0.1, calibration=NO_CALIBRATION)
THRESHOLDS = tuple(np.round(np.arange(0.02, 0.71, 0.02), 2).tolist())  # one of these is stored with the weights
# No limit at 0 dB: on the few files of a fine-tuning's validation split it set the threshold much too high
# (docs/fine-tuning.md)
MOST_FALSE_ALARMS = {snr_name(CLEAN): 0.05}
ORIGIN = ("licence", "initial")  # in the metadata: who may use the weights, and what training started from
MAX_NAMES = 8  # files of a batch in a message; FAILED_BATCH lists all


class Trainer(Protocol):
    """One framework's network, optimizer and averaged weights on the devices of this process."""

    framework: str  # "torch" or "jax"
    compiles: bool  # whether the first update compiles the network, which takes up to minutes
    ranks: Ranks
    states: StateStore

    @property
    def step(self) -> int:
        """Updates done."""
        ...

    def train_step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, float]:
        """One update from this process's `grad_accumulation` batches of `ranks.local` x batch_size examples.

        Returns "loss" (mean over all ranks and batches, dropout included), "grad_norm" before clipping, "param_norm"
        after the update and "update_norm" of the parameters' change; with float16 also "loss_scale".
        """
        ...

    def rank_losses(self) -> list[float]:
        """The last update's loss on each of this process's `ranks.local` ranks, before the mean over all of them."""
        ...

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in their order; all of them call it at the same time."""
        ...

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        """The weights to publish: averaged ones if the run averages."""
        ...

    def network(self, checkpoint: Checkpoint) -> Backend:
        """The network of `checkpoint` on this trainer's device, for validation: what prediction runs too."""
        ...

    def capture(self) -> RunState:
        """The state of this step, without `examples` and `about`, which the loop knows."""
        ...

    def restore(self, state: RunState) -> None:
        """Continue from `state`, which either framework wrote. Raises UserError if it is of another network."""
        ...

    def barrier(self) -> None:
        """Wait for all processes."""
        ...


@dataclass
class Run:
    """The state of the loop between two steps."""

    trainer: Trainer
    config: TrainConfig
    source: Source
    valid: Source | None
    logdir: Path
    log: RunLog
    examples: int  # drawn so far by all ranks
    best: tuple[float, int | None]  # mean RPA of the best validation, and its step
    origin: Mapping[str, str]  # metadata of the weights: `ORIGIN`, as far as it is known
    recommended: Mapping[str, str]  # the threshold and calibration of the last fit, as metadata; main process only
    data: str  # the fingerprint of the source
    command: str  # that continues the run
    last: Evaluation | None = None


def resume(trainer: Trainer, logdir: Path, wanted: str) -> RunState:
    """Set the trainer to the state of iteration `wanted` ("latest": the newest) of the run in `logdir`.

    Later states are moved to a subfolder, because the run will write its own. Raises UserError if there is no such
    state.
    """
    store = trainer.states
    path = choose(store, logdir, wanted)
    state = store.load(path)
    trainer.restore(state)
    if trainer.ranks.is_main_process:
        later = [other for step, other in store.find(logdir).items() if step > state.step]
        for other in later:
            aside = logdir / f"set-aside-at-{state.step}"
            aside.mkdir(exist_ok=True)
            other.replace(aside / other.name)
    trainer.barrier()
    return state


def fit(
    trainer: Trainer,
    config: TrainConfig,
    source: Source,
    valid: Source | None,
    logdir: Path,
    resumed: RunState | None = None,
    validate_first: bool = False,
    initial: Checkpoint | None = None,
    command: str | None = None,
    quiet: bool = False,
    licence: str | None = None,
    theme: str = DEFAULT_THEME,
) -> Evaluation | None:
    """Train from `trainer.step` to `config.iterations`; returns the last validation (None without `valid`).

    `resumed` is the result of `resume`. `validate_first`: the weights that training starts from are validated too, so
    that the scores before and after can be compared; if none are better, they are the best. `initial`: the weights
    that the trainer started from, whose threshold and calibration are kept until the first validation finds others.
    `command` continues the run; messages give it. `quiet`: no bar. `licence`: of the weights, for their metadata and
    their card; of a resumed run by default what it was. `theme`: colours of the picture.

    Writes into `logdir`: config.json, the files of `rmvpe.training.run_log`, the training states, last.safetensors and
    best.safetensors (by mean RPA over `VALIDATION_SNR_DB` on the validation split), and their model card. On SIGTERM or
    Ctrl-C a run of one process saves its state, then raises `Stopped`, a KeyboardInterrupt. Raises UserError if a loss
    or gradient is not finite, or a file cannot be read or written.
    """
    if trainer.ranks.is_main_process:
        write_text(logdir / CONFIG, to_json(config))
    examples = resumed.examples if resumed else 0
    given = resumed.about if resumed else initial.metadata if initial else {}
    recommended = {name: given[name] for name in NAMES if name in given}
    # The licence of the weights that a run starts from is not that of its own: who trains says which it is
    origin = {name: given[name] for name in (ORIGIN if resumed else ORIGIN[1:]) if name in given}
    if licence is not None:
        origin["licence"] = licence
    command = command or resume_command(trainer.framework, logdir)
    batches = training_batches(source, config, trainer.ranks, examples)
    # The threads or processes that prepare batches are ended here: at the exit of Python they would print errors
    with closing(batches), RunLog(logdir, config, trainer.ranks, trainer.step, theme) as log:
        best, data = best_so_far(logdir), fingerprint(source)
        run = Run(trainer, config, source, valid, logdir, log, examples, best, origin, recommended, data, command)
        if validate_first:
            validate_and_publish(run)
        update_until_done(run, batches, quiet)
    return run.last


def update_until_done(run: Run, batches: Iterator[Batch], quiet: bool = False) -> None:
    """All updates that are left, with their validations and states; raises as `fit`."""
    from tqdm import tqdm

    trainer, config, hidden = run.trainer, run.config, quiet or not run.trainer.ranks.is_main_process
    first = trainer.compiles and not hidden
    bar = tqdm(total=config.iterations, initial=trainer.step, unit="step", disable=hidden)
    with bar, stop_requests(trainer.ranks) as stop:
        while trainer.step < config.iterations:
            if first:
                bar.write("compiling the network: the first step takes up to some minutes", sys.stderr)
            record = timed_step(run, batches)
            if first:
                bar.write(f"compiled: the first step took {record['seconds']:.0f} s", sys.stderr)
                first = False
            run.log.step(record)
            bar.update()
            bar.set_postfix(loss=f"{record['loss']:.4f}", net=f"{record['loss_net']:.4f}", refresh=False)
            last = trainer.step == config.iterations
            if trainer.step % config.validation_interval == 0 or last:
                validate_and_save(run)
            elif stop:
                save_state(run)
            if stop and not last:
                raise Stopped(
                    stop[0],
                    f"stopped after iteration {trainer.step}, whose state is saved: continue with {run.command}",
                )


def drawn(run: Run, stream: Iterator[Batch]) -> list[Batch]:
    """The batches of one update. If a file cannot be read: UserError, and a run of one process saves its state."""
    trainer = run.trainer
    try:
        return [next(stream) for _ in range(run.config.grad_accumulation)]
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        if trainer.ranks.processes == 1 and trainer.step:
            save_state(run)
            message += f"; the state of iteration {trainer.step} is saved, continue then with {run.command}"
        raise UserError(message) from error


def timed_step(run: Run, stream: Iterator[Batch]) -> dict[str, float]:
    """One update; returns its line for the log. Raises UserError if the loss or gradient is not finite."""
    trainer, config = run.trainer, run.config
    start = time.perf_counter()
    batches = drawn(run, stream)
    waited = time.perf_counter() - start
    rate = learning_rate(trainer.step, config)
    record = trainer.train_step(batches, rate)
    # With float16, gradients may be infinite until the loss scale fits; such an update is skipped
    names = ("loss",) if "loss_scale" in record else ("loss", "grad_norm")
    for name in names:
        if not math.isfinite(record[name]):
            raise not_finite(run, name, record[name], batches)
    seconds = time.perf_counter() - start
    examples = config.batch_size * config.grad_accumulation * trainer.ranks.total
    run.examples += examples
    floor = float(np.mean([dropout_floor(config, batch.target) for batch in batches]))
    return {
        "step": trainer.step,
        **record,
        "loss_net": record["loss"] - floor,
        "learning_rate": rate,
        "seconds": seconds,
        "examples_per_s": examples / seconds,
        "data_wait": waited / seconds,
    }


def not_finite(run: Run, name: str, value: float, batches: Sequence[Batch]) -> UserError | ReportedByMain:
    """The error for a loss or gradient that is not finite, which all processes meet at the same update.

    It names the files of the ranks where the loss is not finite, of these the ones that are not finite themselves (with
    common batch norm the loss is not finite on any rank then). The main process reports it, and lists the files of
    all ranks in `FAILED_BATCH`.
    """
    trainer = run.trainer
    texts = trainer.gather(json.dumps(examined(trainer.ranks, trainer.rank_losses(), run.source, batches)))
    rows = [row for text in texts for row in json.loads(text)]
    message = non_finite_message(run, name, value, rows)
    if not trainer.ranks.is_main_process:
        return ReportedByMain(message)
    report = {"step": trainer.step, name: str(value), "batch": rows}
    write_text(run.logdir / FAILED_BATCH, json.dumps(report, indent=1))
    return UserError(message)


def examined(ranks: Ranks, losses: Sequence[float], source: Source, batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """This process's examples: file and rank, whether spectrogram and target are finite, and whether the loss is."""
    rows: list[dict[str, Any]] = []
    for batch in batches:
        each = len(batch.index) // ranks.local
        finite = [np.isfinite(array).reshape(len(array), -1).all(axis=1) for array in (batch.log_mel, batch.target)]
        for row, (index, start) in enumerate(zip(batch.index, batch.start_s)):
            rank = min(row // each, ranks.local - 1)
            rows.append(
                {
                    "file": source.name(int(index)),
                    "start_s": float(start),
                    "finite_input": bool(finite[0][row] and finite[1][row]),
                    "finite_loss": math.isfinite(losses[rank]),
                    "rank": ranks.process * ranks.local + rank,
                }
            )
    return rows


def non_finite_message(run: Run, name: str, value: float, rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence about a loss or gradient that is not finite; `rows`: `examined` of all processes."""
    suspects = [row for row in rows if not row["finite_loss"]] or rows
    suspects = [row for row in suspects if not row["finite_input"]] or suspects
    listed = ", ".join(f"{row['file']} at {row['start_s']:.2f} s" for row in suspects[:MAX_NAMES])
    more = f" and {len(suspects) - MAX_NAMES} more" if len(suspects) > MAX_NAMES else ""
    what = "the loss" if name == "loss" else "the gradient"
    return (
        f"{what} became {value} at iteration {run.trainer.step} on {listed}{more} "
        f"(all in {run.logdir / FAILED_BATCH}): the run stopped, its last state is kept; "
        "fix these files, or resume with a lower --learning_rate or without --amp"
    )


def validate(network: Backend, config: TrainConfig, valid: Source) -> dict[str, list[Prediction]]:
    """Predictions by voice-to-music ratio on at most `config.validation_files` files, evenly spaced over the split."""
    estimator = Estimator(network, config.model, SCORED_AS)
    return predictions(estimator, valid, VALIDATION_SNR_DB, evenly_spaced(len(valid), config.validation_files))


def validate_and_save(run: Run) -> None:
    """`validate_and_publish`, then `save_state`."""
    validate_and_publish(run)
    save_state(run)


def validate_and_publish(run: Run) -> None:
    """Validate, log it, write the weights of this step and, if they are the best so far, best.safetensors.

    With a validation split the weights carry the voicing threshold and the calibration that fit them; where none can be
    fitted, and without the split, those of the last fit, or of the weights that the run started from.
    """
    trainer, config = run.trainer, run.config
    if trainer.ranks.is_main_process:
        checkpoint = trainer.checkpoint(run_metadata(trainer.step, config))
        if run.valid is not None:
            rows = validate(trainer.network(checkpoint), config, run.valid)
            run.last = scored(rows, SCORED_AS)
            run.log.validation(trainer.step, run.last)
            run.recommended = updated(run.recommended, rows, SCORED_AS, THRESHOLDS, MOST_FALSE_ALARMS)
        checkpoint = replace(checkpoint, metadata={**checkpoint.metadata, **run.origin, **run.recommended})
        if run.last is not None:
            mean_rpa = float(np.mean([row["RPA"] for row in run.last.pooled.values()]))
            if mean_rpa > run.best[0]:
                run.best = (mean_rpa, trainer.step)
                save(run.logdir / BEST, checkpoint)
                write_card(run.logdir, BEST, checkpoint, config, run.data, run.last.pooled)
        save(run.logdir / LAST, checkpoint)
        if run.last is None:
            write_card(run.logdir, LAST, checkpoint, config, run.data, {})


def save_state(run: Run) -> None:
    """Write the training state of this step and remove old ones; all processes wait for it."""
    trainer, store = run.trainer, run.trainer.states
    if trainer.ranks.is_main_process:
        about = run_metadata(trainer.step, run.config) | {
            "framework": trainer.framework,
            "ranks": str(trainer.ranks.total),
            "data": run.data,
            **run.origin,
            **run.recommended,
        }
        store.save(run.logdir, replace(trainer.capture(), examples=run.examples, about=about))
        has_state(run.logdir)
        prune(store, run.logdir, run.config.keep, run.best[1])
    trainer.barrier()


@contextmanager
def stop_requests(ranks: Ranks) -> Iterator[list[int]]:
    """A list of the signals SIGTERM and Ctrl-C that came; it has at most one, a second signal has its usual effect.

    Several processes receive signals at different steps and cannot agree on a step to stop at, so only a run of one
    process finishes its step first.
    """
    received: list[int] = []
    if ranks.processes > 1 or threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def receive(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        restore()


def run_metadata(step: int, config: TrainConfig) -> dict[str, str]:
    """The metadata of a checkpoint about its origin."""
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
