"""The log format of Tecorigin's model collection for SDAA, which tcap_dllogger writes.

A line is "TCAPPDLL " and a JSON object, in which all values but "step" are texts:

    TCAPPDLL {"timestamp": "1751610477.8", "datetime": "2025-07-04 06:27:57.8", "elapsedtime": "4.6", "type": "LOG",
              "step": [epoch, iteration], "data": "{'rank': '0', 'train.loss': '2.17', 'train.ips': '575.1'}"}
    TCAPPDLL {"timestamp": ..., "elapsedtime": ..., "datetime": ..., "type": "METADATA", "metric": "train.loss",
              "metadata": {"unit": "", "GOAL": "MINIMIZE", "STAGE": "TRAIN"}}

"data" is the *text of a Python dict of texts*. A third number in "step" counts validation batches. What tcap_dllogger
prints has the same values:

    TCAPPDLL 2025-05-15 14:20:10.9 - Epoch: 0 Iteration: 0  rank : 0  train.loss : 0.53  train.ips : 104.1 imgs/s

Sources: JSONStreamBackend and StdOutBackend of https://github.com/Tecorigin/tcap_dllogger; logs in
https://github.com/Tecorigin/modelzoo under PyTorch/contrib: Face/Facial-Expression-Recognition/logs/sdaa_loss.json,
Classification/EfficientNet/experiments/log.json, Classification/Demo/run_scripts/sdaa.log. The collection's guide for
contributors asks for "train.loss" and "train.ips".
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rmvpe.json_text import parse_json

PREFIX = "TCAPPDLL "
MAX_DATA = 100_000  # characters of the values of one step
PRINTED = re.compile(r"Epoch: (\d+) Iteration: (\d+)(?: Validation Iteration: (\d+))? +(.*?)(?=TCAPPDLL |$)")
PRINTED_METRIC = re.compile(r"([\w.]+) : (\S+)")


@dataclass(frozen=True)
class Entry:
    """One logged step, (epoch, iteration) or (epoch, iteration, validation batch), and its values as in the log."""

    step: tuple[int, ...]
    data: Mapping[str, Any]


def metadata_line(metric: str, about: Mapping[str, str], start: datetime) -> str:
    """The line that declares a metric: its unit, goal and stage. `start` is when the log began."""
    now = datetime.now()
    return PREFIX + json.dumps(
        {
            "timestamp": str(now.timestamp()),
            "elapsedtime": str((now - start).total_seconds()),
            "datetime": str(now),
            "type": "METADATA",
            "metric": metric,
            "metadata": dict(about),
        }
    )


def log_line(step: tuple[int, ...], data: Mapping[str, Any], start: datetime) -> str:
    """The line of one step's values."""
    now = datetime.now()
    return PREFIX + json.dumps(
        {
            "timestamp": str(now.timestamp()),
            "datetime": str(now),
            "elapsedtime": str((now - start).total_seconds()),
            "type": "LOG",
            "step": step,
            "data": str({key: str(value) for key, value in data.items()}),
        }
    )


def entries(line: str) -> Iterator[Entry]:
    """The logged steps of a line: none, one, or several if ranks printed at the same moment.

    Raises ValueError if the line has the prefix but not the format.
    """
    if line.startswith(PREFIX + "{"):
        yield from _json_entry(parse_json(line.removeprefix(PREFIX)))
    elif PREFIX in line:
        for epoch, iteration, validation, metrics in PRINTED.findall(line):
            step = tuple(int(number) for number in (epoch, iteration, validation) if number)
            yield Entry(step, dict(PRINTED_METRIC.findall(metrics)))


def _json_entry(record: Any) -> Iterator[Entry]:
    if not isinstance(record, dict) or record.get("type") != "LOG" or not isinstance(record.get("step"), list):
        return  # metadata or another kind of line
    text = str(record.get("data"))
    try:
        data = ast.literal_eval(text[:MAX_DATA])
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:  # as its documentation lists
        raise ValueError(f"its data is no dict: {text[:40]}") from error
    if not isinstance(data, dict):
        raise ValueError(f"its data is no dict: {text[:40]}")
    if not all(type(number) is int for number in record["step"]):
        raise ValueError("its step is no list of whole numbers")
    yield Entry(tuple(record["step"]), data)
