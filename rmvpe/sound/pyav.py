"""The second reader: PyAV (ffmpeg's libraries), for what libsndfile does not read. Times are the file's timestamps."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from rmvpe.errors import UserError
from rmvpe.sound.parts import Findings, Part
from rmvpe.sound.sndfile import Unreadable, compare

JITTER_S = 0.008  # timestamps of Matroska and ASF are whole milliseconds: smaller differences are no gap
MAX_GAP_S = 3600.0  # a time that is farther behind the one before, and behind the end of the file, is damaged
MAX_LATE_S = 60.0  # a recording that begins later than this was cut from a longer one, whose times it kept
RELATIVE = ("mpegts", "mpeg", "flv", "asf")  # formats whose times begin anywhere
# Formats without a place for the encoder's delay, or whose writers move times below 0 to 0
WITHOUT_DELAY = ("aac", "matroska", "flv", "mpegts", "ac3", "eac3", "asf", "mpeg")
DELAYING = ("aac", "wmav1", "wmav2")  # these encoders add at least one frame
SAME_S = 0.0015
# Demuxers that read one file and nothing else: no playlists, no scripts
FORMATS = (
    "aac,ac3,aiff,alac,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,matroska,matroska,webm,mov,mp4,m4a,"
    "3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,oga,ogg,oma,rm,tak,truehd,tta,voc,w64,wav,wv,wsd,xwma,nut,loas"
)


class _Source:
    """A file for PyAV. A place that a damaged file names and that cannot exist is refused without an exception.

    PyAV would print the traceback of one to stderr and go on.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._file = file.read, file.tell, file

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file, but -1 where it fails, which ffmpeg takes for an error."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def parts(file: BinaryIO, name: str, track: int | None, findings: Findings) -> Iterator[Part]:
    """The sound of one track in `file` (None: see `choose_track`). Raises Unreadable before the first part."""
    import av

    file.seek(0)
    try:
        container = av.open(_Source(file), options={"format_whitelist": FORMATS}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
    with container:
        stream = _choose(container, name, track)
        decoded = _Decoded(container, stream)
        try:
            decoded.begin()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
        yield Part(decoded.rate, decoded.blocks(), frames=decoded.expected)
        if decoded.faults:
            findings.warn(f"{name} is damaged: {decoded.faults} packets cannot be decoded and are silent in the result")
        if decoded.jumps:
            findings.warn(f"{name} is damaged: {decoded.jumps} of its times are hours too late and were not believed")
        if decoded.claimed_s is not None:
            compare(name, findings, decoded.position / decoded.rate, decoded.claimed_s, 0.1)


def _choose(container: Any, name: str, track: int | None) -> Any:
    from av.stream import Disposition

    streams = list(container.streams.audio)
    if not streams:
        raise UserError(f"{name} has no sound in it: give a recording")
    kinds = [describe(stream.codec_context.name, stream.metadata.get("language")) for stream in streams]
    defaults = [bool(stream.disposition & Disposition.default) for stream in streams]
    return streams[choose_track(name, track, kinds, defaults)]


def choose_track(name: str, track: int | None, kinds: list[str], defaults: list[bool]) -> int:
    """The index of audio track `track` (from 1). None: the first that the file marks as its default, else the first."""
    if track is None:
        return defaults.index(True) if any(defaults) else 0
    if not 1 <= track <= len(kinds):
        listed = ", ".join(f"{number} ({kind})" for number, kind in enumerate(kinds, 1))
        raise UserError(f"{name} has no audio track {track}: choose one of {listed}")
    return track - 1


def describe(codec: str, language: str | None) -> str:
    """A track in a word or two."""
    return codec if language in (None, "", "und") else f"{codec}, {language}"


class _Decoded:
    """One stream, decoded onto the file's timeline: gaps are zeros, what lies before time 0 is cut off."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._format = container.format.name.split(",")[0]
        self.codec = stream.codec_context.name
        self.faults = self.jumps = self.position = 0
        self._packet_s: float | None = None  # timestamp of the first packet
        if self.codec in ("wmav1", "wmav2"):
            stream.codec_context.flags2 |= 1 << 29  # the decoder gives its first frames too; it drops one too many
        self._frames = self._decode()

    def begin(self) -> None:
        """Decode the first frame, which tells rate, channels and where the sound begins."""
        self._first: Any = next(self._frames, None)
        if self._first is None:
            raise ValueError("it holds no sound that can be decoded")
        self.rate, self.channels = self._first.sample_rate, self._first.layout.nb_channels
        length = self._stream.duration
        self.claimed_s = (
            None if length is None or self._format in ("aac", "avi") else float(length * self._stream.time_base)
        )
        self.expected = None if self.claimed_s is None else int(self.claimed_s * self.rate)
        self._origin_s = self._origin()
        if self.claimed_s is not None:
            start = self._stream.start_time
            self.claimed_s += max(0.0, (0 if start is None else float(start * self._stream.time_base)) - self._origin_s)

    def _origin(self) -> float:
        """The timestamp that is time 0."""
        pts = self._first.pts
        first_s = 0.0 if pts is None else float(pts * self._first.time_base)
        packet_s = first_s if self._packet_s is None else self._packet_s
        start = self._container.start_time
        container_s = 0.0 if start is None else start / 1e6
        origin = container_s if self._format in RELATIVE or container_s > MAX_LATE_S else 0.0
        others = [
            float(stream.start_time * stream.time_base)
            for stream in self._container.streams
            if stream.type in ("audio", "video")
            and stream.index != self._stream.index
            and stream.start_time is not None
        ]
        if others:
            # Times below 0 were moved to 0 for all streams: the picture begins at time 0
            moved = min(others) - origin
            return origin + moved if 0 < moved < 0.1 and abs(packet_s - origin) < SAME_S else origin
        # A first packet before time 0 tells that the file knows its delay
        if self._format in WITHOUT_DELAY and packet_s > origin - SAME_S and first_s - origin < 0.01:
            if self.codec in DELAYING:
                return origin + self._first.samples / self._first.sample_rate
            if self.codec in ("ac3", "eac3"):
                return origin + 256 / self._first.sample_rate
            if self.codec == "vorbis":
                return first_s
        return origin

    def _decode(self) -> Iterator[Any]:
        import av

        for packet in self._packets():
            if self._packet_s is None and packet.pts is not None:
                self._packet_s = float(packet.pts * packet.time_base)
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self.faults += 1

    def _packets(self) -> Iterator[Any]:
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                self.faults += 1
                return

    def blocks(self) -> Iterator[np.ndarray]:
        """Blocks [frames, channels] from time 0 on."""
        assert self._first is not None
        frame = self._first
        while frame is not None:
            if frame.sample_rate == self.rate and frame.layout.nb_channels == self.channels:
                yield from self._placed(frame)
            else:
                self.faults += 1
            frame = next(self._frames, None)

    def _placed(self, frame: Any) -> Iterator[np.ndarray]:
        block = _floats(frame)
        if frame.pts is not None:
            at = round((float(frame.pts * frame.time_base) - self._origin_s) * self.rate)
            if self._is_impossible(at):
                self.jumps += 1
                at = self.position
            gap = at - self.position
            if self.position == 0 or abs(gap) > JITTER_S * self.rate:
                if gap < 0:
                    block = block[-gap:]
                while gap > 0:
                    silent = min(gap, 1 << 18)
                    self.position += silent
                    gap -= silent
                    yield np.zeros((silent, self.channels), dtype=np.float32)
        self.position += len(block)
        if len(block):
            yield block

    def _is_impossible(self, at: int) -> bool:
        """Whether a time is damaged: far behind what came before, and behind the end that the file tells."""
        end = self.position if self.expected is None else max(self.expected, self.position)
        return at > end + MAX_GAP_S * self.rate


def _floats(frame: Any) -> np.ndarray:
    """[samples, channels] of full scale 1."""
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    if array.dtype.kind == "f":
        return array
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    return (array / 2.0 ** (8 * array.dtype.itemsize - 1)).astype(np.float32)
