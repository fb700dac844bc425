"""Sound files that we made to listen to (`rmvpe.sonify`): known by a mark, so that none is taken for a recording."""

import os
import struct
from typing import BinaryIO

MARK = "made by rmvpe to listen to"  # the comment in the RIFF file
HEAD_BYTES = 4096  # the mark comes before the sound


def is_sonified(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a wav file with our mark; one that cannot be read is not. The path is a regular file's."""
    try:
        with open(path, "rb") as file:
            return is_marked(file)
    except (OSError, ValueError):
        return False


def is_marked(file: BinaryIO) -> bool:
    """Whether an open file begins as a wav file with our mark."""
    return _comment(file.read(HEAD_BYTES)) == MARK.encode()


def is_whole(file: BinaryIO, size: int) -> bool:
    """Whether an open wav file is as long as its header says."""
    head = file.read(8)
    return len(head) == 8 and struct.unpack("<4sI", head)[1] + 8 == size


def _comment(head: bytes) -> bytes | None:
    """The comment among the first chunks of a RIFF file; None without one."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, at)
        if name == b"LIST" and head[at + 8 : at + 12] == b"INFO":
            at += 12  # its parts follow
            continue
        if name == b"ICMT":
            return head[at + 8 : at + 8 + length].rstrip(b"\0")
        if name == b"data":
            return None
        at += 8 + length + length % 2
    return None
