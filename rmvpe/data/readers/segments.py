"""Long recordings in pieces, so that an epoch weighs recordings by their length and no song is decoded for a second.

A training excerpt is drawn by drawing an item first. Where items are songs of minutes beside clips of seconds, a song
would be met as rarely as a clip, and decoded whole each time.
"""

import itertools
import math
from typing import NamedTuple, Protocol

from rmvpe.data.readers.base import Item

WHOLE_S = 30.0  # recordings up to this long stay whole: a set of clips keeps its stream


class Readable(Protocol):
    """A source of which parts can be read, as every `rmvpe.data.readers.base.Recordings`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Item: ...

    def name(self, index: int) -> str: ...

    def duration_s(self, index: int) -> float: ...

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> Item: ...

    def check(self) -> None: ...


class Piece(NamedTuple):
    """A part of item `item` of a source."""

    item: int
    start_s: float
    length_s: float
    whole: bool


class Stretches:
    """`source` with each recording longer than 30 s as consecutive pieces of about `seconds`.

    The pieces of a recording differ in length by a second or two, begin at whole seconds and are not longer than
    `seconds`, but for the last, by less than a second. A piece is an item like any other, named "song at 40 s"; a
    recording of up to 30 s is its one piece, item and name unchanged. Reads every header once, when it is made.
    """

    def __init__(self, source: Readable, seconds: float = 20.0) -> None:
        self.source = source
        self.pieces = [piece for item in range(len(source)) for piece in _cut(item, source.duration_s(item), seconds)]

    def __len__(self) -> int:
        return len(self.pieces)

    def name(self, index: int) -> str:
        """The recording's name, and where in it the piece begins."""
        piece = self.pieces[index]
        name = self.source.name(piece.item)
        return name if piece.whole else f"{name} at {piece.start_s:g} s"

    def duration_s(self, index: int) -> float:
        """Length of the piece in seconds."""
        return self.pieces[index].length_s

    def __getitem__(self, index: int) -> Item:
        """The piece, decoding little more than it."""
        piece = self.pieces[index]
        if piece.whole:
            return self.source[piece.item]
        part = self.source.read_excerpt(piece.item, piece.start_s, piece.length_s)
        return part | {"name": self.name(index)}

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> Item:
        """A part of the piece, as `Recordings.read_excerpt`; it ends with the piece."""
        piece = self.pieces[index]
        part = self.source.read_excerpt(piece.item, piece.start_s + start_s, min(seconds, piece.length_s - start_s))
        return part | {"name": self.name(index)}

    def check(self) -> None:
        """Raises at the first recording that cannot be used, see `Recordings.check`."""
        self.source.check()


def _cut(item: int, length_s: float, seconds: float) -> list[Piece]:
    if length_s <= max(WHOLE_S, seconds):
        return [Piece(item, 0.0, length_s, True)]
    count = math.ceil(length_s / seconds)
    edges = [float(math.floor(number * length_s / count)) for number in range(count)] + [length_s]
    return [Piece(item, start_s, end_s - start_s, False) for start_s, end_s in itertools.pairwise(edges)]


def excerpts(source: Readable, excerpt_s: float) -> int:
    """How many excerpts of `excerpt_s` fit side by side into the recordings; a shorter recording counts as one."""
    return sum(max(1, int(source.duration_s(index) / excerpt_s)) for index in range(len(source)))
