"""The config of a training run from a file: `--config FILE.py`, or the config.json of a run that goes on."""

import runpy
import traceback
from pathlib import Path

from rmvpe.config import TrainConfig
from rmvpe.config_check import ConfigError, from_json
from rmvpe.errors import UserError
from rmvpe.reading import check_regular, first_line, read_bytes


def stored_config(logdir: Path) -> TrainConfig:
    """The config of the run in `logdir`. Raises UserError if there is none."""
    path = logdir / "config.json"
    if not path.exists():
        of_the_port = sorted(logdir.glob("model_*.pt"), key=lambda file: (len(file.name), file.name))
        if of_the_port:
            raise UserError(
                f"{of_the_port[-1]} holds weights alone, without the optimizer, the step and the position in the data "
                f"that resuming needs: start a new run with --initial {of_the_port[-1]} and another --logdir"
            )
        raise UserError(
            f"{logdir} holds no run to resume ({path.name} is missing): give the --logdir of an earlier run"
        )
    text = read_bytes(path, "give the --logdir of an earlier run")
    try:
        return from_json(TrainConfig, text)
    except ConfigError as error:
        raise UserError(f"{path}: {error}") from error


def load_config(path: Path) -> TrainConfig:
    """The `CONFIG` of a configs/*.py file. Raises UserError, with the line, if the file has a fault or no `CONFIG`."""
    if not path.exists():
        raise UserError(f"{path} does not exist: give one of the files in configs/")
    if path.is_dir():
        raise UserError(f"{path} is a folder: give one of the files in configs/")
    check_regular(path, "give one of the files in configs/")
    try:
        config = runpy.run_path(str(path)).get("CONFIG")
    except KeyboardInterrupt:
        raise
    except MemoryError as error:
        raise UserError(f"{_where(path, error)} needs more memory than there is") from error
    except SystemExit as error:  # it would end the program with the file's own exit code
        raise UserError(f"{_where(path, error)} ends the program: a config file only sets CONFIG") from error
    except Exception as error:  # the file's own code may do anything
        kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
        raise UserError(f"{_where(path, error)}: {kind}{first_line(error)}") from error
    if not isinstance(config, TrainConfig):
        found = "nothing" if config is None else f"a {type(config).__name__}"
        raise UserError(f"{path} does not define CONFIG = TrainConfig(...): CONFIG is {found}")
    return config


def _where(path: Path, error: BaseException) -> str:
    """The file and, if it is known, the line where an exception arose."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)
