"""Whether this process may keep what a runtime compiles in the user's cache folder, for the next process.

Our own commands may. As a library rmvpe leaves that to its host, whose configuration of JAX it never changes.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from rmvpe.checkpoint.published import cache_folder

SWITCH = "RMVPE_COMPILED_PROGRAMS"  # "keep" or anything else; the processes that a command starts inherit it
KEEP = "keep"


def keep_by_default(environment: MutableMapping[str, str] = os.environ) -> None:
    """For a command: keep compiled programs, unless the user has set the variable to something else, such as "no"."""
    environment.setdefault(SWITCH, KEEP)


def folder_for(runtime: str, machine: str) -> Path | None:
    """The folder for what `runtime` compiles on `machine`, None where nothing is kept; it need not exist.

    Machines do not share one: programs use what their processor has. Raises UserError if there is no cache folder.
    """
    return cache_folder() / "compiled" / runtime / machine if os.environ.get(SWITCH) == KEEP else None
