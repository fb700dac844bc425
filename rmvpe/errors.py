"""User mistakes: one sentence that names the thing and the fix, exit code 2, no traceback."""

import errno
import io
import sys
from collections.abc import Callable

from rmvpe.signals import stop_code, stop_sentence, stoppable
from rmvpe.text import printable

EXIT_USER_ERROR = 2
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota or a limit on the size of files is full


class UserError(ValueError):
    """Something the user gave cannot be used; the message names it and says what to do."""


def run_cli(program: str, function: Callable[[], int | None]) -> int:
    """Run the body of the command line `program` and return its exit code: what `function` returns, None being 0.

    A user's mistake (`UserError`, a path that cannot be opened, a full disk) becomes one line on stderr and exit code
    2. Ctrl-C, SIGTERM and SIGHUP end it in one line and with 130, 143 or 129 (`rmvpe.signals`). Other exceptions pass:
    they are bugs, and their traceback is wanted.
    Characters that the console lacks are printed as escapes.
    """
    escape_unprintable(sys.stdout, sys.stderr)
    try:
        with stoppable():
            return function() or 0
    except KeyboardInterrupt as stop:
        report(program, stop_sentence(stop))
        return stop_code(stop)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        report(program, message)
        return EXIT_USER_ERROR


def escape_unprintable(*streams: object) -> None:
    """Let streams write characters that their encoding lacks as \\u escapes.

    A Windows console of cp1252 or cp936, or a pipe there, has not every character that a file name may have: printing
    such a name would end the run with UnicodeEncodeError. Streams with another way of their own keep it.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def user_message(error: Exception) -> str | None:
    """The line to show for what the user can fix; None for other exceptions, which are bugs."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}: free some space or write somewhere else"
    return None


def exit_code(error: BaseException) -> int:
    """The exit code of a program that ends by `error` inside `run_cli`."""
    if isinstance(error, KeyboardInterrupt):
        return stop_code(error)
    return EXIT_USER_ERROR if isinstance(error, Exception) and user_message(error) is not None else 1


def report(program: str, message: str) -> None:
    """Write a message to stderr as one line that begins with the name of the program; what it names is `printable`."""
    sys.stderr.write(f"{program}: {printable(' '.join(message.split()))}\n")
