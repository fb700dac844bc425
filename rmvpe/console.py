"""What is printed: names that may hold anything, the streams, and logging, which only a command line switches on."""

import io
import logging
import sys
import unicodedata

LOGGER = "rmvpe"
HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # controls, parts of bytes that are no UTF-8, separators of lines and paragraphs
DIRECTIONS = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # would turn the line round


def printable(text: object) -> str:
    r"""`text`, such as a path, as it may be shown: what a terminal would obey is escaped.

    Controls become \x1b or \n, bytes that are no UTF-8 (surrogates, as Python gives them) \xff, everything else stays.
    """
    return "".join(map(_escaped, str(text))) if not str(text).isprintable() else str(text)


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in HIDDEN and letter not in DIRECTIONS:
        return letter
    if 0xDC80 <= ord(letter) <= 0xDCFF:
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode() if ord(letter) < 0xD800 else f"\\u{ord(letter):04x}"


def printable_lines(text: str) -> str:
    """`printable` for each line of `text`."""
    return "\n".join(map(printable, text.split("\n")))


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
    """Writes each record of the logger `rmvpe` as `report` does. The stream is looked up for each record."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self.program = program

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        report(self.program, record.getMessage())


def configure_logging(program: str, level: int = logging.WARNING) -> None:
    """Send the records of the logger `rmvpe` from `level` on to stderr, each once. Only command lines call this."""
    logger = logging.getLogger(LOGGER)
    for handler in [handler for handler in logger.handlers if isinstance(handler, ReportHandler)]:
        logger.removeHandler(handler)  # of an earlier command in this process
    logger.addHandler(ReportHandler(program))
    logger.setLevel(level)
