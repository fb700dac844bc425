"""User mistakes: one sentence that names the thing and the fix, exit code 2, no traceback."""

import errno
import os
import sys
import traceback
from collections.abc import Callable

from rmvpe.console import escape_unprintable, report
from rmvpe.signals import stop_code, stop_sentence, stoppable

__all__ = ["UserError", "exit_code", "failure_message", "report", "run_cli", "user_message"]

EXIT_USER_ERROR = 2
EXIT_CLOSED_PIPE = 141  # as shells report a program whose reader, such as head, has closed the pipe
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota or a limit on the size of files is full


class UserError(ValueError):
    """Something the user gave cannot be used; the message names it and says what to do."""


def run_cli(program: str, function: Callable[[], int | None], *, debug: bool = False) -> int:
    """Run the body of the command line `program` and return its exit code: what `function` returns, None being 0.

    A user's mistake (`UserError`, a path that cannot be opened, a full disk) becomes one line on stderr and exit code
    2. Ctrl-C, SIGTERM and SIGHUP end it in one line and with 130, 143 or 129 (`rmvpe.signals`), a reader that closes
    our stdout with 141 and without a word. Any other exception is a bug: one line and exit code 1. `debug` prints the
    traceback of every error before its line. Characters that the console lacks are printed as escapes.
    """
    escape_unprintable(sys.stdout, sys.stderr)
    try:
        with stoppable():
            code = function() or 0
            sys.stdout.flush()
            return code
    except KeyboardInterrupt as stop:
        report(program, stop_sentence(stop))
        return stop_code(stop)
    except BrokenPipeError:
        _discard_stdout()
        return EXIT_CLOSED_PIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        message = user_message(error)
        report(
            program, message or f"this is a bug in rmvpe: {in_words(error)}; run it again with --debug and report it"
        )
        return EXIT_USER_ERROR if message is not None else 1


def _discard_stdout() -> None:
    """Send what stdout still holds nowhere, so that Python does not fail on it when it ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return  # a stdout without a file of its own, as in tests


def user_message(error: BaseException) -> str | None:
    """The line to show for what the user can fix; None for other exceptions, which are bugs."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"there is not enough memory{detail}: close other programs, or give less at a time"
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        name = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return f"{name}{error.strerror}: free some space or write somewhere else"
    if isinstance(error, OSError) and error.filename and not isinstance(error.filename, int):
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, ValueError) and "embedded null" in str(error):  # what Python says of "a\0b" as a file's name
        return "a name holds a NUL character, which no file's name can: give another name"
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)):
        return str(error)
    return None


def failure_message(name: object, error: BaseException) -> str:
    """Why one file of many, called `name`, was not done: one sentence that names it, whatever exception it was."""
    message = user_message(error)
    if message is None:
        return f"{name} failed by a bug in rmvpe ({in_words(error)}): run it again with --debug and report it"
    return message if str(name) in message else f"{name}: {message}"


def in_words(error: BaseException) -> str:
    """The kind of an exception and the beginning of its message, in one line."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def exit_code(error: BaseException) -> int:
    """The exit code of a program that ends by `error` inside `run_cli`."""
    if isinstance(error, KeyboardInterrupt):
        return stop_code(error)
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    if isinstance(error, BrokenPipeError):
        return EXIT_CLOSED_PIPE
    return EXIT_USER_ERROR if isinstance(error, Exception) and user_message(error) is not None else 1
