"""The pages of an Ogg file, walked one by one: links of a chain, holes, and whether the stream was ended (RFC 3533)."""

import zlib
from dataclasses import dataclass, field

from rmvpe.sound.view import Piece, Window

FIRST, LAST = 2, 4  # flags of a page: first and last of its stream
CODECS = ((b"\x01vorbis", 3), (b"OpusHead", 2))  # of the first packet, and how many packets are headers


@dataclass
class Link:
    """One stream of a chain.

    runs: its pages as [start, end], a new run after each hole. header_end: where its sound begins. ended: its last page
    says that it is the last. several: other streams are in it as well.
    """

    serial: int
    start: int
    codec: bytes | None
    header_packets: int = 0
    header_end: int = 0
    runs: list[list[int]] = field(default_factory=list)
    last_granule: int = 0
    ended: bool = False
    several: bool = False
    next_page: int = 0

    def pieces(self, index: int) -> list[Piece]:
        """The pieces of run `index`, with the headers in front."""
        start, end = self.runs[index]
        if index == 0:
            return [(start, end - start)]
        return [(self.start, self.header_end - self.start), (start, end - start)]


@dataclass
class OggSurvey:
    """The links of a file in order. cut: it ends in the middle of a page."""

    links: list[Link] = field(default_factory=list)
    cut: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether libsndfile reads it as a whole by itself."""
        return len(self.links) == 1 and len(self.links[0].runs) == 1 and not self.links[0].several

    @property
    def is_ours(self) -> bool:
        """Whether every link is one stream of a codec that libsndfile reads."""
        return bool(self.links) and all(link.codec and not link.several and link.runs for link in self.links)


def survey(window: Window) -> OggSurvey:
    """Walk all pages."""
    found = OggSurvey()
    at = window.find(b"OggS", 0)
    gap = False
    while 0 <= at < window.size:
        header = window.get(at, 27)
        sizes = window.get(at + 27, header[26]) if len(header) == 27 else b""
        if len(header) < 27 or len(sizes) < header[26]:
            found.cut = True
            break
        length = 27 + len(sizes) + sum(sizes)
        if header[4] != 0 or at + length > window.size or not _is_whole(window.get(at, length)):
            found.cut = at + length > window.size
            gap, at = True, window.find(b"OggS", at + 4)
            continue
        _add_page(found, window, at, length, header, sizes, gap)
        gap, at = False, at + length
        if at < window.size and window.get(at, 4) != b"OggS":
            gap, at = True, window.find(b"OggS", at)
    return found


REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _is_whole(page: bytes) -> bool:
    """Whether the checksum of a page is right. It is zlib's with the bits of each byte, and of the sum, reversed."""
    data = (page[:22] + bytes(4) + page[26:]).translate(REVERSED_BITS)
    checksum = zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{checksum:032b}"[::-1], 2) == int.from_bytes(page[22:26], "little")


def _add_page(found: OggSurvey, window: Window, at: int, length: int, header: bytes, sizes: bytes, gap: bool) -> None:
    flags, serial = header[5], int.from_bytes(header[14:18], "little")
    number = int.from_bytes(header[18:22], "little")
    if flags & FIRST:
        if found.links and not found.links[-1].runs and not found.links[-1].header_end:
            found.links[-1].several = True  # a second stream begins before the first has sound
            return
        body = window.get(at + 27 + len(sizes), 8)
        codec, packets = next(((name, count) for name, count in CODECS if body.startswith(name)), (None, 0))
        found.links.append(Link(serial, at, codec, packets - 1, next_page=number + 1))
        return
    if not found.links:
        return
    link = found.links[-1]
    if serial != link.serial:
        link.several = True
        return
    if link.header_packets > 0:
        link.header_packets -= sum(size < 255 for size in sizes)
        if link.header_packets <= 0:
            link.header_end = at + length
            link.runs.append([link.start, at + length])
    elif link.runs:
        if gap or number != link.next_page:
            link.runs.append([at, at])
        link.runs[-1][1] = at + length
        granule = int.from_bytes(header[6:14], "little", signed=True)
        link.last_granule = granule if granule > 0 else link.last_granule
    link.next_page = number + 1
    link.ended = bool(flags & LAST)
