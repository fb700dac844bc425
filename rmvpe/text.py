"""Names as they may be shown: on a terminal, in a log, in a picture."""

import os
import unicodedata

# Controls, what Python makes of bytes that are no UTF-8, and separators of lines and paragraphs
HIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Embeddings, overrides and isolates: they turn the text that follows round, so that a name seems to be another one
DIRECTIONS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def printable(text: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    r"""A path or a text in one line, with visible escapes for what a terminal or a font would obey or fail on.

    Control characters become \n, \x1b or \x9b, changes of direction \u202e, and the bytes of a name that is not UTF-8
    (lone surrogates, as `os.fsdecode` gives them) \xe9. Everything else stays, a backslash too.
    """
    plain = os.fsdecode(text)
    return plain if plain.isprintable() else "".join(map(_escaped, plain))


def printable_lines(text: str) -> str:
    """`printable` for each line of a text, whose line ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in HIDDEN_CATEGORIES and letter not in DIRECTIONS:
        return letter
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def columns_of(text: str) -> int:
    """How wide a text is in letters of the Latin script: East Asian ones count twice, combining marks not at all."""
    return sum(_width(letter) for letter in text)


def in_lines(text: str, columns: int) -> str:
    """A name, `printable`, cut into lines of at most `columns` columns."""
    lines, room = [""], columns
    for letter in printable(text):
        if (room := room - _width(letter)) < 0:
            lines.append("")
            room = columns - _width(letter)
        lines[-1] += letter
    return "\n".join(lines)


def shortened(text: str, columns: int) -> str:
    """A name, `printable`, whose middle becomes an ellipsis where it is wider than `columns` columns."""
    shown = printable(text)
    if columns_of(shown) <= columns:
        return shown
    half = (columns - 1) // 2
    first, last = in_lines(shown, half).split("\n")[0], in_lines(shown[::-1], half).split("\n")[0][::-1]
    return f"{first}\u2026{last}"


def _width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("F", "W") else 1
