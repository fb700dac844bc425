"""The folder of a run: what training writes there, whose it is, and that one training at a time writes it.

    .lock      held by the training that writes the folder; it is free when that process ends, also after kill -9
    .no-state  there while the run has no state yet: it may be started again, because there is nothing to resume

Both begin with a dot, as temporary files do. README.md is the model card; a run begins beside a README.md of somebody
else's, and leaves it alone (`rmvpe.training.model_card`). Other files in the folder, such
as a batch system's own log, are left alone.
"""

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rmvpe import locks
from rmvpe.checkpoint.folders import ITEMS, is_only_orbax
from rmvpe.errors import UserError
from rmvpe.training import jsonl, run_log
from rmvpe.training.loss_curves import RUN_LOG
from rmvpe.training.model_card import CARD, is_own_card

CONFIG, LAST, BEST, FAILED_BATCH = "config.json", "last.safetensors", "best.safetensors", "failed-batch.json"
NAMES = (
    CONFIG,
    RUN_LOG,
    LAST,
    BEST,
    FAILED_BATCH,
    run_log.FILES,
    run_log.SDAA,
    run_log.EVENTS,
    run_log.RESULTS,
    run_log.PORT_RESULTS,
    run_log.PICTURE,
)
STATE = re.compile(r"state-\d{8,}(\.pt)?")
STATE_ITEMS = ("adam_mu", "adam_nu", "raw", "random", "run")  # of a state of JAX, beside those of a checkpoint
LOCK, NO_STATE = ".lock", ".no-state"
# Temporary names of the files above: the name without its suffix after a dot, and before something
TEMPORARY = re.compile(
    rf"\.({'|'.join(re.escape(Path(name).stem) for name in NAMES)}|state-\d{{8,}})[-.~].+"
    rf"|\.{Path(CARD).stem}-rmvpe-.+"  # an editor's .README.md.swp is not ours
)


def check_new(logdir: Path, resume: str) -> None:
    """Raise UserError unless a new run can be written to `logdir`: no name that it writes is there.

    `resume` is the command that continues a run there. A run that ended before its first state may begin again.
    """
    if not logdir.is_dir():
        if os.path.lexists(logdir):
            raise UserError(f"{logdir} is no folder: choose another --logdir")
        return
    if any(STATE.fullmatch(path.name) for path in logdir.iterdir()):
        raise UserError(f"{logdir} already holds a run: continue it with {resume}, or choose another --logdir")
    if (logdir / NO_STATE).is_file():
        return
    there = [name for name in NAMES if os.path.lexists(logdir / name)]
    if there:
        raise UserError(
            f"{logdir} already has {' and '.join(there[:3])}{' and more' if len(there) > 3 else ''}, which a new run "
            "would replace: choose another --logdir, or move what is there away"
        )


@contextmanager
def owned(logdir: Path, new: bool, resume: str) -> Iterator[None]:
    """Own `logdir`, which is made if it is missing, while the context lasts; for a new run `check_new` before.

    Raises UserError if another training writes there, and as `check_new`, before anything in it has changed. What a
    killed run has left half-written is removed.
    """
    missing = [path for path in (logdir, *logdir.parents) if not path.exists()]
    try:
        logdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {logdir} ({error.strerror}): choose another --logdir") from error
    try:
        with _lock(logdir):
            if new:
                check_new(logdir, resume)
                with jsonl.writing(logdir):
                    (logdir / NO_STATE).touch()
            sweep(logdir)
            try:
                yield
            finally:
                _clear(logdir)
    finally:
        for path in missing:  # a run that has written nothing leaves nothing behind
            with suppress(OSError):
                path.rmdir()


def has_state(logdir: Path) -> None:
    """Note that the run's first state is written: from now on it is resumed, not started again."""
    (logdir / NO_STATE).unlink(missing_ok=True)


def check_unused(folder: Path) -> None:
    """Raise UserError if a training writes to `folder` now."""
    try:
        locks.check_free(folder / LOCK)
    except locks.InUseError as error:
        raise UserError(_in_use(folder, str(error))) from error


def is_only_run(folder: Path) -> bool:
    """Whether a folder is a run (its config and a state) and holds nothing that training does not write.

    Raises OSError if it cannot be read.
    """
    inside = list(folder.iterdir())
    states = [path for path in inside if STATE.fullmatch(path.name)]
    return (folder / CONFIG).is_file() and bool(states) and all(map(_is_own, inside))


def _is_own(path: Path) -> bool:
    if path.is_symlink():
        return False
    if STATE.fullmatch(path.name):
        return path.is_file() if path.suffix else is_only_orbax(path, (*ITEMS, *STATE_ITEMS))
    if path.name == run_log.EVENTS:
        return path.is_dir() and all(inside.name.startswith("events.out.") for inside in path.iterdir())
    if path.name == CARD:
        return is_own_card(path)
    known = path.name in (*NAMES, LOCK, NO_STATE) or TEMPORARY.fullmatch(path.name) is not None
    return known and path.is_file()


def sweep(logdir: Path) -> None:
    """Remove the temporary files of a run that was killed. Only who owns the folder may call it."""
    for path in logdir.iterdir():
        if TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


@contextmanager
def _lock(logdir: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.held(logdir / LOCK, f"process {os.getpid()} on {socket.gethostname()}"))
        except locks.InUseError as error:
            raise UserError(_in_use(logdir, str(error))) from error
        except locks.NoLocksError as error:
            sys.stderr.write(f"{logdir} is on a disk without locks ({error}): start no second training there\n")
        except OSError as error:
            raise UserError(f"cannot write to {logdir} ({error.strerror}): choose another --logdir") from error
        yield


def _clear(logdir: Path) -> None:
    """Remove the mark of a run without a state if the run has written nothing else."""
    with suppress(OSError):
        if not any(os.path.lexists(logdir / name) for name in NAMES):
            (logdir / NO_STATE).unlink(missing_ok=True)


def _in_use(folder: Path, owner: str) -> str:
    return f"{folder} is in use by another training{f' ({owner})' if owner else ''}: wait, or choose another folder"
