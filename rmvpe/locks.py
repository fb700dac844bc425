"""Locks that keep a second program out, and that end with the program that holds them, also after kill -9."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

AT_BYTE = 1 << 30  # on Windows a locked byte cannot be read: this one is far behind the file's text
TRY_AGAIN_S = 0.2
BUSY = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)  # Windows says EACCES or EDEADLK


class InUseError(Exception):
    """Another program holds the lock; the text is what it has written into the file, "" if that cannot be read."""


class NoLocksError(Exception):
    """The disk has no locks, as some network disks."""


@contextmanager
def held(path: Path, text: str = "") -> Iterator[None]:
    """Hold the lock file `path`, which contains `text` meanwhile and is removed at the end.

    It is free again when this process ends, however it ends. Processes that this one starts or forks do not hold it.
    Raises InUseError if it is held, also by this process, NoLocksError where the disk has no locks, and OSError if the
    file cannot be made.
    """
    handle = acquire(path)
    open_here = [handle]

    def close_in_fork() -> None:
        """A forked process shares the open file, and with it the lock: it would hold it after this one has ended."""
        while open_here:
            os.close(open_here.pop())

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=close_in_fork)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, text.encode("utf-8"))
        yield
    finally:
        if open_here:  # a forked process may leave the block too: the file is not its own
            open_here.clear()
            release(path, handle)


def check_free(path: Path) -> None:
    """Raise InUseError if another program holds the lock file `path`. It is not made, and nothing is changed."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:  # there is none, or it is somebody else's
        return
    try:
        with suppress(NoLocksError):
            _lock(handle, path, wait=False)
    finally:
        os.close(handle)


def acquire(path: Path, *, wait: bool = False, make_folder: Callable[[], object] | None = None) -> int:
    """The lock file `path`, open and locked; `release` is for its end.

    wait: until nobody else holds it. make_folder: makes the folder of `path`, which the holder before may remove, so
    that it is called before each try. Raises as `held`.
    """
    while True:
        if make_folder is not None:
            make_folder()
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # Python closes it in programs that this one starts
        except FileNotFoundError:
            if make_folder is None:
                raise
            continue
        try:
            _lock(handle, path, wait)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:  # the program before has just removed this file: make a new one
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def release(path: Path, handle: int) -> None:
    """Remove the lock file and free the lock."""
    if os.name == "nt":  # an open file has no other name there, and none can be removed
        os.close(handle)
        with suppress(OSError):
            path.unlink()
        return
    with suppress(OSError):  # removed before it is unlocked: who waits for it sees that it is another file
        path.unlink()
    os.close(handle)


def _lock(handle: int, path: Path, wait: bool) -> None:
    try:
        if os.name == "nt":
            _lock_byte(handle, wait)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise InUseError(_text(path)) from error
        raise NoLocksError(error.strerror) from error


def _lock_byte(handle: int, wait: bool) -> None:
    """As flock, on Windows, whose own way of waiting gives up after ten seconds."""
    import msvcrt

    os.lseek(handle, AT_BYTE, os.SEEK_SET)
    while True:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            break
        except OSError:
            if not wait:
                raise
            time.sleep(TRY_AGAIN_S)
    os.lseek(handle, 0, os.SEEK_SET)


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""
