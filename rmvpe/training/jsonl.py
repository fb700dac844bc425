"""Logs with one JSON object per line, appended line by line, so that a crash loses at most one line."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rmvpe.errors import UserError
from rmvpe.files import write_text
from rmvpe.json_text import NotJson, parse_json
from rmvpe.reading import check_regular, reading


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system error in the `with` block, such as a full disk, into a UserError with `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; make room or choose another --logdir") from error


def append(path: Path, lines: Sequence[str]) -> None:
    """Add lines to the end of a file and close it. Raises UserError if it cannot be written."""
    with writing(path), path.open("a", encoding="utf-8", newline="\n") as log:
        log.write("".join(line + "\n" for line in lines))


def complete_lines(path: Path) -> list[str]:
    """The lines of a file, [] if it does not exist, without a last line that a crash cut off."""
    if not path.exists():
        return []
    with reading(path, "choose another --logdir"):
        check_regular(path, "choose another --logdir")
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


def read(path: Path) -> list[dict[str, Any]]:
    """The records of the complete lines of a file. Raises UserError for a line that is no JSON object."""
    return [record_of(line, number, path) for number, line in enumerate(complete_lines(path), 1)]


def record_of(line: str, number: int, path: Path) -> dict[str, Any]:
    """The record of line `number` (from 1) of `path`. Raises UserError if it is no JSON object."""
    try:
        record = parse_json(line)
    except NotJson as error:
        raise UserError(f"{path} is damaged in line {number} ({error}): delete that line") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} is damaged in line {number} (no JSON object): delete that line")
    return record


def keep(path: Path, wanted: Callable[[str, int], bool]) -> None:
    """Keep only the complete lines that are `wanted` (line, its number from 1).

    The file is replaced as a whole. Raises UserError if it cannot be written.
    """
    if not path.exists():
        return
    text = "".join(line + "\n" for number, line in enumerate(complete_lines(path), 1) if wanted(line, number))
    with writing(path):
        write_text(path, text)
