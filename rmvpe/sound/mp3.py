"""The frames of MPEG audio (MP3, and layers 1 and 2), walked one by one: only so are its length and its holes known.

A frame's header of four bytes tells its length (ISO/IEC 11172-3, 2.4.1.3). An encoder may put a frame without sound in
front, with "Xing" or "Info" in it: the number of frames, and in LAME's extension how many samples of silence were added
at both ends (http://gabriel.mp3-tech.org/mp3infotag.html).
"""

from dataclasses import dataclass, field

from rmvpe.sound.view import Piece, Window

KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = (44_100, 48_000, 32_000)
IN_A_ROW = 3  # frames that must follow each other before a stream is believed
RESERVOIR = 511  # bytes of earlier frames that a frame can need


@dataclass
class Stream:
    """Frames of one kind that belong together: a file has one; files that were joined have several.

    pieces: (offset, length) of its frames, and bytes of silent frames where a hole was. frames: how many are there.
    claimed: how many its Info frame tells. delay, padding: samples of silence that the encoder added. bit_rates: of all
    frames. lost: frames in holes.
    """

    header: bytes
    pieces: list[Piece] = field(default_factory=list)
    frames: int = 0
    claimed: int | None = None
    delay: int = 0
    padding: int = 0
    bit_rates: set[int] = field(default_factory=set)
    lost: int = 0

    @property
    def rate(self) -> int:
        """Samples per second."""
        return sample_rate(self.header)

    @property
    def samples(self) -> int:
        """Samples in a frame."""
        return frame_samples(self.header)

    def seconds(self, frames: int) -> float:
        """The length of so many frames, without the encoder's silence."""
        return max(0, frames * self.samples - self.delay - self.padding) / self.rate


def _version_layer(header: bytes) -> tuple[int, int]:
    """(1, 3) for MPEG 1 layer 3; version 2 stands for 2 and 2.5."""
    return (1 if header[1] & 0x18 == 0x18 else 2), 4 - (header[1] >> 1 & 3)


def frame_length(header: bytes) -> int:
    """Bytes of the frame with this header; 0 if it is none, or of a free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0 or header[1] & 0x18 == 0x08:
        return 0
    if header[1] & 0x06 == 0 or header[2] >> 4 in (0, 15) or header[2] >> 2 & 3 == 3:
        return 0
    version, layer = _version_layer(header)
    kbps = KBPS[version, layer if version == 1 or layer == 1 else 2][header[2] >> 4]
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12_000 * kbps // sample_rate(header) + padding) * 4
    return frame_samples(header) * 125 * kbps // sample_rate(header) + padding


def sample_rate(header: bytes) -> int:
    """Samples per second."""
    return RATES[header[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}[header[1] >> 3 & 3]


def frame_samples(header: bytes) -> int:
    """Samples per frame."""
    version, layer = _version_layer(header)
    return 384 if layer == 1 else 576 if layer == 3 and version == 2 else 1152


def _key(header: bytes) -> tuple[int, int, bool]:
    """What does not change inside a stream: version and layer, sample rate, mono or not."""
    return header[1] & 0x1E, header[2] & 0x0C, header[3] >> 6 == 3


def _side_info(header: bytes) -> int:
    """Offset of a layer 3 frame's main data, counted from its start, without a checksum."""
    mono, version = header[3] >> 6 == 3, _version_layer(header)[0]
    return 4 + ((17 if mono else 32) if version == 1 else (9 if mono else 17))


def end_of_id3(window: Window) -> int:
    """Where an ID3v2 tag at the start of the file ends; 0 if there is none. Several may follow each other."""
    at = 0
    while (length := _tag_length(window, at)) and window.get(at, 3) == b"ID3":
        at += length
    return at


def _tag_length(window: Window, at: int) -> int:
    """Bytes of the tag at `at` (ID3v1, ID3v2, APE, Lyrics3); 0 if there is none."""
    head = window.get(at, 32)
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG":
        return 227 if head[3:4] == b"+" and window.get(at + 227, 3) == b"TAG" else 128
    if head[:8] == b"APETAGEX":
        is_header = bool(int.from_bytes(head[20:24], "little") & 0x20000000)
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if head[:11] == b"LYRICSBEGIN":
        end = window.find(b"LYRICS200", at)
        return end + 9 - at if end >= 0 else 0
    return 0


def first_frame(window: Window, at: int, within: int, key: tuple[int, int, bool] | None = None) -> int | None:
    """The offset of the next frame that others follow (or the end of the file), None if there is none in `within`."""
    stop = min(at + within, window.size)
    while (at := window.find(b"\xff", at, stop)) >= 0:
        header, follow = window.get(at, 4), at
        wanted = _key(header) if frame_length(header) else None
        for count in range(IN_A_ROW):
            frame = window.get(follow, 4)
            length = frame_length(frame)
            if not length or _key(frame) != wanted or (key is not None and wanted != key):
                if count and (follow >= window.size or _tag_length(window, follow)):
                    return at
                break
            follow += length
        else:
            return at
        at += 1
    return None


