"""What a command line prints: one line for a message, each record of the log once, nothing that a terminal obeys."""

import logging
from collections.abc import Iterator

import pytest

from rmvpe.console import ReportHandler, configure_logging, report

LOGGER = logging.getLogger("rmvpe")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = list(LOGGER.handlers), LOGGER.level
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


def test_a_message_is_one_line(capsys: pytest.CaptureFixture[str]):
    report("program", "two\nlines, a \x1b[31m colour and \udce9")
    assert capsys.readouterr().err == "program: two lines, a \\x1b[31m colour and \\xe9\n"


@pytest.mark.parametrize(("level", "lines"), [(logging.ERROR, 1), (logging.WARNING, 2), (logging.INFO, 3)])
def test_the_log_is_shown_from_a_level_on(level: int, lines: int, capsys: pytest.CaptureFixture[str]):
    for _ in range(2):  # a second command in the same process does not print twice
        configure_logging("program", level)
    logger = logging.getLogger("rmvpe.part")
    logger.info("loaded")
    logger.warning("cut off")
    logger.error("gone")
    assert capsys.readouterr().err.splitlines() == ["program: loaded", "program: cut off", "program: gone"][-lines:]
    assert sum(isinstance(handler, ReportHandler) for handler in LOGGER.handlers) == 1
