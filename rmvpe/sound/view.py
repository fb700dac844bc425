"""A file made of pieces of another file and of bytes of our own, for readers that take a file object."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO

Piece = bytes | tuple[int, int]  # bytes themselves, or (offset, length) in the file below


class View(io.RawIOBase):
    """Read-only: `pieces` one after the other. The file below stays open when the view is closed."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = file
        self._pieces = [piece for piece in pieces if (len(piece) if isinstance(piece, bytes) else piece[1])]
        self._starts = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + (len(piece) if isinstance(piece, bytes) else piece[1]))
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start, the position or the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Fill `buffer` as far as bytes go; returns how many they are."""
        target, done = memoryview(buffer).cast("B"), 0
        while done < len(target) and self._at < self._starts[-1]:
            index = bisect_right(self._starts, self._at) - 1
            piece, inside = self._pieces[index], self._at - self._starts[index]
            wanted = min(len(target) - done, self._starts[index + 1] - self._at)
            if isinstance(piece, bytes):
                data = piece[inside : inside + wanted]
            else:
                self._file.seek(piece[0] + inside)
                data = self._file.read(wanted)
            if not data:
                break  # the file below has become shorter
            target[done : done + len(data)] = data
            done += len(data)
            self._at += len(data)
        return done


class Window:
    """Reads small pieces of a large file through one block in memory."""

    BLOCK = 1 << 20

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self._start, self._block = 0, b""

    def get(self, at: int, length: int) -> bytes:
        """`length` bytes from `at`, fewer at the end of the file."""
        if not self._start <= at or at + length > self._start + len(self._block):
            if at >= self.size:
                return b""
            self.file.seek(at)
            self._start, self._block = at, self.file.read(max(self.BLOCK, length))
        return self._block[at - self._start : at - self._start + length]

    def find(self, text: bytes, at: int, stop: int | None = None) -> int:
        """The offset of `text` at or after `at` (and before `stop`), -1 if it is not there."""
        stop = self.size if stop is None else min(stop, self.size)
        while at < stop:
            block = self.get(at, min(self.BLOCK, self.size - at))
            found = block.find(text)
            if found >= 0:
                return at + found if at + found < stop else -1
            if len(block) < self.BLOCK:
                return -1
            at += len(block) - len(text) + 1
        return -1
