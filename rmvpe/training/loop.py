"""The training loop of both frameworks: data, steps, log, validation, states. A `Trainer` computes the steps.

The order at the start is: config, devices, data, network, resume (if asked for), loop. Only the main process writes
files. A loss that is not finite stops the run; the last state is kept.
"""

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
from rmvpe.processes import Ranks
from rmvpe.signals import Stopped
from rmvpe.training.folder import BEST, CONFIG, LAST, has_state
from rmvpe.training.losses import dropout_floor
from rmvpe.training.model_card import write_card
from rmvpe.training.non_finite import not_finite
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


class Update(Protocol):
    """One update that a trainer has started. Both methods wait until it is computed."""

    def record(self) -> dict[str, float]:
        """The update's numbers.

        "loss" (mean over all ranks and batches, dropout included), "grad_norm" before clipping, "param_norm" after the
        update and "update_norm" of the parameters' change; with float16 also "loss_scale".
        """
        ...

    def rank_losses(self) -> list[float]:
        """The loss on each of this process's `ranks.local` ranks, before the mean over all of them."""
        ...


class Trainer(Protocol):
    """One framework's network, optimizer and averaged weights on the devices of this process."""

    framework: str  # "torch" or "jax"
    compiles: bool  # whether the first update compiles the network, which takes up to minutes
    ranks: Ranks
    states: StateStore

    @property
    def step(self) -> int:
        """Updates started."""
        ...

    def start_step(self, batches: Sequence[Batch], learning_rate: float) -> Update:
        """Start one update from this process's `grad_accumulation` batches of `ranks.local` x batch_size examples.

        It may return before the devices are done; `Update.record` waits for them.
        """
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
    """All updates that are left, with their validations and states; raises as `fit`.

    The numbers of an update are read after the next one was started, so that an accelerator always has work: the next
    batches are on their way to it while it computes. Before a validation or a state nothing is left unread, and in
    a run of several processes nothing at any time.
    """
    from tqdm import tqdm

    trainer, config, hidden = run.trainer, run.config, quiet or not run.trainer.ranks.is_main_process
    first = trainer.compiles and not hidden
    # Several processes meet in `not_finite`: with another step under way JAX's waited there for each other for ever
    several = trainer.ranks.processes > 1
    bar = tqdm(total=config.iterations, initial=trainer.step, unit="step", disable=hidden)
    with bar, stop_requests(trainer.ranks) as stop:
        unread = Unread(run, bar)
        while trainer.step < config.iterations:
            if first:
                bar.write("compiling the network: the first step takes up to some minutes", sys.stderr)
            unread.start(batches)
            last = trainer.step == config.iterations
            due = trainer.step % config.validation_interval == 0 or last
            stopping = bool(stop)  # once for this update: a signal may come at any line below
            if first or due or stopping or several:
                unread.read()
            if first:
                bar.write(f"compiled: the first step took {unread.seconds:.0f} s", sys.stderr)
                first = False
            if due:
                validate_and_save(run)
                stopping = bool(stop)
            elif stopping:
                save_state(run)
            if stopping and not last:
                raise Stopped(
                    stop[0],
                    f"stopped after iteration {trainer.step}, whose state is saved: continue with {run.command}",
                )


@dataclass(frozen=True)
class Started:
    """An update that was started, and what its line in the log needs."""

    update: Update
    step: int  # updates started, with this one
    batches: Sequence[Batch]
    learning_rate: float


class Unread:
    """Starts the updates of a run, and holds the last one until its numbers are read: `start` reads the one before."""

    def __init__(self, run: Run, bar: Any) -> None:
        """`bar`: tqdm's; it moves on with each update that is read."""
        self.seconds = math.nan  # of the last update that was read
        self._run, self._bar = run, bar
        self._started: Started | None = None
        self._since = 0.0  # when the update before was read
        self._waited = 0.0  # for batches, since then

    def start(self, stream: Iterator[Batch]) -> None:
        """Start the next update, then read the one before. Raises UserError as `fit` does."""
        run, trainer, config = self._run, self._run.trainer, self._run.config
        if self._started is None:
            self._since, self._waited = time.perf_counter(), 0.0
        batches = self._drawn(stream)
        rate = learning_rate(trainer.step, config)
        try:
            update = trainer.start_step(batches, rate)
        except Exception:
            self.read()
            raise
        run.examples += config.batch_size * config.grad_accumulation * trainer.ranks.total
        before, self._started = self._started, Started(update, trainer.step, batches, rate)
        if before is not None:
            self._log(before)

    def read(self) -> None:
        """Read and log the last update, if that was not done. Raises UserError if loss or gradient is not finite."""
        started, self._started = self._started, None
        if started is not None:
            self._log(started)

    def _drawn(self, stream: Iterator[Batch]) -> list[Batch]:
        """The batches of one update. If a file cannot be read: UserError; a run of one process saves its state."""
        run, trainer, start = self._run, self._run.trainer, time.perf_counter()
        try:
            batches = [next(stream) for _ in range(run.config.grad_accumulation)]
        except Exception as error:
            self.read()  # the update before was computed: its numbers belong to the log, and decide about the state
            message = user_message(error)
            if message is None:
                raise
            if trainer.ranks.processes == 1 and trainer.step:
                save_state(run)
                message += f"; the state of iteration {trainer.step} is saved, continue then with {run.command}"
            raise UserError(message) from error
        self._waited += time.perf_counter() - start
        return batches

    def _log(self, started: Started) -> None:
        run, config = self._run, self._run.config
        record = started.update.record()
        # With float16, gradients may be infinite until the loss scale fits; such an update is skipped
        names = ("loss",) if "loss_scale" in record else ("loss", "grad_norm")
        for name in names:
            if not math.isfinite(record[name]):
                ranks, gather, losses = run.trainer.ranks, run.trainer.gather, started.update.rank_losses()
                batches, step, value = started.batches, started.step, record[name]
                raise not_finite(ranks, gather, losses, batches, run.source, run.logdir, step, name, value)
        now = time.perf_counter()
        self.seconds, waited = now - self._since, self._waited
        self._since, self._waited = now, 0.0
        examples = config.batch_size * config.grad_accumulation * run.trainer.ranks.total
        floor = float(np.mean([dropout_floor(config, batch.target) for batch in started.batches]))
        row = {
            "step": started.step,
            **record,
            "loss_net": record["loss"] - floor,
            "learning_rate": started.learning_rate,
            "seconds": self.seconds,
            "examples_per_s": examples / self.seconds,
            "data_wait": waited / self.seconds,
        }
        run.log.step(row)
        self._bar.update()
        self._bar.set_postfix(loss=f"{row['loss']:.4f}", net=f"{row['loss_net']:.4f}", refresh=False)


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
