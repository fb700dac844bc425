"""Loss curves of finished or running trainings, and the difference between two of them.

Tecorigin's model collection compares a run on SDAA with one on another device by `loss.py`, which passes if the mean
relative error of the losses is at most 0.05 or their mean absolute error at most 0.0002
(https://github.com/Tecorigin/modelzoo, PyTorch/build-in/Classification/ReXNet/loss.py). Its means are *signed*: a run
with large errors of both signs, or a much lower loss, passes. Here they are means of magnitudes, so a run that passes
here passes there over the same steps. The signed means are reported too.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmvpe.errors import UserError
from rmvpe.reading import reading
from rmvpe.training import jsonl, tcap_log

MAX_RELATIVE, MAX_ABSOLUTE = 0.05, 0.0002  # one of the two must be met
LAST_STEPS = 50
RUN_LOG = "log.jsonl"


@dataclass(frozen=True)
class LossCurve:
    """Training loss [n] after `step` [n] updates, strictly rising; `net` [n] is without the dropout floor."""

    step: np.ndarray
    loss: np.ndarray
    net: np.ndarray | None = None


@dataclass(frozen=True)
class LossComparison:
    """Curve B compared with curve A over the last common steps [n]. Errors are magnitudes unless named signed."""

    step: np.ndarray
    relative: float
    absolute: float
    signed_relative: float
    signed_absolute: float
    net_relative: float | None  # of the losses net of the dropout floor, for information; None if a log has none

    @property
    def passed(self) -> bool:
        """Whether the two are as close as the model collection requires; False if a loss is not finite."""
        return self.relative <= MAX_RELATIVE or self.absolute <= MAX_ABSOLUTE


def read_curve(path: str | os.PathLike[str]) -> LossCurve:
    """The loss curve of a run folder, a log.jsonl, or a log of tcap_dllogger (`rmvpe.training.tcap_log`).

    For a log of several ranks it is their mean. Steps are counted from 1, also if the log counts iterations from 0 or
    from the start of each epoch. Raises UserError if there is no log, or no training loss in it, or it is damaged.
    """
    file = Path(path)
    file = file / RUN_LOG if file.is_dir() else file
    if not file.is_file():
        raise UserError(f"there is no loss log {file}: give a run folder, a log.jsonl or an SDAA log")
    lines = jsonl.complete_lines(file)
    with reading(file, "give another log"):
        curve = _of_tcap(lines, file) if any(tcap_log.PREFIX in line for line in lines) else _of_run(lines, file)
    if not len(curve.step):
        raise UserError(f"{file} holds no training loss: give a run folder, a log.jsonl or an SDAA log")
    return curve


def compare(a: LossCurve, b: LossCurve, last: int = LAST_STEPS) -> LossComparison:
    """The difference of `b` from `a` over their `last` common steps, or all if they are fewer.

    Raises UserError if they have no step in common or `last` is below 1.
    """
    if last < 1:
        raise UserError(f"--last must be at least 1, not {last}")
    step, in_a, in_b = (found[-last:] for found in np.intersect1d(a.step, b.step, return_indices=True))
    if not len(step):
        raise UserError(
            f"the two logs have no step in common: one has steps {a.step[0]} to {a.step[-1]}, "
            f"the other {b.step[0]} to {b.step[-1]}"
        )
    with np.errstate(invalid="ignore"):  # two infinite losses
        difference = b.loss[in_b] - a.loss[in_a]
    relative = relative_error(a.loss[in_a], b.loss[in_b])
    net = None
    if a.net is not None and b.net is not None:
        net = float(np.abs(relative_error(a.net[in_a], b.net[in_b])).mean())
    return LossComparison(
        step,
        relative=float(np.abs(relative).mean()),
        absolute=float(np.abs(difference).mean()),
        signed_relative=float(relative.mean()),
        signed_absolute=float(difference.mean()),
        net_relative=net,
    )


def relative_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(b - a) / |a| of losses `a` [n] and `b` [n]; 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((a == 0) & (b == 0), 0.0, (b - a) / np.abs(a))


def _of_run(lines: Sequence[str], file: Path) -> LossCurve:
    """Our own log: a line per update, and lines of validations between them."""
    if not any(line.startswith("{") for line in lines):
        return LossCurve(*np.zeros((2, 0)))
    records = [jsonl.record_of(line, number, file) for number, line in enumerate(lines, 1)]
    records = [record for record in records if "step" in record and "loss" in record]
    try:
        net = [float(record["loss_net"]) for record in records if "loss_net" in record]
        step = np.array([int(record["step"]) for record in records])
        loss = np.array([float(record["loss"]) for record in records])
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: a step or loss is no number ({error})") from error
    if np.any(np.diff(step) <= 0):
        raise UserError(f"{file}: the steps do not rise, so it holds more than one run: cut it in two")
    return LossCurve(step, loss, np.array(net) if len(net) == len(loss) else None)


def _of_tcap(lines: Sequence[str], file: Path) -> LossCurve:
    """A log of tcap_dllogger, as JSON lines or as printed."""
    ranks: dict[str, list[tuple[tuple[int, ...], float]]] = {}
    for number, line in enumerate(lines, 1):
        try:
            for entry in tcap_log.entries(line):
                if "train.loss" in entry.data and len(entry.step) == 2:  # three numbers: a validation
                    point = (entry.step, float(entry.data["train.loss"]))
                    ranks.setdefault(str(entry.data.get("rank", 0)), []).append(point)
        except (TypeError, ValueError) as error:
            raise UserError(f"{file} cannot be read in line {number} ({error})") from error
    if not ranks:
        return LossCurve(*np.zeros((2, 0)))
    count = min(map(len, ranks.values()))  # one rank may be a step behind at the end of a stopped run
    loss = np.array([[loss for _, loss in points[:count]] for points in ranks.values()])
    numbers = np.array([step[1] for step, _ in next(iter(ranks.values()))[:count]], dtype=np.int64)
    if np.any(np.diff(numbers) <= 0):
        numbers = np.arange(count)
    return LossCurve(numbers + (numbers[0] == 0), loss.mean(axis=0))
