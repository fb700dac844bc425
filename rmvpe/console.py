"""What a command line prints: messages, streams that lack characters, and logging, which only it switches on."""

import contextlib
import io
import logging
import sys
import traceback

from rmvpe.text import printable

LOGGER = "rmvpe"


def escape_unprintable(*streams: object) -> None:
    """Let streams write characters that their encoding lacks as \\u escapes.

    A Windows console of cp1252 or cp936, or a pipe there, has not every character that a file name may have: printing
    such a name would end the run with UnicodeEncodeError. Streams with another way of their own keep it.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def report(program: str, message: str) -> None:
    """Write a message to stderr as one line that begins with the name of the program."""
    sys.stderr.write(f"{program}: {printable(' '.join(message.split()))}\n")


class ReportHandler(logging.Handler):
    """Writes each record of the logger `rmvpe` as `report` does, above a bar. The stream is looked up for each."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self.program = program

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        with above_bars():
            report(self.program, record.getMessage())


def above_bars() -> contextlib.AbstractContextManager[None]:
    """Take the bars that tqdm shows off stderr, so that what is printed there meanwhile has lines of its own."""
    tqdm = sys.modules.get("tqdm")
    return contextlib.nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode(file=sys.stderr)


def print_traceback() -> None:
    """Print the traceback of the exception that is being handled on stderr, above a bar."""
    with above_bars():
        traceback.print_exc()


def configure_logging(program: str, level: int = logging.WARNING) -> None:
    """Send the records of the logger `rmvpe` from `level` on to stderr, each once. Only command lines call this."""
    logger = logging.getLogger(LOGGER)
    for handler in [handler for handler in logger.handlers if isinstance(handler, ReportHandler)]:
        logger.removeHandler(handler)  # of an earlier command in this process
    logger.addHandler(ReportHandler(program))
    logger.setLevel(level)
