"""Names of temporary files that say who writes them, so that what a killed program has left can be removed.

    .song-rmvpe-3f9a01c2-4711-9be41f.csv      stem, mark, machine, process, random number, suffix

A process that is killed with SIGKILL, or loses power, cannot remove its own. Whoever works in the folder next does
(`remove_leftovers`), but only files of this machine whose process is gone: another program that writes into the same
folder at the same time, on this machine or on another one that shares the disk, keeps its files.
"""

import hashlib
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

MARK = "rmvpe"
STEM_CHARACTERS = 20  # of the stem: four bytes each at most, so that the name fits wherever a name may have 143 bytes
SUFFIX_BYTES = 16  # a longer "suffix" names no format
PATTERN = re.compile(rf"\..*-{MARK}-(?P<machine>[0-9a-f]{{8}})-(?P<process>[0-9]+)-[0-9a-f]{{6}}(\..*)?", re.DOTALL)
STILL_ACTIVE, QUERY = 259, 0x1000  # Windows: GetExitCodeProcess of a running process; limited information


def temporary_name(target: Path) -> str:
    """A name for a temporary file beside `target`, of its suffix, for this process alone."""
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= SUFFIX_BYTES else ""
    stem = target.stem[:STEM_CHARACTERS]
    return f".{stem}-{MARK}-{machine()}-{os.getpid()}-{os.urandom(3).hex()}{suffix}"


def machine() -> str:
    """Eight hexadecimal digits for where a process number means the same: the host, and its container if any."""
    with suppress(OSError):  # not on Linux, or no /proc
        space = os.stat("/proc/self/ns/pid").st_ino
        return _digest(f"{platform.node()} {space}")
    return _digest(platform.node())


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in `folder` whose process is gone; what cannot be removed stays.

    Raises OSError if the folder cannot be listed.
    """
    here = machine()
    with os.scandir(folder) as entries:
        found = [(entry.path, match) for entry in entries if (match := PATTERN.fullmatch(entry.name))]
    for path, match in found:
        if match["machine"] == here and not is_running(int(match["process"])):
            with suppress(OSError):  # another program has removed it, or it is somebody else's
                os.unlink(path)


def is_running(process: int) -> bool:
    """Whether this machine has a process of this number; True where that cannot be found out."""
    if os.name == "nt":
        return _is_running_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it runs as another user; no number of a process
        return True
    return True


def _is_running_windows(process: int) -> bool:
    """As `is_running`; os.kill would end the process there."""
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(QUERY, False, process)
    if not handle:
        return ctypes.get_last_error() != 87  # type: ignore[attr-defined, unused-ignore]  # ERROR_INVALID_PARAMETER
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return not known or code.value == STILL_ACTIVE


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
