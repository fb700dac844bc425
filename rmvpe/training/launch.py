"""A training run from a parsed command line: its data, its first weights, and the processes that train together.

A framework's package brings its devices and processes as a `Runtime` (`rmvpe_torch.cli`, `rmvpe_jax.cli`); what is the
same for both stands here. Neither torch nor jax is imported before `Processes.start`.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rmvpe.backends import check_numpy, is_installed, python_too_old
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, load
from rmvpe.config import TrainConfig
from rmvpe.data.readers.base import Source
from rmvpe.data.readers.registry import open_source
from rmvpe.data.readers.segments import Segments, excerpts
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import Evaluation
from rmvpe.memory import keep_freed
from rmvpe.pictures.theme import DEFAULT_THEME
from rmvpe.processes import Ranks, ReportedByMain
from rmvpe.text import printable
from rmvpe.training.folder import LAST, owned
from rmvpe.training.loop import Trainer, fit, resume
from rmvpe.training.model_card import initial_name
from rmvpe.training.run_log import read_log
from rmvpe.training.state import changes, fingerprint

LIBRARIES = ("grain", "mir_eval", "matplotlib", "tensorboardX")  # what training needs beside a framework
QUIET_TRACKER = "ignore:resource_tracker:UserWarning"

NO_THRESHOLD = (
    "without a folder valid/ there are no scores, and the weights carry no voicing threshold: "
    "rmvpe predict takes that of the published weights, which does not fit them, unless you give --threshold"
)


@dataclass(frozen=True)
class Job:
    """One run. amp: "auto", "off", a dtype of the convolutions, or None for the config's. initial: weights to start
    from, which are validated first. resume_iteration: the iteration to go on from, "latest", or None for a new run.
    quiet: no bar, and nothing on stderr but errors.
    """

    config: TrainConfig
    logdir: Path
    command: str  # that continues it, for messages
    amp: str | None = None
    initial: str | None = None
    resume_iteration: str | None = None
    validate_first: bool = False  # so that the scores before training are known
    quiet: bool = False
    licence: str | None = None  # of the weights, for their card
    theme: str = DEFAULT_THEME  # of the picture


class Session(Protocol):
    """This process's devices, found and joined with those of the other processes."""

    @property
    def ranks(self) -> Ranks:
        """How many devices train together."""
        ...

    def amp_dtype(self) -> str:
        """The lower precision that suits the device: "bfloat16" or "float16"."""
        ...

    def trainer(self, config: TrainConfig, initial: Checkpoint | None) -> Trainer:
        """A trainer on these devices."""
        ...

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in their order; all of them call it at the same time."""
        ...

    def stop(self) -> None:
        """Leave the other processes, also after a failure."""
        ...


class Processes(Protocol):
    """The devices and processes that a command line asks for."""

    def relaunch(self, function: Callable[[], object]) -> int | None:
        """Call `function` in several processes and return the exit code, or None to go on in this process."""
        ...

    def start(self) -> Session:
        """Find the devices and the other processes. Raises UserError."""
        ...


class Runtime(Protocol):
    """What a framework brings to the command line of a training run."""

    name: str
    libraries: tuple[str, ...]  # what it needs, by the names that pip knows
    devices: str  # for --help

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Add its own flags, about processes."""
        ...

    def processes(self, arguments: argparse.Namespace, config: TrainConfig) -> Processes:
        """What the parsed flags, and the run's config, say about devices and processes."""
        ...


def add_flag(group: argparse._ArgumentGroup, name: str, *short: str, **settings: object) -> None:
    """Add the flag --some_name, which --some-name stands for as well."""
    names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    group.add_argument(*short, *names, **{"dest": name, **settings})  # type: ignore[arg-type]


def check_libraries(runtime: Runtime) -> None:
    """Raise UserError, with the remedy, if libraries that training needs are missing or do not fit together.

    So too if the framework needs a newer Python.
    """
    if why := python_too_old(runtime.name):
        raise UserError(why)
    missing = [name for name in (*runtime.libraries, *LIBRARIES) if not is_installed(name)]
    if missing:
        raise UserError(f"training with {runtime.name} needs {', '.join(missing)}: run pip install {' '.join(missing)}")
    check_numpy(runtime.name)


def train(job: Job, processes: Processes, own_process: bool = False) -> None:
    """The run itself, in each of its processes. Raises UserError.

    `own_process`: whether this process is a command's, which may keep the memory that it frees.
    """
    if own_process:
        keep_freed()
    if job.config.num_workers:
        # When data workers are ended early, Python's resource tracker frees their shared memory, and warns about it
        before = os.environ.get("PYTHONWARNINGS", "")
        if QUIET_TRACKER not in before:
            os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, QUIET_TRACKER]))
    session = processes.start()
    try:
        config = with_precision(job.config, job.amp, session)
        source, valid = training_source(config, session.ranks), validation_source(config.data)
        initial = load_initial(job.initial, config) if job.initial else None
        with owned_by_main(job, session):
            run_in_folder(job, config, session, source, valid, initial)
    finally:
        session.stop()


