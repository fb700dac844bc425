"""The second reader where PyAV is not installed: the program ffmpeg, which writes floats into a pipe."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from rmvpe.sound.parts import Findings, Part
from rmvpe.sound.pyav import FORMATS, JITTER_S, MAX_GAP_S, choose_track, describe
from rmvpe.sound.sndfile import Unreadable, compare

PROGRAM = "ffmpeg"
RELATIVE_KINDS = ("mpegts", "mpegps", "flv", "asf")
# Samples by which the encoders of these are late at least, where the format has no place for it
DELAYS = {"aac": 1024, "wmav1": 2048, "wmav2": 2048, "ac3": 256, "eac3": 256}
PLACELESS_KINDS = ("aac", "ac3", "matroska", "flv", "mpegts", "mpegps", "asf")
BLOCK_BYTES = 1 << 20


def program() -> str | None:
    """The path of ffmpeg, None if there is none."""
    return shutil.which(PROGRAM)


def parts(file: BinaryIO, kind: str | None, name: str, track: int | None, findings: Findings) -> Iterator[Part]:
    """The sound of one track in `file` (None: see `choose_track`). Raises Unreadable before the first part."""
    with _on_disk(file) as path:
        tracks, listing = _tracks(path)
        if not tracks:
            raise Unreadable(_reason(listing))
        kinds = [describe(track.codec, track.language) for track in tracks]
        chosen = choose_track(name, track, kinds, [track.is_default for track in tracks])
        codec = tracks[chosen].codec
        alone = len(tracks) == 1 and "Video:" not in listing and "start: -" not in listing
        first = DELAYS.get(codec, 0) if alone and kind in PLACELESS_KINDS else 0
        command = [PROGRAM, "-nostdin", "-hide_banner", "-v", "error", "-format_whitelist", FORMATS, "-copyts"]
        if kind in RELATIVE_KINDS:  # their times begin anywhere
            first += _start_samples(listing)
        fill = f"aresample=async=1:first_pts={max(0, first)}:min_hard_comp={JITTER_S}"
        command += ["-i", f"file:{path}", "-map", f"0:a:{chosen}", "-vn", "-af", fill]
        command += ["-c:a", "pcm_f32le", "-f", "wav", "-"]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL)
            try:
                yield from _read_wav(process, name, listing, findings)
                process.wait()
                errors.seek(0)
                if said := errors.read(4000).decode("utf-8", "replace").strip():
                    findings.warn(f"{name} is damaged ({said.splitlines()[0]}): what cannot be decoded is missing")
            finally:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


@contextlib.contextmanager
def _on_disk(file: BinaryIO) -> Iterator[str]:
    """A path at which ffmpeg finds the bytes of `file`; its name tells ffmpeg nothing."""
    path = getattr(file, "name", None)
    if isinstance(path, (str, os.PathLike)) and os.path.isfile(path):
        yield os.path.abspath(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "sound")
        file.seek(0)
        with open(copy, "wb") as target:
            shutil.copyfileobj(file, target)
        yield copy


@dataclass(frozen=True)
class Track:
    """An audio track as ffmpeg lists it."""

    codec: str
    language: str
    is_default: bool


def _tracks(path: str) -> tuple[list[Track], str]:
    """The audio tracks, and all that ffmpeg writes about the file."""
    command = [PROGRAM, "-nostdin", "-hide_banner", "-format_whitelist", FORMATS, "-i", f"file:{path}"]
    listing = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).stderr
    text = listing.decode("utf-8", "replace")
    found = re.findall(r"^\s*Stream #\d+:\d+(?:\[\w+\])?(?:\((\w+)\))?: Audio: (\w+)(.*)", text, re.MULTILINE)
    return [Track(codec, language, "(default)" in rest) for language, codec, rest in found], text


def _start_samples(listing: str) -> int:
    """Samples before the file's first time, of all its streams."""
    start, rate = re.search(r"start: ([\d.]+)", listing), re.search(r"Audio: .*?(\d+) Hz", listing)
    return round(float(start[1]) * int(rate[1])) if start and rate else 0


def _reason(listing: str) -> str:
    lines = [line for line in listing.splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2].strip() if lines else "ffmpeg finds no sound in it"


def _read_wav(process: subprocess.Popen[bytes], name: str, listing: str, findings: Findings) -> Iterator[Part]:
    assert process.stdout is not None
    stream = process.stdout
    if len(stream.read(12)) < 12:
        raise Unreadable("ffmpeg finds no sound in it that can be decoded")
    channels = rate = 0
    while len(header := stream.read(8)) == 8 and header[:4] != b"data":
        content = stream.read(int.from_bytes(header[4:], "little"))
        if header[:4] == b"fmt ":
            channels, rate = int.from_bytes(content[2:4], "little"), int.from_bytes(content[4:8], "little")
    if not channels:
        raise Unreadable("ffmpeg finds no sound in it that can be decoded")
    frames = 0
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", listing)
    units = (3600, 60, 1)
    claimed_s = None if length is None else sum(float(text) * unit for text, unit in zip(length.groups(), units))

    def blocks() -> Iterator[np.ndarray]:
        nonlocal frames
        size = BLOCK_BYTES // (4 * channels) * 4 * channels
        while data := stream.read(size):
            if claimed_s is not None and frames > (claimed_s + MAX_GAP_S) * rate:
                findings.warn(f"{name} is damaged: some of its times are hours too late; it was read up to there")
                process.kill()  # it would wait for somebody to read the rest
                return
            whole = len(data) // (4 * channels) * 4 * channels
            block = np.frombuffer(data[:whole], dtype="<f4").reshape(-1, channels)
            frames += len(block)
            yield block

    yield Part(rate, blocks())
    if claimed_s is not None and "Video:" not in listing and "Estimating duration" not in listing:
        compare(name, findings, frames / rate, claimed_s, 0.1)
