"""How `rmvpe.ownership` knows our text files for Praat, Audacity and DiffSinger, and whether they are whole.

A TextGrid or PitchTier has no place for a mark, but Praat writes the same lines with a space at their ends: a file that
somebody saved there is no longer ours. A `.ds` is ours as long as it has our mark and no phonemes but our placeholders.
"""

import re
from collections.abc import Callable
from typing import BinaryIO

from rmvpe.json_text import parse_json
from rmvpe.notes.diffsinger import MADE_BY, SILENCE, UNKNOWN

HEAD_BYTES, TAIL_BYTES = 1024, 4096
MAX_BYTES = 16 << 20  # of a file that is looked at as a whole: ours are far smaller
NOTE_NAME = rb"[A-G]#?-?\d+(?:[+-]\d+)?"


def _pattern(*parts: bytes) -> re.Pattern[bytes]:
    """A pattern in which SECONDS and NAME stand for a time and for the name of a note."""
    return re.compile(b"".join(parts).replace(b"SECONDS", rb"\d+\.\d{6}").replace(b"NAME", NOTE_NAME))


TEXTGRID = _pattern(
    rb'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = (SECONDS)\ntiers\? <exists>\nsize = 1\n',
    rb'item \[\]:\n    item \[1\]:\n        class = "IntervalTier"\n        name = "notes"\n',
    rb"        xmin = 0\n        xmax = \1\n        intervals: size = (\d+)\n",
)
INTERVAL_END = _pattern(
    rb"        intervals \[(\d+)\]:\n            xmin = SECONDS\n            xmax = (SECONDS)\n",
    rb'            text = "(?:NAME|)"\n\Z',
)
PITCHTIER = _pattern(
    rb'File type = "ooTextFile"\nObject class = "PitchTier"\n\nxmin = 0\nxmax = SECONDS\npoints: size = (\d+)\n',
)
POINT_END = _pattern(rb"points \[(\d+)\]:\n    number = SECONDS\n    value = \d+\.\d{3}\n\Z")
LABEL = _pattern(rb"SECONDS\tSECONDS\tNAME")


def is_textgrid(file: BinaryIO, size: int) -> bool:
    """Our header, and no text but names of notes."""
    content = file.read(MAX_BYTES)
    texts = re.findall(rb'\n            text = "(.*)"\n', content)
    return TEXTGRID.match(content) is not None and all(re.fullmatch(NOTE_NAME + rb"|", text) for text in texts)


def whole_textgrid(file: BinaryIO, size: int) -> bool:
    """Whether its last interval is the one that the header counts, and ends where the header says."""
    head, last = TEXTGRID.match(file.read(HEAD_BYTES)), INTERVAL_END.search(_tail(file, size))
    return head is not None and last is not None and (head[2], head[1]) == (last[1], last[2])


def is_pitchtier(file: BinaryIO, size: int) -> bool:
    """Our header."""
    return PITCHTIER.match(file.read(HEAD_BYTES)) is not None


def whole_pitchtier(file: BinaryIO, size: int) -> bool:
    """Whether its last point is the one that the header counts."""
    head, last = PITCHTIER.match(file.read(HEAD_BYTES)), POINT_END.search(_tail(file, size))
    if head is None or last is None:
        return head is not None and int(head[1]) == 0 and head.end() == size
    return head[1] == last[1]


def is_labels(file: BinaryIO, size: int) -> bool:
    """Lines of onset, offset and the name of a note; an empty file is one without notes."""
    lines = file.read(TAIL_BYTES).split(b"\n")
    return all(LABEL.fullmatch(line) for line in lines[:-1]) and (size == 0 or len(lines) > 1)


def whole_lines(file: BinaryIO, size: int) -> bool:
    """Whether the last line has an end. A file that was cut there looks whole."""
    return size == 0 or _tail(file, size).endswith(b"\n")


def is_ds(file: BinaryIO, size: int) -> bool:
    """One segment with our mark, and nothing in place of the phonemes yet."""
    segments = parse_json(file.read(MAX_BYTES + 1))
    return (
        isinstance(segments, list)
        and len(segments) == 1
        and next(iter(segments[0]), None) == MADE_BY
        and set(segments[0]["ph_seq"].split()) <= {SILENCE, UNKNOWN}
    )


def whole_ds(file: BinaryIO, size: int) -> bool:
    """Whether the last line has an end; half a JSON text is not `is_ds`."""
    return _tail(file, size).endswith(b"\n]\n")


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - TAIL_BYTES))
    return file.read()


Check = Callable[[BinaryIO, int], bool]
TEXT_KINDS: dict[str, tuple[Check, Check]] = {  # kind -> is it ours, and is it whole
    "textgrid": (is_textgrid, whole_textgrid),
    "pitchtier": (is_pitchtier, whole_pitchtier),
    "labels": (is_labels, whole_lines),
    "ds": (is_ds, whole_ds),
}
