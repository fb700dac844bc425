"""Names as they may be shown: nothing in them reaches a terminal or a font that would obey it or fail on it."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.text import columns_of, in_lines, printable, shortened

ANY = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("two\nlines\r\ttab", r"two\nlines\r\ttab"),
        ("\x00\x07\x7f\x9b2J", r"\x00\x07\x7f\x9b2J"),
        ("gnp\u202e.wav", r"gnp\u202e.wav"),
        ("\u2066x\u2069\u2028y\u2029", r"\u2066x\u2069\u2028y\u2029"),
        (os.fsdecode(b"caf\xe9") if os.name != "nt" else "caf\udce9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(name: str, shown: str):
    assert printable(name) == shown


@pytest.mark.parametrize(
    "name",
    ["", "a b", r"back\slash", "$x_1^2$ %", "\u65e5\u672c \U0001f3a4", "\u0645\u200f\u0631", "a\xa0b", "e\u0301"],
)
def test_everything_else_stays(name: str):
    assert printable(name) == name


def test_paths_and_bytes_are_taken():
    assert printable(Path("a\nb")) == r"a\nb"
    assert printable(b"a\x1bb") == r"a\x1bb"


@given(ANY)
def test_any_text_becomes_one_line_that_can_be_encoded(text: str):
    shown = printable(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown


@given(st.text(), ANY)
def test_only_what_is_escaped_changes(before: str, text: str):
    assert printable(before + text) == printable(before) + printable(text)
    if text.isprintable():
        assert printable(text) == text


@given(ANY, st.integers(3, 40))
def test_names_fit_into_their_columns(text: str, columns: int):
    lines = in_lines(text, columns).split("\n")
    assert "".join(lines) == printable(text)
    assert max(map(columns_of, lines)) <= columns
    short = shortened(text, columns)
    assert columns_of(short) <= columns
    assert (short == printable(text)) == (columns_of(printable(text)) <= columns)


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert shortened("a" * 300 + "z", 9) == "aaaa\u2026aaaz"
    assert shortened("\u65e5" * 10, 9) == "\u65e5\u65e5\u2026\u65e5\u65e5"
    assert in_lines("\u65e5\u672c\u8a9e", 5) == "\u65e5\u672c\n\u8a9e"
