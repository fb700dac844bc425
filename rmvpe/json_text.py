"""JSON that someone else wrote: parsed within limits, with one kind of error.

Python's parser fails with RecursionError on deep nesting, keeps the last of two equal keys without a word, and takes a
text of any size.
"""

import json
from typing import Any

MAX_BYTES = 16 << 20  # of a text; ours are below 1 MB


class NotJson(ValueError):
    """A text is no JSON that can be used; the message says why."""


def parse_json(text: str | bytes, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a JSON text; bytes must be UTF-8, with or without a byte order mark.

    Raises NotJson for everything else: another encoding, a text longer than `max_bytes`, tables nested too deep, a key
    that comes twice in a table, numbers of thousands of digits.
    """
    if len(text) > max_bytes:
        raise NotJson(f"it has {len(text):,} bytes, more than the {max_bytes:,} that are read")
    if isinstance(text, bytes):
        text = decode(text)
    try:
        return json.loads(text, object_pairs_hook=_table)
    except RecursionError as error:
        raise NotJson("it is nested too deep") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg} in line {error.lineno}") from error
    except NotJson:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise NotJson(str(error).split(";")[0]) from error


def decode(data: bytes) -> str:
    """The text of UTF-8 bytes, without a byte order mark. Raises NotJson, with the likely encoding, for others."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise NotJson("it is UTF-16, as PowerShell's > writes: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not UTF-8: save it as UTF-8") from error


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotJson(f"the key {twice[:40]!r} comes twice in one table")
    return table
