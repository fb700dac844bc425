"""The first reader: libsndfile, which is given the bytes and never the name, and no file that it would cut short.

What libsndfile reads wrongly by itself is laid out for it: the header of a WAV whose recorder crashed is completed, an
MP3 without a length or with holes gets both, and the links of a chained Ogg are read one after the other.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from rmvpe.sound import mp3, ogg, wav
from rmvpe.sound.parts import Findings, Part
from rmvpe.sound.view import Piece, View, Window

CAUTIOUS_FRAMES = 64  # read at a time up to a place that cannot be decoded
UNKNOWN_FRAMES = 1 << 60  # so many are what libsndfile gives where the header does not tell the length
SHORT_S = 0.05  # a file may lack this much without a word: an encoder's padding


class Unreadable(Exception):
    """libsndfile does not read this file; the message says why, in its words."""


class Damaged(Exception):
    """Decoding stopped in the middle. `done_s`: seconds that were decoded."""

    def __init__(self, done_s: float, reason: str) -> None:
        super().__init__(reason)
        self.done_s = done_s


def parts(file: BinaryIO, kind: str | None, name: str, findings: Findings, block_values: int) -> Iterator[Part]:
    """The sound in `file`, which stays open. Raises Unreadable before the first part, Damaged inside one."""
    window = Window(file, file_size(file))
    if kind == "wav":
        return _wav_parts(window, name, findings, block_values)
    if kind == "mp3":
        return _mp3_parts(window, name, findings, block_values)
    if kind == "ogg":
        return _ogg_parts(window, name, findings, block_values)
    return _plain(file, name, findings, block_values)


def file_size(file: BinaryIO) -> int:
    """Bytes in a file; its position is lost."""
    return file.seek(0, os.SEEK_END)


@contextlib.contextmanager
def opened(file: BinaryIO, pieces: list[Piece] | None = None) -> Iterator[Any]:
    """A SoundFile over a whole file or its `pieces`. Raises Unreadable."""
    import soundfile

    source: Any = file if pieces is None else View(file, pieces)
    source.seek(0)
    # A descriptor is read by libsndfile itself, without a call into Python for each block. On Windows the libraries'
    # descriptors are not the same
    if pieces is None and sys.platform != "win32":
        with contextlib.suppress(OSError, AttributeError):
            source = file.fileno()
    try:
        with _no_stderr():
            closing = {"closefd": False} if isinstance(source, int) else {}
            sound = soundfile.SoundFile(source, **closing)
    except soundfile.LibsndfileError as error:
        raise Unreadable(error.error_string.rstrip(". ")) from error
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise Unreadable(str(error).rstrip(". ")) from error
    with sound:
        yield sound


def _plain(file: BinaryIO, name: str, findings: Findings, block_values: int) -> Iterator[Part]:
    with opened(file) as sound:
        frames = sound.frames
        if frames >= UNKNOWN_FRAMES:
            raise Unreadable("its header does not tell its length")
        counter = Counter(_blocks(sound, block_values))
        yield Part(sound.samplerate, iter(counter), frames=frames)
        rate = sound.samplerate
    compare(name, findings, counter.frames / rate, frames / rate)


def compare(name: str, findings: Findings, found_s: float, claimed_s: float, short_s: float = SHORT_S) -> None:
    """Warn if a file holds less sound than it claims."""
    if found_s < claimed_s - short_s:
        findings.warn(
            f"{name} ends after {found_s:.2f} s, but its header says {claimed_s:.2f} s: it was read as far as it goes"
        )


class Counter:
    """Iterates over blocks and counts their `frames`."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks, self.frames = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.frames += len(block)
            yield block


