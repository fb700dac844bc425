"""The fence around readers: any exception is one sentence with the file; what the user or the system wants passes."""

import os
from pathlib import Path

import pytest

from rmvpe.errors import UserError
from rmvpe.json_text import NotJson, parse_json
from rmvpe.reading import read_bytes, read_json, reading


@pytest.mark.parametrize(
    "error",
    [
        ValueError("odd"),
        KeyError("x"),
        RecursionError(),
        AssertionError(),
        ZeroDivisionError("two\nlines"),
        NotJson("no"),
    ],
)
def test_any_exception_becomes_a_sentence_with_the_file(error: Exception) -> None:
    with (
        pytest.raises(UserError, match=r"^x\.bin .*; ?give another|^x\.bin .*: give another") as caught,
        reading("x.bin", "give another"),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_said_as_such() -> None:
    with pytest.raises(UserError, match="needs more memory"), reading("x.bin"):
        raise MemoryError


def test_an_error_of_the_system_keeps_its_reason() -> None:
    with pytest.raises(UserError, match=r"cannot read x\.bin: Input/output error"), reading("x.bin"):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, UserError, FileNotFoundError])
def test_what_is_no_fault_of_the_file_passes(error: type[BaseException]) -> None:
    with pytest.raises(error), reading("x.bin"):
        raise error("text")


def test_a_file_of_any_length_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, "fix", 5) == b"12345"
    with pytest.raises(UserError, match="longer than the 4 bytes"):
        read_bytes(path, "fix", 4)
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a file with a hole: a terabyte that takes no space
    with pytest.raises(UserError, match="longer than"):
        read_json(path, "fix")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(UserError, match="not a regular file: fix"):
        read_json(tmp_path / "f", "fix")


def test_json_is_read_strictly() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    for text in ("[" * 10**6, '{"a": 1, "a": 2}', "1" * 5000, b"\xff\xfe{\x00}\x00", b"\xe9", "", " " * (17 << 20)):
        with pytest.raises(NotJson):
            parse_json(text)
