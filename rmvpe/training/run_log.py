"""The log files of a training run, which are also read when the run is resumed.

log.jsonl         a line per update {"step", "loss", "loss_net", ...}, one per validation {"step", "validation"}
validation.jsonl  a line per validation, file and voice-to-music ratio {"step", "file", "ratio", scores}
sdaa.jsonl        the updates again, in the format of SDAA's model collection, see `rmvpe.training.tcap_log`
tensorboard/      the same numbers as TensorBoard events
result.txt        a line per validation as the SDAA port writes it: step, RPA, RCA, OA, VR, VFA, between tabs
results.md        a table of the validations
loss.png          loss, loss net of the dropout floor and validation RPA against updates

A line is written and its file closed at once, so a crash loses at most one; the last two files are replaced as a whole.
"""

import importlib.util
import json
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from rmvpe.config import TrainConfig
from rmvpe.errors import UserError
from rmvpe.files import without_nan, write_text
from rmvpe.pictures.theme import DEFAULT_THEME
from rmvpe.processes import Ranks
from rmvpe.reading import reading
from rmvpe.training import jsonl, tcap_log
from rmvpe.training.loss_curves import RUN_LOG, LossCurve
from rmvpe.training.plot import plot_run
from rmvpe.training.tensorboard import Events

if TYPE_CHECKING:
    from rmvpe.evaluation.evaluate import Evaluation

FILES, SDAA, EVENTS, RESULTS, PICTURE = "validation.jsonl", "sdaa.jsonl", "tensorboard", "results.md", "loss.png"
PORT_RESULTS, PORT_SCORES = "result.txt", ("RPA", "RCA", "OA", "VR", "VFA")
TAGS = {
    "loss": "train/loss",
    "loss_net": "train/loss_net",
    "learning_rate": "train/learning_rate",
    "loss_scale": "train/loss_scale",
    "grad_norm": "norm/gradient",
    "param_norm": "norm/parameters",
    "update_norm": "norm/update",
    "examples_per_s": "speed/examples_per_s",
    "seconds": "speed/seconds_per_step",
    "data_wait": "speed/data_wait",
}
SDAA_METRICS = {
    "train.loss": {"unit": "", "GOAL": "MINIMIZE", "STAGE": "TRAIN"},
    "train.ips": {"unit": "examples/s", "format": ":.3f", "GOAL": "MAXIMIZE", "STAGE": "TRAIN"},
    "train.lr": {"unit": "", "STAGE": "TRAIN"},
    "train.data_time": {"unit": "s", "GOAL": "MINIMIZE", "STAGE": "TRAIN"},
    "train.total_time": {"unit": "s", "GOAL": "MINIMIZE", "STAGE": "TRAIN"},
}
UNITS = {"lag": "frames of 10 ms"}  # of scores that are not from 0 to 1, see `rmvpe.evaluation.metrics`


