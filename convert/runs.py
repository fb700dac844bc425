"""Whole training runs between the frameworks: weights, Adam's moments, step, schedule, averages, data position, log.

Not carried over is what the other framework cannot use: random generators (dropout draws other masks) and the loss
scaling of float16.
"""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from convert.io import check_folder, needs
from rmvpe.config_check import to_json
from rmvpe.errors import UserError
from rmvpe.files import output_folder, system_error, write_text
from rmvpe.text import printable
from rmvpe.training.folder import is_only_run
from rmvpe.training.state import RunState, StateStore, choose

CONFIG = "config.json"
# Of no framework's format: copied as they are
CARRIED = ("best.safetensors", "last.safetensors", "log.jsonl", "validation.jsonl", "sdaa.jsonl")
WEIGHT_SUFFIXES = (".pt", ".safetensors")


def is_whole_run(checkpoint: str, output: Path | None) -> bool:
    """Whether a whole training run is meant: its folder is given, and no file to write its weights to.

    A run's folder holds its config and at least one state.
    """
    folder = Path(checkpoint)
    is_run = (folder / CONFIG).is_file() and any(folder.glob("state-*"))
    return is_run and (output is None or output.suffix not in WEIGHT_SUFFIXES)


def convert_run(run: str, source: str, target: str, output: Path | None, iteration: str, *, force: bool) -> None:
    """Write a run of framework `source` as a run of framework `target`, and print how to continue it.

    `source` and `target` are "torch" or "jax"; output: by default RUN-`target`; iteration: a number or "latest".
    Raises UserError if there is no such state, or if the folder exists and `force` is off.
    """
    folder, reader = Path(run), store(source)
    if not reader.find(folder) and store(target).find(folder):
        raise UserError(f"{folder} is a run of {target} already: continue it with rmvpe train {target}")
    out = output or folder.resolve().with_name(f"{folder.resolve().name}-{target}")
    check_folder(out, run, is_only_run, "a run", force=force, is_result=partial(is_conversion, source, target))
    state = reader.load(choose(reader, folder, iteration))
    state = replace(state.without_framework(), about={**state.about, "converted_from": source})
    write_run(out, state, target, carried=folder)
    print(
        f"wrote {printable(out)}: the {target} run after {state.step} iterations, optimizer and data position included"
    )
    print(f"continue with: rmvpe train {target} --logdir {printable(out)} --resume_iteration latest")


def is_conversion(source: str, target: str, folder: Path) -> bool:
    """Whether the run in `folder` is one of `target` that was converted from `source` and has not been trained since.

    Raises UserError if its state is damaged.
    """
    states = list(store(target).find(folder).values())
    return len(states) == 1 and store(target).load(states[0]).about.get("converted_from") == source


def write_run(out: Path, state: RunState, framework: str, carried: Path) -> None:
    """Write one state as a run of `framework` in folder `out`, with the files of the run `carried` that fit any.

    An earlier `out` is replaced once the new one is complete.
    """
    with output_folder(out, "give another output with -o") as new:
        try:
            store(framework).save(new, state)
            write_text(new / CONFIG, to_json(state.config))
            for name in CARRIED:
                if (carried / name).is_file():
                    shutil.copy2(carried / name, new / name)
        except (UserError, OSError) as error:  # they name the temporary folder
            cause = system_error(error)
            if cause is None:
                raise
            fix = "free some space or give another output with -o"
            raise UserError(f"cannot write {out}: {cause.strerror}; {fix}") from error


def store(framework: str) -> StateStore:
    """Where `framework` keeps training states."""
    with needs(framework, f"a training run of {framework}"):
        if framework == "torch":
            import rmvpe_torch.state

            return rmvpe_torch.state
        import rmvpe_jax.state

        return rmvpe_jax.state
