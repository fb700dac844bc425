"""Long recordings cut into segments, so that training draws excerpts from recordings in proportion to their length.

The training stream draws an item first and then an excerpt of it. Without segments a song of minutes would be drawn no
more often than a clip of seconds, and decoded as a whole each time.
"""

import itertools
import math
from dataclasses import dataclass, replace

from rmvpe.data.readers.base import Item, Source

WHOLE_S = 30.0  # recordings up to this long stay whole, so that the stream of a set of clips does not change


@dataclass(frozen=True)
class Segment:
    """A part of item `item` of a source."""

    item: int
    start_s: float
    length_s: float
    whole: bool


class Segments:
    """`source`, with each recording longer than 30 s cut into consecutive segments of about `seconds`.

    The segments of a recording differ in length by a second or two and begin at whole seconds. None is longer than
    `seconds`, except the last one, by less than a second. A segment is an item named "song at 40 s"; a recording of up
    to 30 s is one segment, with item and name unchanged. The constructor reads every header once.
    """

    def __init__(self, source: Source, seconds: float = 20.0) -> None:
        self.source = source
        self.segments = [
            segment for item in range(len(source)) for segment in _cut(item, source.duration_s(item), seconds)
        ]

    def __len__(self) -> int:
        return len(self.segments)

    def name(self, index: int) -> str:
        """The recording's name, and where in it the segment begins."""
        segment = self.segments[index]
        name = self.source.name(segment.item)
        return name if segment.whole else f"{name} at {segment.start_s:g} s"

    def duration_s(self, index: int) -> float:
        """Length of the segment in seconds."""
        return self.segments[index].length_s

    def __getitem__(self, index: int) -> Item:
        """The segment; little more than it is decoded."""
        segment = self.segments[index]
        if segment.whole:
            return self.source[segment.item]
        part = self.source.read_excerpt(segment.item, segment.start_s, segment.length_s)
        return replace(part, name=self.name(index))

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> Item:
        """A part of the segment, see `Recordings.read_excerpt`; it ends with the segment."""
        segment = self.segments[index]
        part = self.source.read_excerpt(
            segment.item, segment.start_s + start_s, min(seconds, segment.length_s - start_s)
        )
        return replace(part, name=self.name(index))

    def check(self) -> None:
        """Raise UserError or FileNotFoundError at the first recording that cannot be used."""
        self.source.check()


def _cut(item: int, length_s: float, seconds: float) -> list[Segment]:
    if length_s <= max(WHOLE_S, seconds):
        return [Segment(item, 0.0, length_s, True)]
    count = math.ceil(length_s / seconds)
    edges = [float(math.floor(number * length_s / count)) for number in range(count)] + [length_s]
    return [Segment(item, start_s, end_s - start_s, False) for start_s, end_s in itertools.pairwise(edges)]


def excerpts(source: Source, excerpt_s: float) -> int:
    """How many excerpts of `excerpt_s` seconds the recordings hold end to end; a shorter recording counts as one."""
    return sum(max(1, int(source.duration_s(index) / excerpt_s)) for index in range(len(source)))
