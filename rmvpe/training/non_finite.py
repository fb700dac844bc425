"""The error for a loss or a gradient that is not finite: it names the files of the batch that are to blame."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.data.pipeline import Batch
from rmvpe.data.readers.base import Source
from rmvpe.errors import UserError
from rmvpe.files import write_text
from rmvpe.processes import Ranks, ReportedByMain
from rmvpe.training.folder import FAILED_BATCH

MAX_NAMES = 8  # files of a batch in a message; FAILED_BATCH lists all


def not_finite(
    ranks: Ranks,
    gather: Callable[[str], list[str]],
    losses: Sequence[float],
    batches: Sequence[Batch],
    source: Source,
    logdir: Path,
    step: int,
    name: str,
    value: float,
) -> UserError | ReportedByMain:
    """The error for a loss or gradient that is not finite, which all processes meet at the same update.

    It names the files of the ranks where the loss is not finite, of these the ones that are not finite themselves (with
    common batch norm the loss is not finite on any rank then). The main process reports it, and lists the files of
    all ranks in `FAILED_BATCH`.
    """
    texts = gather(json.dumps(examined(ranks, losses, source, batches)))
    rows = [row for text in texts for row in json.loads(text)]
    message = non_finite_message(step, logdir / FAILED_BATCH, name, value, rows)
    if not ranks.is_main_process:
        return ReportedByMain(message)
    report = {"step": step, name: str(value), "batch": rows}
    write_text(logdir / FAILED_BATCH, json.dumps(report, indent=1))
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


def non_finite_message(step: int, report: Path, name: str, value: float, rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence about a loss or gradient that is not finite; `rows`: `examined` of all processes."""
    suspects = [row for row in rows if not row["finite_loss"]] or rows
    suspects = [row for row in suspects if not row["finite_input"]] or suspects
    listed = ", ".join(f"{row['file']} at {row['start_s']:.2f} s" for row in suspects[:MAX_NAMES])
    more = f" and {len(suspects) - MAX_NAMES} more" if len(suspects) > MAX_NAMES else ""
    what = "the loss" if name == "loss" else "the gradient"
    return (
        f"{what} became {value} at iteration {step} on {listed}{more} "
        f"(all in {report}): the run stopped, its last state is kept; "
        "fix these files, or resume with a lower --learning_rate or without --amp"
    )
