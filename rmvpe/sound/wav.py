"""What a WAV file claims and what it holds; headers of recorders that crashed are completed.

RIFF chunks: an id of four characters, a size of four bytes, the content, a byte of padding if the size is odd.
"""

from dataclasses import dataclass

from rmvpe.sound.view import Piece, Window

UNKNOWN_FROM = (
    0x7FFF0000  # sizes from here on that the file does not have are "not known yet": a program wrote to a pipe
)
LIMIT = 1 << 32
MAX_CHUNKS = 10_000
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"3DI")


@dataclass(frozen=True)
class WavLayout:
    """Bytes of sound: `claimed` by the header (None: it says that it does not know), `held` by the file.

    start: offset of the first. order: of the header's numbers. bytes_per_s: of the sound. unfinished: the header's size
    is wrong and the sound goes on to the end of the file.
    """

    start: int
    claimed: int | None
    held: int
    bytes_per_s: int
    unfinished: bool
    order: str

    @property
    def missing_s(self) -> float:
        """Seconds that the header claims and the file does not hold."""
        return 0.0 if self.claimed is None else max(0, self.claimed - self.held) / max(1, self.bytes_per_s)


def survey(window: Window) -> WavLayout | None:
    """The layout of a WAV, RF64 or RIFX file; None where there is no sound chunk."""
    head = window.get(0, 12)
    order = "big" if head[:4] == b"RIFX" else "little"
    riff = int.from_bytes(head[4:8], order)  # type: ignore[arg-type]
    at, bytes_per_s, size64 = 12, 0, None
    for _ in range(MAX_CHUNKS):
        header = window.get(at, 8)
        if len(header) < 8:
            return None
        name, size = header[:4], int.from_bytes(header[4:], order)  # type: ignore[arg-type]
        if name == b"ds64":
            size64 = int.from_bytes(window.get(at + 16, 8), "little")
        elif name == b"fmt ":
            bytes_per_s = int.from_bytes(window.get(at + 16, 4), order)  # type: ignore[arg-type]
        elif name == b"data":
            if size == LIMIT - 1 and size64 is not None:
                size = size64
            return _layout(window, at + 8, size, riff, bytes_per_s, order)
        at += 8 + size + size % 2
    return None


def _layout(window: Window, start: int, size: int, riff: int, bytes_per_s: int, order: str) -> WavLayout:
    held = max(0, window.size - start)
    if size > held:
        known = size < UNKNOWN_FROM or 0 < riff < UNKNOWN_FROM or size >= LIMIT
        return WavLayout(start, size if known else None, held, bytes_per_s, False, order)
    end = start + size
    wrapped = window.size >= LIMIT and (window.size - start) % LIMIT in (size, size + 1)
    inside = size > 0 and riff not in (0, LIMIT - 1) and riff + 8 >= end
    if held == size or (inside and not wrapped) or (not wrapped and _chunks_follow(window, end + end % 2)):
        return WavLayout(start, size, size, bytes_per_s, False, order)
    return WavLayout(start, size, held, bytes_per_s, True, order)


def _chunks_follow(window: Window, at: int) -> bool:
    """Whether all that follows is chunks, tags or padding, not sound."""
    for _ in range(MAX_CHUNKS):
        header = window.get(at, 8)
        if len(header) < 8 or header.startswith(TAGS):
            return len(header) < 8 or window.size - at > len(header)
        if not all(32 <= byte < 127 for byte in header[:4]):
            return False
        at += 8 + int.from_bytes(header[4:], "little")
        if at > window.size:
            return False
        at += at % 2
    return False


def completed(window: Window, layout: WavLayout) -> list[Piece]:
    """The pieces of an unfinished file, with sizes in its header that are right."""
    head = bytearray(window.get(0, layout.start))
    size = min(layout.held, LIMIT - 1)
    order = layout.order
    head[4:8] = min(layout.start - 8 + size, LIMIT - 1).to_bytes(4, order)  # type: ignore[arg-type]
    head[-4:] = size.to_bytes(4, order)  # type: ignore[arg-type]
    return [bytes(head), (layout.start, layout.held)]