def _read_info(frame: bytes, stream: Stream) -> bool:
    """Whether a frame is an Info frame; what it tells goes into `stream`."""
    at = _side_info(frame[:4])
    if frame[at : at + 4] in (b"Xing", b"Info"):
        flags, at = int.from_bytes(frame[at + 4 : at + 8], "big"), at + 8
        if flags & 1:
            stream.claimed = int.from_bytes(frame[at : at + 4], "big")
        at += 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
        if frame[at : at + 4] in (b"LAME", b"Lavf", b"Lavc", b"L3.9") and len(frame) >= at + 24:
            stream.delay = frame[at + 21] << 4 | frame[at + 22] >> 4
            stream.padding = (frame[at + 22] & 15) << 8 | frame[at + 23]
        return True
    if frame[36:40] == b"VBRI":
        stream.claimed = int.from_bytes(frame[50:54], "big")
        return True
    return False


def walk(window: Window) -> list[Stream]:
    """The streams of an MPEG audio file, with all their frames. Empty if there is none, or of a free bit rate."""
    streams: list[Stream] = []
    at = first_frame(window, end_of_id3(window), window.size)
    hole, reservoir, run, last = 0, RESERVOIR, -1, -1  # where the current run of frames began, and its last frame

    def close(end: int) -> None:
        if streams and run >= 0 and end > run:
            streams[-1].pieces.append((run, end - run))

    while at is not None and at < window.size:
        header = window.get(at, 4)
        length = frame_length(header)
        if length and streams and not hole and _key(header) != _key(streams[-1].header):
            length = 0
        if not length:
            broken = at
            while (tag := _tag_length(window, at)) > 0:
                at += tag
            key = _key(streams[-1].header) if streams else None
            after = first_frame(window, at, window.size, key)
            other = first_frame(window, at, window.size if after is None else after - at)
            at = after if other is None else other
            is_hole = bool(streams) and at is not None and not _tag_length(window, broken)
            if is_hole and run >= 0 and last >= run:  # the frame before the hole may have lost its end
                close(last)
                streams[-1].frames -= 1
                hole = (at or 0) - last
            else:
                close(broken)
                hole = (at or 0) - broken if is_hole else 0
            run = -1
            continue
        if at + length > window.size:
            break
        frame = window.get(at, min(length, 256))
        fresh = Stream(header)
        is_info = _read_info(frame, fresh)
        if is_info or not streams or _key(header) != _key(streams[-1].header):
            close(at)
            run, hole = -1, 0
            streams.append(fresh)
            reservoir = RESERVOIR
            if is_info:
                at += length
                continue
        stream = streams[-1]
        if hole:
            mean = max(1.0, _mean_length(stream))
            stream.lost += (silent := max(1, round(hole / mean)))
            stream.pieces.append(silent_frame(stream.header) * silent)
            hole, reservoir = 0, 0
        needed = (frame[4 + 2 * (not header[1] & 1)] << 1) if _version_layer(header)[1] == 3 and len(frame) > 6 else 0
        if reservoir < needed:  # its bits lie in the hole
            close(at)
            run = -1
            stream.pieces.append(silent_frame(header))
            stream.lost += 1
        else:
            run = at if run < 0 else run
            stream.frames += 1
            stream.bit_rates.add(header[2] >> 4)
            last = at
        reservoir = min(2 * RESERVOIR, reservoir + length - _side_info(header))
        at += length
    close(at if at is not None else window.size)
    return streams


def _mean_length(stream: Stream) -> float:
    """Bytes per frame of the stream so far."""
    total = sum(piece[1] for piece in stream.pieces if isinstance(piece, tuple))
    return total / stream.frames if stream.frames else frame_length(stream.header)


def silent_frame(header: bytes) -> bytes:
    """A frame of the same kind that decodes to silence and needs no other frame."""
    head = bytes((header[0], header[1] | 1, header[2], header[3] & 0xCF))
    return head + bytes(frame_length(head) - 4)


def info_frame(header: bytes, frames: int) -> bytes:
    """A frame without sound that tells the number of frames, for a decoder that would guess it."""
    kbps_index = next(index for index in range(1, 15) if frame_length(_with_rate(header, index)) >= 64)
    head = _with_rate(header, kbps_index)
    frame = bytearray(head + bytes(frame_length(head) - 4))
    at = _side_info(head)
    frame[at : at + 12] = b"Info" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return bytes(frame)


def _with_rate(header: bytes, index: int) -> bytes:
    return bytes((header[0], header[1] | 1, index << 4 | header[2] & 0x0C, header[3]))


def is_plain(streams: list[Stream]) -> bool:
    """Whether libsndfile reads the file as a whole and from the right place by itself."""
    if len(streams) != 1 or streams[0].lost:
        return False
    stream = streams[0]
    if stream.claimed is None:
        return len(stream.bit_rates) == 1
    return abs(stream.claimed - stream.frames) <= 1