@contextmanager
def owned_by_main(job: Job, session: Session) -> Iterator[None]:
    """The main process owns the run's folder; if it may not, all processes end, and it alone reports why."""
    problem = ""
    with ExitStack() as stack:
        if session.ranks.is_main_process:
            try:
                stack.enter_context(owned(job.logdir, job.resume_iteration is None, job.command))
            except UserError as error:
                problem = str(error)
        problem = session.gather(problem)[0]
        if problem:
            raise UserError(problem) if session.ranks.is_main_process else ReportedByMain(problem)
        yield


def run_in_folder(
    job: Job, config: TrainConfig, session: Session, source: Source, valid: Source | None, initial: Checkpoint | None
) -> None:
    """The run in its folder, which nobody else writes."""
    trainer = session.trainer(config, initial)
    state = resume(trainer, job.logdir, job.resume_iteration) if job.resume_iteration else None
    is_main = session.ranks.is_main_process
    if state is not None and is_main:
        differences = changes(state, config, fingerprint(source), session.ranks.total)
        if differences and not job.quiet:
            sys.stderr.write(f"resuming iteration {state.step} with changes: {'; '.join(differences)}\n")
    first = (initial is not None or job.validate_first) and state is None and valid is not None
    scores = fit(
        trainer,
        config,
        source,
        valid,
        job.logdir,
        state,
        first,
        initial,
        job.command,
        quiet=job.quiet,
        licence=job.licence,
        theme=job.theme,
    )
    if is_main and not job.quiet:
        sys.stderr.write(summary(trainer.step, scores, job.logdir) + "\n")
        if valid is None:
            sys.stderr.write(f"{without_scores(load(job.logdir / LAST))}\n")


def without_scores(checkpoint: Checkpoint) -> str:
    """What a run without a validation split says of the threshold of its weights."""
    if checkpoint.threshold is None:
        return NO_THRESHOLD
    return (
        "without a folder valid/ there are no scores, and the weights keep the voicing threshold "
        f"{checkpoint.threshold:g} of those that training started from: check it with rmvpe evaluate"
    )


def with_precision(config: TrainConfig, amp: str | None, session: Session) -> TrainConfig:
    """The config with what --amp says; without the flag, as it is."""
    if amp is None:
        return config
    chosen = {"auto": session.amp_dtype, "off": lambda: "float32"}.get(amp, lambda: amp)()
    return dataclasses.replace(config, conv_dtype=chosen)


def load_initial(weights: str, config: TrainConfig) -> Checkpoint:
    """The weights to start from. Raises UserError if they are of another network than the run's."""
    checkpoint = load(weights)
    if expected_tensors(checkpoint.config) != expected_tensors(config.model):
        raise UserError(
            f"{weights} holds the network {checkpoint.config.name!r}, not this run's {config.model.name!r}: "
            "choose the --model_name or --config that belongs to it"
        )
    # Not what those weights started from themselves
    return dataclasses.replace(checkpoint, metadata={**checkpoint.metadata, "initial": initial_name(weights)})


def training_source(config: TrainConfig, ranks: Ranks) -> Source:
    """The train split, long recordings cut into segments. All labels and headers are checked.

    Raises UserError for the first fault, or if one batch is more than the whole of it.
    """
    source = Segments(open_source(config.data, "train"))
    source.check()
    held = excerpts(source, config.excerpt_frames * config.model.mel.hop_s)
    wanted = config.batch_size * ranks.total
    if wanted > held:
        raise UserError(
            f"a batch of {wanted} excerpts is larger than the data set: {config.data} train holds {held}; "
            f"choose --batch_size {max(1, held // ranks.total)} or less, or add recordings"
        )
    return source


def validation_source(data: str) -> Source | None:
    """The valid split, else test as older Hybrid folders have it, else None."""
    for split in ("valid", "test"):
        # What is no folder is KIND:FOLDER, or several joined by ","; C:\\data is a folder
        if not Path(data).is_dir() or (Path(data) / split).is_dir():
            source = open_source(data, split)
            source.check()
            return source
    return None


def summary(step: int, scores: Evaluation | None, logdir: Path) -> str:
    """The end of a run in one line; with the RPA before training where that was validated."""
    first = next((row for row in read_log(logdir) if "validation" in row), {})
    before = first["validation"] if scores and first.get("step") == 0 else {}
    rows = scores.pooled if scores else {}
    parts = []
    for name, row in rows.items():
        was = f"{100 * before[name]['RPA']:.1f} % -> " if name in before else ""
        parts.append(f"{name}: RPA {was}{100 * row['RPA']:.1f} %, OA {100 * row['OA']:.1f} %")
    scored = f" ({'; '.join(parts)})" if parts else ""
    return f"{step} iterations done{scored}: see {printable(logdir / 'results.md')} and loss.png beside it"