class RunLog:
    """The files of one run. Every process may call it; only the main process writes.

    Opening at `first_step` (updates already done) removes the lines of later steps, which will be computed again; at 0
    all lines. `theme`: colours of the picture. Raises UserError, here and in each method, if a file cannot be written.
    """

    def __init__(
        self, logdir: Path, config: TrainConfig, ranks: Ranks, first_step: int, theme: str = DEFAULT_THEME
    ) -> None:
        self.logdir, self.config, self.is_main_process = Path(logdir), config, ranks.is_main_process
        self._theme = theme
        self._events: Events | None = None
        self._curve = array("d")  # step, loss, net loss of each update in turn
        self._validations: dict[int, dict[str, dict[str, float]]] = {}
        if not self.is_main_process:
            return
        _require_train()
        with jsonl.writing(self.logdir):
            self.logdir.mkdir(parents=True, exist_ok=True)
        for name, step_of in ((RUN_LOG, _step), (FILES, _step), (SDAA, _sdaa_step), (PORT_RESULTS, _port_step)):
            _drop_later(self.logdir / name, step_of, first_step)
        with reading(self.logdir / RUN_LOG, "delete the damaged line"):
            for record in read_log(self.logdir):
                self._remember(record)
        self._start = datetime.now()
        if not (self.logdir / SDAA).exists():
            lines = [tcap_log.metadata_line(name, about, self._start) for name, about in SDAA_METRICS.items()]
            jsonl.append(self.logdir / SDAA, lines)
        with jsonl.writing(self.logdir / EVENTS):
            self._events = Events(self.logdir / EVENTS, first_step)

    def step(self, record: Mapping[str, float]) -> None:
        """Log one update: "step" (updates done, from 1), "loss", "loss_net", norms, "learning_rate", "seconds", ..."""
        if not self.is_main_process:
            return
        events = self._open_events()
        jsonl.append(self.logdir / RUN_LOG, [json.dumps(without_nan(dict(record)))])
        step = (0, int(record["step"]))  # there are no epochs: examples are drawn without end
        jsonl.append(self.logdir / SDAA, [tcap_log.log_line(step, _sdaa_data(record), self._start)])
        self._remember(record)
        values = {TAGS.get(name, f"train/{name}"): value for name, value in record.items() if name != "step"}
        with jsonl.writing(self.logdir / EVENTS):
            events.add(int(record["step"]), values)

    def validation(self, step: int, evaluation: "Evaluation") -> None:
        """Log the scores of a validation after `step` updates, pooled and per file; write table and picture again."""
        if not self.is_main_process:
            return
        events = self._open_events()
        record = {"step": step, "validation": evaluation.pooled}
        jsonl.append(self.logdir / FILES, [json.dumps(without_nan({"step": step, **row})) for row in evaluation.files])
        jsonl.append(self.logdir / RUN_LOG, [json.dumps(record)])
        # The port has no voice-to-music ratios: the first one is the voice alone
        scores = next(iter(evaluation.pooled.values()), {})
        line = "\t".join([str(step), *(f"{scores.get(name, math.nan):.6f}" for name in PORT_SCORES)])
        jsonl.append(self.logdir / PORT_RESULTS, [line])
        self._remember(record)
        values = {
            f"validation_{ratio.replace(' ', '')}/{name}": value
            for ratio, scores in evaluation.pooled.items()
            for name, value in scores.items()
        }
        with jsonl.writing(self.logdir / EVENTS):
            events.add(step, values, flush=True)
        self._summarize()

    def close(self) -> None:
        """Write table and picture again and close the files. Later calls of `step` or `validation` raise ValueError."""
        if not self.is_main_process or self._events is None:
            return
        events, self._events = self._events, None
        with jsonl.writing(self.logdir / EVENTS):
            events.close()
        self._summarize()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _remember(self, record: Mapping[str, Any]) -> None:
        if "validation" in record:
            self._validations[record["step"]] = record["validation"]
        elif "loss" in record:
            self._curve.extend((record["step"], record["loss"], record.get("loss_net", record["loss"])))

    def _open_events(self) -> Events:
        if self._events is None:
            raise ValueError(f"the log of {self.logdir} is closed")
        return self._events

    def _summarize(self) -> None:
        table, picture = self.logdir / RESULTS, self.logdir / PICTURE
        step, loss, net = np.array(self._curve).reshape(-1, 3).T
        curve = LossCurve(step.astype(np.int64), loss, net)
        with jsonl.writing(table):
            write_text(table, results(self.config, curve, self._validations))
        if len(curve.step):
            title = f"{self.logdir.resolve().name}: {_in_words(self.config)}"
            with jsonl.writing(picture):
                plot_run(picture, curve, _rpa_by_ratio(self._validations), title, self._theme)


