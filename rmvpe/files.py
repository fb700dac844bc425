"""Files and folders that are either whole or absent: written beside their place, then renamed."""

import errno
import json
import math
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rmvpe import locks
from rmvpe.errors import DISK_FULL, UserError
from rmvpe.leftovers import remove_leftovers, temporary_name
from rmvpe.signals import before_death

LOCK = "lock"  # the file in a work folder that marks it as ours and keeps a second run out
WINDOWS = os.name == "nt"
ONE_CASE = sys.platform in ("win32", "darwin")  # there A.csv and a.csv are usually one file
HELD_OPEN = (5, 32, 33)  # Windows' errors for a file that a program has open: access denied, in use, locked
WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8)  # a virus scanner or an indexer lets a new file go within a second
MAX_WINDOWS_PATH = 260  # characters, unless long paths are switched on


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it replaces `path`, on any error it is removed.

    The temporary name keeps the suffix, because writers choose a format by it, and tells which process it belongs to
    (`rmvpe.leftovers`). Raises UserError if the folder cannot be written or has no room, or if `path` is a folder, a
    link, or no regular file.
    """
    target = Path(path)
    check_replaceable(target)
    temporary = target.parent / temporary_name(target)

    def remove() -> None:
        with suppress(OSError):  # it is not there, or the folder is the fault that is being reported
            temporary.unlink()

    try:  # from before the file is there: a signal may come at any time
        with before_death(remove):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.open("xb").close()
            except OSError as error:
                remedy = too_long(target) or "choose another output folder or change its permissions"
                raise UserError(f"cannot write {target}: {error.strerror}; {remedy}") from error
            with naming(target, temporary):
                yield temporary
            replace_file(temporary, target)
    finally:
        remove()


def check_replaceable(path: Path) -> bool:
    """Whether `path` exists. Raises UserError unless a file may be put there: a regular file or none is there now.

    The folder of `path` may be a link; `path` itself may not, because the link would be lost.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot write {path}: {reason}; choose another output") from error
    if stat.S_ISREG(mode):
        return True
    what = kind_of_mode(mode)
    raise UserError(f"cannot write {path}: it is {what}; give the name of a file")


def kind_of_mode(mode: int) -> str:
    """What a file of this `st_mode` is, in words."""
    kinds = (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "a device")


