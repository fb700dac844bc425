"""One recording from a path, bytes or a stream: which reader decodes it, and one sentence for all that goes wrong."""

import contextlib
import importlib.util
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rmvpe.errors import UserError
from rmvpe.sound import channels, ffmpeg, pyav, sndfile
from rmvpe.sound.files import open_regular
from rmvpe.sound.mono import Channel, collect
from rmvpe.sound.parts import Findings, Part
from rmvpe.sound.sndfile import Damaged, Unreadable
from rmvpe.sound.sniff import SNDFILE_KINDS, kind_of
from rmvpe.sound.view import Window

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
MEMORY_SPOOL = 1 << 26  # bytes of a stream that stay in memory; the rest goes to a temporary file
Reader = Callable[[Findings], Iterator[Part]]


@contextlib.contextmanager
def opened(source: Any) -> Iterator[tuple[BinaryIO, str]]:
    """A seekable binary file for a path, bytes or a binary stream, and what to call it in messages."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        with open_regular(path) as file:
            yield file, str(path)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source), "audio"
    elif callable(getattr(source, "read", None)):
        if not isinstance(source.read(0), bytes):
            raise UserError("audio is a text stream: open the file in binary mode (sys.stdin.buffer, open(..., 'rb'))")
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) and not name.startswith("<") else "audio"
        name = "stdin" if getattr(source, "name", None) in (0, "<stdin>") else name
        if _can_seek(source):
            yield source, name
        else:
            with tempfile.SpooledTemporaryFile(MEMORY_SPOOL) as spool:
                shutil.copyfileobj(source, spool)
                yield spool, name  # type: ignore[misc]
    else:
        raise UserError(f"audio cannot be read from {type(source).__name__}: give a path, bytes or a binary file")


def _can_seek(source: Any) -> bool:
    try:
        return bool(source.seekable()) and source.seek(0) == 0
    except (AttributeError, OSError, ValueError):
        return False


def read_source(
    source: Any, channel: Channel, track: int | None, block_values: int
) -> tuple[np.ndarray, float, Findings]:
    """Samples float32 [n] at 16 kHz, the duration in seconds, and what there is to report. Raises UserError."""
    with opened(source) as (file, name):
        try:
            return _read(file, name, channels.checked(channel), track, block_values)
        except UserError:
            raise
        except MemoryError as error:
            size = sndfile.file_size(file) / 1e6
            raise UserError(f"{name} ({size:.0f} MB) is too long for the memory of this machine: cut it up") from error
        except Exception as error:
            raise UserError(cannot_read(name, f"{type(error).__name__}: {error}")) from error


def cannot_read(name: str, reason: str) -> str:
    """The sentence for a file that is no sound."""
    if second_reader() is None:
        return (
            f"{name} cannot be read as sound ({reason}): if it is sound, run pip install av, or install ffmpeg, "
            "which read more formats"
        )
    return (
        f"{name} cannot be read as sound ({reason}): "
        "give a wav, flac, ogg, mp3, m4a or aiff file, or convert it to one, for example with ffmpeg"
    )


def second_reader() -> str | None:
    """What reads the formats that libsndfile does not: "av", "ffmpeg" or None."""
    if importlib.util.find_spec("av") is not None:
        return "av"
    return "ffmpeg" if ffmpeg.program() else None


def _read(
    file: BinaryIO, name: str, channel: Channel, track: int | None, block_values: int
) -> tuple[np.ndarray, float, Findings]:
    if sndfile.file_size(file) == 0:
        raise UserError(cannot_read(name, "the file is empty"))
    kind = kind_of(Window(file, sndfile.file_size(file)))
    if kind is None and name.lower().endswith(".raw"):
        raise UserError(f"{name} has no header with its sample rate: convert it to wav")

    def first(findings: Findings) -> Iterator[Part]:
        return sndfile.parts(file, kind, name, findings, block_values)

    def second(findings: Findings) -> Iterator[Part]:
        if second_reader() == "av":
            return pyav.parts(file, name, track, findings)
        return ffmpeg.parts(file, kind, name, track, findings)

    reason = "of a format that libsndfile does not read"
    broken: Damaged | None = None
    if (kind is None or kind in SNDFILE_KINDS) and track in (None, 1):
        try:
            return _mono(first, name, channel)
        except Unreadable as error:
            reason = str(error)
        except Damaged as error:
            broken = error
    if second_reader() is not None and (broken is None or broken.done_s >= 0):
        try:
            samples, duration_s, findings = _mono(second, name, channel)
            if broken is not None and not findings.warnings:
                findings.warn(f"{name} is damaged ({broken}): what cannot be decoded is silent in the result")
            return samples, duration_s, findings
        except Unreadable as error:
            reason = reason if kind in SNDFILE_KINDS else str(error)
    if broken is not None:
        return _mono(lambda findings: _tolerant(first(findings), name, findings), name, channel)
    if track not in (None, 1) and kind in SNDFILE_KINDS and second_reader() is None:
        raise UserError(f"{name} has no audio track {track} that can be read here: run pip install av, or leave it out")
    raise UserError(cannot_read(name, reason))


def _mono(reader: Reader, name: str, channel: Channel) -> tuple[np.ndarray, float, Findings]:
    """Read once; if the mean loses the voice and the choice is ours, once more."""
    findings = Findings()
    if channel != "auto":
        return (*collect(reader(findings), name, channel), findings)
    watch = channels.Watch()
    samples, duration_s = collect(watch.over(reader(findings)), name)
    verdict = watch.verdict()
    if verdict is None:
        return samples, duration_s, findings
    del samples
    samples, duration_s = collect(reader(findings), name, verdict[0])
    findings.note(channel_note(name, *verdict))
    return samples, duration_s, findings


def channel_note(name: str, channel: int, reason: str) -> str:
    """The note about a channel that was taken instead of the mean."""
    which = ("the left one", "the right one")[channel] if channel < 2 else f"channel {channel + 1}"
    return f"{name}: {reason}, so {which} was taken instead of their mean; --channel chooses another"


def _tolerant(parts: Iterator[Part], name: str, findings: Findings) -> Iterator[Part]:
    """The parts up to the place that cannot be decoded."""

    def blocks(part: Part) -> Iterator[np.ndarray]:
        try:
            yield from part.blocks
        except Damaged as error:
            claimed = f", but its header says {part.frames / part.sample_rate:.2f} s" if part.frames else ""
            findings.warn(f"{name} ends after {error.done_s:.2f} s ({error}){claimed}: it was read as far as it goes")

    for part in parts:
        yield Part(part.sample_rate, blocks(part), part.start_s, part.frames)
        if findings.warnings:
            return