def _blocks(sound: Any, block_values: int) -> Iterator[np.ndarray]:
    """Blocks [frames, channels] of an open SoundFile, float32 of full scale 1. Raises Damaged."""
    import soundfile

    frames, done = max(1, block_values // sound.channels), 0
    while True:
        try:
            block = sound.read(frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            reason = str(getattr(error, "error_string", error)).rstrip(". ")
            for block in _last_blocks(sound, done):
                done += len(block)
                yield block
            raise Damaged(done / sound.samplerate, reason) from error
        if not len(block):
            return
        done += len(block)
        yield block


def _last_blocks(sound: Any, done: int) -> Iterator[np.ndarray]:
    """What can still be decoded from frame `done` on: an error loses the whole block in which it happens."""
    import soundfile

    with contextlib.suppress(soundfile.LibsndfileError, RuntimeError):
        sound.seek(done)
        while len(block := sound.read(CAUTIOUS_FRAMES, dtype="float32", always_2d=True)):
            yield block


def _wav_parts(window: Window, name: str, findings: Findings, block_values: int) -> Iterator[Part]:
    layout = wav.survey(window)
    if layout is None or not layout.unfinished:
        for part in _plain(window.file, name, findings, block_values):
            yield part
            if layout is not None and layout.claimed is not None and layout.missing_s > SHORT_S:
                found_s = layout.held / max(1, layout.bytes_per_s)
                compare(name, findings, found_s, found_s + layout.missing_s)
        return
    with opened(window.file, wav.completed(window, layout)) as sound:
        yield Part(sound.samplerate, _blocks(sound, block_values), frames=sound.frames)
        length_s = sound.frames / sound.samplerate
    claimed_s = (layout.claimed or 0) / max(1, layout.bytes_per_s)
    findings.note(
        f"{name} was not finished by its recorder: its header says {claimed_s:.2f} s, it was read to its end at "
        f"{length_s:.2f} s"
    )


def _mp3_parts(window: Window, name: str, findings: Findings, block_values: int) -> Iterator[Part]:
    streams = [stream for stream in mp3.walk(window) if stream.frames]
    if not streams or mp3.is_plain(streams):
        for part in _plain(window.file, name, findings, block_values):
            yield replace(part, blocks=_without_decoder_messages(part.blocks))
        return
    for stream in streams:
        pieces: list[Piece] = [mp3.info_frame(stream.header, stream.frames + stream.lost), *stream.pieces]
        with opened(window.file, pieces) as sound:
            blocks = _without_decoder_messages(_blocks(sound, block_values))
            yield Part(sound.samplerate, _trimmed(blocks, stream), frames=sound.frames)
    _report_streams(streams, name, findings)


def _without_decoder_messages(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, while libmpg123, which writes its own lines about damage to stderr, cannot write any."""
    while True:
        with _no_stderr():
            block = next(blocks, None)
        if block is None:
            return
        yield block


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Inside, what C code writes to standard error goes nowhere.

    In the main thread alone: two threads that redirect at once could leave standard error closed for good.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # the process has none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _trimmed(blocks: Iterator[np.ndarray], stream: mp3.Stream) -> Iterator[np.ndarray]:
    """Without the encoder's silence, where the stream tells how long it is. The decoder has removed its own delay."""
    skip, left = stream.delay, None
    if stream.claimed is not None and abs(stream.claimed - stream.frames - stream.lost) <= 1:
        left = (stream.frames + stream.lost) * stream.samples - stream.delay - stream.padding
    for block in blocks:
        part, skip = block[skip:], max(0, skip - len(block))
        part = part if left is None else part[:left]
        left = None if left is None else left - len(part)
        if len(part):
            yield part


def _report_streams(streams: list[mp3.Stream], name: str, findings: Findings) -> None:
    found_s = sum(stream.seconds(stream.frames + stream.lost) for stream in streams)
    claimed_s = sum(stream.seconds(max(stream.claimed or 0, stream.frames + stream.lost)) for stream in streams)
    compare(name, findings, found_s, claimed_s)
    lost_s = sum(stream.lost * stream.samples / stream.rate for stream in streams)
    if lost_s:
        findings.warn(damaged(name, lost_s, found_s))


def damaged(name: str, lost_s: float, length_s: float) -> str:
    """The warning about holes."""
    return f"{name} is damaged: {lost_s:.2f} s of its {length_s:.2f} s cannot be decoded and are silent in the result"


def _ogg_parts(window: Window, name: str, findings: Findings, block_values: int) -> Iterator[Part]:
    found = ogg.survey(window)
    if not found.is_ours:
        raise Unreadable("it holds a codec, or several streams, that libsndfile does not read")
    length_s = lost_s = 0.0
    if found.is_plain:
        for part in _plain(window.file, name, findings, block_values):
            length_s = (part.frames or 0) / part.sample_rate
            yield part
    else:
        for link in found.links:
            began_s = length_s
            for index in range(len(link.runs)):
                with opened(window.file, link.pieces(index)) as sound:
                    inside_s = _start_s(link, index, sound) if index else None
                    start_s = None if inside_s is None else began_s + inside_s
                    if start_s is not None and start_s > length_s:
                        lost_s += start_s - length_s
                        length_s = start_s
                    length_s += sound.frames / sound.samplerate
                    yield Part(sound.samplerate, _blocks(sound, block_values), start_s, frames=sound.frames)
    if lost_s:
        findings.warn(damaged(name, lost_s, length_s))
    if found.cut or not found.links[-1].ended:
        findings.warn(
            f"{name} ends after {length_s:.2f} s without the mark of its end: it was read as far as it goes, and what "
            "came after is missing"
        )


def _start_s(link: ogg.Link, index: int, sound: Any) -> float | None:
    """Where a run after a hole begins, counted from the start of its link; None where the file does not tell it."""
    if index != len(link.runs) - 1 or link.last_granule <= 0:
        return None
    rate = 48_000 if link.codec == b"OpusHead" else sound.samplerate
    return link.last_granule / rate - sound.frames / sound.samplerate