@contextmanager
def naming(target: Path, temporary: Path) -> Iterator[None]:
    """Turn an error of writing `temporary`, such as a full disk, into a UserError that names `target`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = system_error(error)
        own = isinstance(error, OSError) and error.filename in (None, str(temporary), temporary)
        if cause is None and not own:
            raise
        reason = getattr(cause or error, "strerror", None) or str(error)
        raise UserError(f"cannot write {target}: {reason}; free some space or choose another output") from error


def system_error(error: BaseException | None) -> OSError | None:
    """The full disk behind an exception: itself, or what it was raised for or after; None if there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def replace_file(
    new: Path,
    target: Path,
    replace: Callable[[Path, Path], object] = Path.replace,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Rename `new` to `target`, whatever is there.

    Windows refuses it while a program has `target` open: it is tried again for a second and a half, then UserError.
    """
    for wait_s in WAITS_S:
        try:
            replace(new, target)
            return
        except PermissionError as error:
            if not held_open(error):  # other systems replace open files
                raise
            wait(wait_s)
    try:
        replace(new, target)
    except PermissionError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror}; close the program that has it open, or choose another output"
        ) from error


def held_open(error: OSError) -> bool:
    """Whether Windows refused something because a program has the file, or a file in the folder, open."""
    return getattr(error, "winerror", None) in HELD_OPEN


def too_long(path: Path, windows: bool = WINDOWS) -> str | None:
    """What to do about a path that is too long for Windows, which says only that it does not exist; else None."""
    names = (path.name, temporary_name(path))
    if windows and max(len(os.path.abspath(path.with_name(name))) for name in names) > MAX_WINDOWS_PATH:
        return f"its path is longer than the {MAX_WINDOWS_PATH} characters that Windows allows: choose a shorter folder"
    return None


def flush_folder(folder: Path, windows: bool = WINDOWS) -> None:
    """Wait until the names in `folder` are on the disk: without it, a power cut could take a new name back."""
    if windows:  # it opens no folders, and NTFS writes names to its journal by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def output_folder(path: str | os.PathLike[str], remedy: str = "choose another folder") -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it replaces `path`, on any error it is removed.

    An earlier folder or file at `path` is deleted, but only once the new folder has its name. Whoever calls has to
    check that it may be replaced. Raises UserError as `OutputFolder`.
    """
    folder = OutputFolder(path, remedy)
    with folder.writing() as temporary:
        yield temporary
        folder.commit(temporary)


class OutputFolder:
    """The folder `path` (a link is followed), which appears whole or not at all.

        .NAME-unfinished/new     the temporary folder
        .NAME-unfinished/old     what was at `path` before, until it is deleted
        .NAME-unfinished/lock    locked while a process works there

    The work folder `.NAME-unfinished` is removed at the end. If a run was killed, the next one cleans up after it.
    `remedy` ends the message of errors of the system.
    """

    def __init__(self, path: str | os.PathLike[str], remedy: str = "choose another folder") -> None:
        self.path, self.remedy = Path(path).resolve(), remedy
        self.work = self.path.with_name(f".{self.path.name}-unfinished")
        self.old = self.work / "old"

    @contextmanager
    def writing(self, wait: bool = False) -> Iterator[Path]:
        """Give an empty temporary folder; at the end it is removed unless `commit` has renamed it.

        If another run is writing the same folder: UserError, or with `wait` this run starts after it. Raises UserError
        as well if the folder cannot be made or `.NAME-unfinished` is a folder of something else.
        """
        temporary = self.work / "new"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._lock(wait)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._clean()
            temporary.mkdir()
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            self._unlock(lock)

    def commit(self, temporary: Path) -> None:
        """Rename `temporary` to `path`. What was there steps aside first, and is discarded afterwards.

        Raises UserError if the system does not allow it; what was there then stays.
        """
        try:
            if self.path.exists():
                self.path.rename(self.old)
            temporary.rename(self.path)
        except OSError as error:
            if self.old.exists() and not self.path.exists():
                self.old.rename(self.path)
            raise self._unwritable(error) from error
        self.discard(self.old)

    def discard(self, old: Path) -> None:
        """Delete what was replaced, if there is anything."""
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> UserError:
        remedy = "close the program that has a file in it open" if held_open(error) else self.remedy
        return UserError(f"cannot write {self.path}: {error.strerror}; {remedy}")

    def _clean(self) -> None:
        """Remove what a killed run has left; an earlier folder that it had set aside gets its name back."""
        for path in self.work.iterdir():
            if path not in (self.old, self.work / LOCK):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.old.exists() and not self.path.exists():
            self.old.rename(self.path)
        self.discard(self.old)

    def _lock(self, wait: bool) -> int | None:
        """Make the work folder and lock it; returns the open file, or None where the disk has no locks."""
        try:
            return locks.acquire(self.work / LOCK, wait=wait, make_folder=self._make_work_folder)
        except locks.InUseError as error:
            raise UserError(f"{self.path} is in use by another run: wait, or choose another folder") from error
        except locks.NoLocksError:
            return None

    def _make_work_folder(self) -> None:
        self.work.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # the run before has just removed the folder
            names = [inside.name for inside in self.work.iterdir()]
            if names and LOCK not in names:
                raise UserError(f"{self.work} is needed for the work but holds something else: move it away")

    def _unlock(self, lock: int | None) -> None:
        """Free the lock and remove the work folder; both stay as a mark where `discard` has kept something."""
        with suppress(OSError):
            if [path.name for path in self.work.iterdir()] != [LOCK]:
                if lock is not None:
                    os.close(lock)
                return
        if lock is None:
            (self.work / LOCK).unlink(missing_ok=True)
        else:
            locks.release(self.work / LOCK, lock)
        with suppress(OSError):  # the next run has begun to work there
            self.work.rmdir()


def check_folder(folder: Path) -> None:
    """Raise UserError unless files can be written to `folder`, or to what is above it if it does not exist yet.

    Nothing is created to find out: another program may be about to write there, too. What killed programs of ours have
    left there half written is removed.
    """
    try:
        there = next(path for path in (folder, *folder.parents) if _is_there(path))
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with tempfile.TemporaryFile(dir=there):
            pass
        if there == folder:
            remove_leftovers(folder)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot write to {folder} ({reason}): choose another folder") from error


def _is_there(path: Path) -> bool:
    """Whether something of that name exists, a link to nothing too. Raises OSError for a name that cannot exist."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file with "\\n" at the end of lines on every system, completely or not at all.

    Raises UserError if the folder cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as a JSON file, with null for numbers that are not finite. Raises as `write_text`."""
    write_text(path, json.dumps(without_nan(value), indent=1, allow_nan=False) + "\n")


def without_nan(value: Any) -> Any:
    """`value` as JSON can store it: None for NaN and infinity, also inside dicts, lists and tuples."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
