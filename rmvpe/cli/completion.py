"""Completion of the command line in a shell: scripts for bash, zsh and tcsh, made by shtab from the parsers."""

import argparse
from pathlib import Path

from rmvpe.errors import UserError

SHELLS = ("bash", "zsh", "tcsh")
# What an argument's metavar says of the names that a shell should offer
FOLDERS = ("FOLDER", "DIR")
FILES = ("FILE", "OUT", "INPUT", "PNG", "PICTURE", "WEIGHTS", "CKPT", "A", "B", "SPEC")
FILE_FLAGS = ("files_from", "weights", "model", "input", "output", "data", "archive", "music")


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script that completes the commands and flags of `parser` in `shell`, and names of files where they belong.

    Raises UserError if shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise UserError("completion needs shtab, which is not installed: run pip install shtab") from error
    mark_files(parser, shtab.FILE, shtab.DIRECTORY)
    return str(shtab.complete(parser, shell=shell))


def mark_files(parser: argparse.ArgumentParser, file: object, directory: object) -> None:
    """Give every argument that names a file or a folder the attribute by which shtab completes it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                mark_files(below, file, directory)
        elif action.metavar in FOLDERS:
            action.complete = directory  # type: ignore[attr-defined]
        elif action.choices is None and (action.type is Path or action.metavar in FILES or action.dest in FILE_FLAGS):
            action.complete = file  # type: ignore[attr-defined]
