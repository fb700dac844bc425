"""User mistakes: one sentence that names the thing and the fix, exit code 2, no traceback."""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rmvpe.config import ConfigError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # as shells report a program that Ctrl-C ended
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota or a limit on the size of files is full


class UserError(ValueError):
    """Something the user gave cannot be used; the message names it and says what to do."""


def run_cli(program: str, function: Callable[[], int | None]) -> int:
    """Run the body of the command line `program` and return its exit code: what `function` returns, None being 0.

    A user's mistake (`UserError`, `ConfigError`, a path that cannot be opened, a full disk) becomes one line on stderr
    and exit code 2, Ctrl-C exit code 130. Other exceptions pass: they are bugs, and their traceback is wanted.
    """
    try:
        return function() or 0
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"{program}: {str(stop) or 'interrupted'}\n")
        return EXIT_INTERRUPTED
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        return fail(program, message)


def user_message(error: Exception) -> str | None:
    """The line to show for what the user can fix; None for other exceptions, which are bugs."""
    if isinstance(error, (UserError, ConfigError)):
        return str(error)
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}: free some space or write somewhere else"
    return None


def fail(program: str, message: str) -> int:
    """Write one line to stderr; returns exit code 2."""
    sys.stderr.write(f"{program}: {' '.join(message.split())}\n")
    return EXIT_USER_ERROR


@contextmanager
def cli_errors(program: str) -> Iterator[None]:
    """Superseded by `run_cli`; goes as soon as no program uses it."""
    error: list[BaseException] = []

    def body() -> None:
        if error:
            raise error[0]

    try:
        yield
    except (Exception, KeyboardInterrupt) as caught:
        error.append(caught)
        raise SystemExit(run_cli(program, body)) from None
