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


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in HIDDEN_CATEGORIES and letter not in DIRECTIONS:
        return letter
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
