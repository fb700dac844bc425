"""The files of an archive by their path inside it: of a folder, a .zip, or a .rar if a program that reads it is found.

A zip is read in place: nothing is unpacked, so no member can be written outside a folder. A .rar is unpacked into a
temporary folder by bsdtar, unar or 7z.
"""

import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rmvpe.errors import UserError

# Far above any recording in such sets: a member of a zip that claims more is not read into memory
LARGEST_MEMBER_BYTES = 256_000_000
UNPACKERS = (  # program, arguments before the archive, option for the folder (7z wants it joined)
    ("bsdtar", ["-x", "-f"], "-C"),
    ("unar", ["-quiet", "-force-overwrite", "-no-directory"], "-output-directory"),
    ("7z", ["x", "-y", "-bd"], "-o"),
    ("7zz", ["x", "-y", "-bd"], "-o"),
)


class MemberFault(Exception):
    """One file of an archive cannot be read; the message names it and says why."""


class Members(Protocol):
    """The files of an archive or folder by their path inside it, with forward slashes."""

    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes: ...  # raises MemberFault


class FolderMembers:
    """An unpacked MIR-1K; `root` may be MIR-1K itself or up to two folders above it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        found = (
            path.relative_to(self.root).as_posix()
            for depth in ("", "*/", "*/*/")
            for folder in ("Wavfile", "PitchLabel")
            for path in self.root.glob(f"{depth}{folder}/*")
        )
        return sorted(found)

    def read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise MemberFault(f"{name}: cannot be read ({error.strerror})") from error


class ZipMembers:
    """A zip file, read in place; several threads may read at once."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file
        self.infos = {info.filename.replace("\\", "/"): info for info in file.infolist() if not info.is_dir()}

    def names(self) -> list[str]:
        return sorted(self.infos)

    def read(self, name: str) -> bytes:
        size = self.infos[name].file_size
        if size > LARGEST_MEMBER_BYTES:
            raise MemberFault(f"{name}: {size / 1e6:.0f} MB is too large for a recording")
        try:
            return self.file.read(self.infos[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise MemberFault(f"{name}: cannot be read from the archive ({error})") from error


@contextmanager
def open_archive(path: Path, scratch: Path) -> Iterator[Members]:
    """The members of a folder, .zip or .rar, recognised by content; a .rar is unpacked into a folder in `scratch`.

    Raises UserError for anything else, a damaged archive, or a .rar that no installed program can unpack.
    """
    if path.is_dir():
        yield FolderMembers(path)
        return
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"Rar!\x1a\x07"):
        with tempfile.TemporaryDirectory(prefix=".MIR-1K-unpacked-", dir=scratch) as folder:
            _unpack(path, Path(folder))
            yield FolderMembers(Path(folder))
    elif head.startswith(b"PK"):
        try:
            file_ = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UserError(f"{path} is a damaged or unfinished zip ({error}): get it again") from error
        with file_:
            yield ZipMembers(file_)
    else:
        raise UserError(f"{path} is neither a zip nor a rar archive (it begins with {head!r}): give MIR-1K's archive")


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a rar with the first program of UNPACKERS that is installed. Raises UserError if none is, or it fails."""
    for unpacker in UNPACKERS:
        if shutil.which(unpacker[0]) is not None:
            run_unpacker(unpacker, path, folder)
            return
    raise UserError(
        f"{path} is a rar archive, which needs bsdtar, unar or 7z, and none is installed: install one, or unpack it "
        "elsewhere and give the folder"
    )


def run_unpacker(unpacker: tuple[str, list[str], str], path: Path, folder: Path) -> None:
    """Unpack `path` into `folder`, which exists, by one of UNPACKERS. Raises UserError if the program fails."""
    program, before, option = unpacker
    target = [f"{option}{folder}"] if option == "-o" else [option, str(folder)]
    command = [shutil.which(program) or program, *before, str(path.absolute()), *target]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()[-200:]
        raise UserError(f"{program} could not unpack {path} ({reason or done.returncode}): get the archive again")
