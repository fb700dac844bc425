"""Whole training runs between the frameworks: weights, Adam's moments, step, schedule, averages, data position, log.

What stays behind is what the other framework could not use: random generators (dropout draws other masks) and the loss
scaling of float16.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from convert.io import check_output, needs
from rmvpe.config import to_json
from rmvpe.errors import UserError
from rmvpe.training.state import RunState, StateStore, choose

CONFIG = "config.json"
# Of no framework's format: copied as they are
CARRIED = ("best.safetensors", "last.safetensors", "log.jsonl", "validation.jsonl", "sdaa.jsonl")
FRAMEWORKS = ("torch", "jax")


def is_run(path: str | Path) -> bool:
    """Whether `path` is the folder of a training run: its config and at least one state."""
    folder = Path(path)
    return (folder / CONFIG).is_file() and any(folder.glob("state-*"))


def write_run(
    run: Path, source: str, target: str, output: Path | None, iteration: str, *, force: bool
) -> tuple[Path, int]:
    """Write the run in folder `run` as a run of framework `target`, by default RUN-`target`.

    `source` and `target` are "torch" or "jax"; `iteration` is a number or "latest". Written beside and renamed.
    Returns the new folder and the iterations done. Raises UserError if there is no such state, or if the folder exists
    and `force` is off.
    """
    reader, writer = store(source), store(target)
    if not reader.find(run) and writer.find(run):
        raise UserError(f"{run} is a run of {target} already: continue it with rmvpe train {target}")
    out = output or run.resolve().with_name(f"{run.resolve().name}-{target}")
    check_output(out, run, force=force)
    state = reader.load(choose(reader, run, iteration))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
        new = Path(beside) / out.name
        new.mkdir()
        write(writer, new, state, source)
        for name in CARRIED:
            if (run / name).is_file():
                shutil.copy2(run / name, new / name)
        if out.exists():
            shutil.rmtree(out) if out.is_dir() else out.unlink()
        new.replace(out)
    return out, state.step


def write(writer: StateStore, folder: Path, state: RunState, source: str) -> None:
    """One state and its config into an empty folder."""
    about = {**state.about, "converted_from": source}
    writer.save(folder, replace(state.without_framework(), about=about))
    (folder / CONFIG).write_text(to_json(state.config), encoding="utf-8")


def store(framework: str) -> StateStore:
    """Where `framework` keeps training states."""
    with needs(framework, f"a training run of {framework}"):
        if framework == "torch":
            import rmvpe_torch.state

            return rmvpe_torch.state
        import rmvpe_jax.state

        return rmvpe_jax.state
