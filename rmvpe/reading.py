"""The fence around every reader: whatever goes wrong while a file is read is one sentence that names the file.

A reader checks what it knows about. What it does not know about is caught here, whatever its class is, because a
damaged file has no end of surprises: a list of expected exceptions is never complete.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rmvpe.config_check import ConfigError
from rmvpe.errors import UserError
from rmvpe.files import kind_of_mode
from rmvpe.json_text import MAX_BYTES, NotJson, parse_json

COPY_AGAIN = "copy or download it again"
MAX_REASON = 200  # characters of another library's message
Name = str | os.PathLike[str]


@contextmanager
def reading(path: Name, remedy: str = COPY_AGAIN) -> Iterator[None]:
    """Turn any exception in the `with` block into a UserError that names `path` and ends with `remedy`.

    A UserError, ConfigError and FileNotFoundError pass: they are sentences already. So do KeyboardInterrupt and
    SystemExit. Too little memory is said as such.
    """
    try:
        yield
    except (UserError, ConfigError, FileNotFoundError):
        raise
    except NotJson as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}; {remedy}") from error
    except MemoryError as error:
        raise UserError(f"{path} needs more memory than there is: use a machine with more, or {remedy}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or first_line(error)}; {remedy}") from error
    except Exception as error:
        raise UserError(f"{path} is truncated or damaged ({first_line(error)}): {remedy}") from error


def check_regular(path: Name, fix: str) -> None:
    """Raise UserError, with what to give instead, for a FIFO, a device or a socket: reading one can wait for ever.

    Raises OSError if there is nothing.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is {kind_of_mode(mode)}, not a regular file: {fix}")


def read_bytes(path: Name, fix: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a regular file. Raises UserError if it is longer than `max_bytes`, and as `reading`."""
    with reading(path, fix):
        check_regular(path, fix)
        data = bytearray()
        with Path(path).open("rb") as file:  # piece by piece: a file may grow, and its size may be no promise
            while len(data) <= max_bytes and (piece := file.read(1 << 20)):
                data += piece
    if len(data) > max_bytes:
        raise UserError(f"{path} is longer than the {max_bytes:,} bytes that are read: {fix}")
    return bytes(data)


def read_json(path: Name, fix: str, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a JSON file in UTF-8. Raises UserError that ends with `fix`, and FileNotFoundError."""
    data = read_bytes(path, fix, max_bytes)
    with reading(path, fix):
        return parse_json(data, max_bytes)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, shortened; its class if it has none."""
    lines = str(error).splitlines()
    return lines[0][:MAX_REASON] if lines else type(error).__name__
