"""Which sound files a command line names: paths, wildcards that the shell did not expand, and lists in text files."""

import argparse
import codecs
import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rmvpe.errors import UserError
from rmvpe.sound.channels import NAMES

STDIN = "-"
INPUT_HELP = "sound files, folders to search for them, or names with wildcards (* ? [])"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what Windows PowerShell writes


def add_input_arguments(parser: argparse.ArgumentParser, text: str = INPUT_HELP) -> None:
    """The positional INPUTs with the help `text`, --files-from, and what is read of a file: --channel and --track."""
    inputs = parser.add_argument("inputs", nargs="+", default=[], metavar="INPUT", help=text)
    inputs.required = False  # unlike "*", "+" lets the inputs follow the flags in every version of argparse
    text = "text file with one path per line, besides or instead of INPUT; -: read the list from stdin"
    parser.add_argument("--files-from", metavar="LIST", help=text)
    text = "auto (default: the mean, or the louder one if the mean loses the voice), mean, left, right, or N from 1"
    parser.add_argument("--channel", type=channel_of, default="auto", metavar="CHANNEL", help=text)
    text = "which audio track of a file with several, from 1 (default: the one that players choose)"
    parser.add_argument("--track", type=int, metavar="N", help=text)


def channel_of(text: str) -> str | int:
    """The channel that a flag names; numbers count from 1 there and from 0 in Python."""
    if text in NAMES:
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text) - 1
    raise argparse.ArgumentTypeError(f"{text!r} is no channel: give {', '.join(NAMES)} or a number from 1")


def input_paths(inputs: Sequence[str], files_from: str | None) -> list[str]:
    """The paths that `inputs` and the list in `files_from` name, wildcards expanded.

    Raises UserError if there is none at all, a wildcard matches nothing, or the list cannot be read.
    """
    paths = [path for text in inputs for path in expanded(text)]
    if files_from is not None:
        paths += listed(files_from)
    if not paths:
        raise UserError("no sound file is given: give INPUT or --files-from LIST")
    return paths


def expanded(text: str) -> list[str]:
    """`text` itself, or what it matches if it has wildcards and names nothing that exists."""
    if not glob.has_magic(text) or os.path.lexists(text):
        return [text]
    found = sorted(glob.glob(text, recursive=True))
    if not found:
        raise UserError(f"no file matches {text}: check the name or the folder")
    return found


def listed(files_from: str) -> list[str]:
    """The paths in a text file (UTF-8 or UTF-16, "-": stdin), one per line; empty lines are skipped."""
    name = "stdin" if files_from == STDIN else files_from
    data = sys.stdin.buffer.read() if files_from == STDIN else Path(files_from).read_bytes()
    try:
        text = data.decode("utf-16" if data.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not a text file in UTF-8: give a list with one path per line") from error
    paths = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if not paths:
        raise UserError(f"{name} lists no file: write one path per line")
    return paths