def read_log(logdir: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl, [] if there is none, without a last line that a crash cut off."""
    return jsonl.read(Path(logdir) / RUN_LOG)


def best_so_far(logdir: Path) -> tuple[float, int | None]:
    """The highest mean RPA over the ratios of a validation, and its step; (-1, None) without validations."""
    with reading(Path(logdir) / RUN_LOG, "delete the damaged line"):
        validations = {row["step"]: row["validation"] for row in read_log(logdir) if row.get("validation")}
        return _best(validations)


def results(config: TrainConfig, curve: LossCurve, validations: Mapping[int, Mapping[str, Mapping[str, float]]]) -> str:
    """The validations as a Markdown table, the best one (by mean RPA over the ratios) in bold."""
    names = list(dict.fromkeys(name for table in validations.values() for row in table.values() for name in row))
    head = ["step", "loss net", "voice to music", *(f"{name} ({UNITS.get(name, '%')})" for name in names)]
    best, lines, before = _best(validations)[1], [], 0
    for step, table in sorted(validations.items()):
        between = slice(*np.searchsorted(curve.step, (before, step), side="right"))
        net = curve.net[between] if curve.net is not None else curve.loss[between]
        loss = f"{np.mean(net):.5f}" if len(net) else ""
        for ratio, scores in table.items():
            cells = [str(step), loss, ratio, *(_cell(name, scores.get(name)) for name in names)]
            lines.append([f"**{cell}**" if step == best and cell else cell for cell in cells])
        before = step
    rows = [head, ["--:" if number != 2 else "---" for number in range(len(head))], *lines]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    note = "Loss net of the dropout floor is the mean of the updates since the row before. Bold: best mean RPA."
    return f"# {_in_words(config)}\n\n{note}\n\n{text}\n"


def _best(validations: Mapping[int, Mapping[str, Mapping[str, float]]]) -> tuple[float, int | None]:
    best: tuple[float, int | None] = (-1.0, None)
    for step, table in validations.items():
        mean_rpa = float(np.mean([scores["RPA"] for scores in table.values()])) if table else -1.0
        if mean_rpa > best[0]:
            best = (mean_rpa, step)
    return best


def _cell(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:g}" if name in UNITS else f"{100 * value:.2f}"


def _rpa_by_ratio(
    validations: Mapping[int, Mapping[str, Mapping[str, float]]],
) -> dict[str, tuple[Sequence[int], Sequence[float]]]:
    rows: dict[str, tuple[list[int], list[float]]] = {}
    for step, table in sorted(validations.items()):
        for ratio, scores in table.items():
            steps, values = rows.setdefault(ratio, ([], []))
            steps.append(step)
            values.append(scores["RPA"])
    return dict(rows)


def _in_words(config: TrainConfig) -> str:
    each = f"batch {config.batch_size}" + (f" x {config.grad_accumulation}" if config.grad_accumulation > 1 else "")
    return f"{config.model.name} on {config.data}, {each}, {config.conv_dtype}, {config.optimizer}, {config.loss}"


def _sdaa_data(record: Mapping[str, float]) -> dict[str, Any]:
    data: dict[str, Any] = {"rank": 0, "train.loss": record["loss"]}
    if "examples_per_s" in record:
        data["train.ips"] = record["examples_per_s"]
    if "learning_rate" in record:
        data["train.lr"] = record["learning_rate"]
    if "seconds" in record:
        data["train.data_time"] = record["seconds"] * record.get("data_wait", 0.0)
        data["train.total_time"] = record["seconds"]
    return data


def _drop_later(path: Path, step_of: Callable[[str, int, Path], int], last: int) -> None:
    jsonl.keep(path, lambda line, number: step_of(line, number, path) <= last)


def _step(line: str, number: int, path: Path) -> int:
    step = jsonl.record_of(line, number, path).get("step", 0)
    if type(step) is not int:
        raise UserError(f"{path} is damaged in line {number} (its step is no whole number): delete that line")
    return step


def _sdaa_step(line: str, number: int, path: Path) -> int:
    try:
        return max((entry.step[1] for entry in tcap_log.entries(line)), default=0)
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} is damaged in line {number}: delete that line") from error


def _port_step(line: str, number: int, path: Path) -> int:
    try:
        return int(line.split("\t")[0])
    except ValueError as error:
        raise UserError(f"{path} is damaged in line {number}: delete that line") from error


def _require_train() -> None:
    for library in ("matplotlib", "tensorboardX"):
        if importlib.util.find_spec(library) is None:
            raise UserError(f"{library} is not installed, and training logs need it: run pip install {library}")
