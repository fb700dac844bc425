"""The published weights by name: `fetch` brings "rvc" and "yxlllc" into a folder of this user, `fetched` finds them.

    <home>/weights/rvc-6d62215f.pt           the weights; the digits are the first of their SHA-256
    <home>/weights/rvc-6d62215f.pt.rejected  what came instead, with another SHA-256
    <home>/weights/rvc.lock                  while a fetch is at work

They are never part of rmvpe, because their licences do not say clearly that they may be.
"""

import hashlib
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from rmvpe import locks
from rmvpe.errors import UserError
from rmvpe.files import atomic_path, check_folder, replace_file
from rmvpe.reading import check_regular, reading

HOME, ENDPOINT = "RMVPE_HOME", "HF_ENDPOINT"
HUB = "https://huggingface.co"
BLOCK_BYTES = 1 << 20
GET_AGAIN = "get the file again"
BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)  # RuntimeError: encrypted

# Files by their SHA-256. A file name does not identify the weights: there are two incompatible rmvpe.pt.
KNOWN_FILES = {
    "6d62215f4306e3ca278246188607209f09af3dc77ed4232efdd069798c4ec193": "RVC's rmvpe.pt of 2023-10-06 "
    "(lj1995/VoiceConversionWebUI)",
    "a5ed4719f59085d1affc5d81354c70828c740584f2d24e782523345a6a278962": "RVC's first rmvpe.pt of 2023-07-11, older "
    "weights (lj1995/VoiceConversionWebUI)",
    "19dc1809cf4cdb0a18db93441816bc327e14e5644b72eeaae5220560c6736fe2": "model.pt of yxlllc's release 230917",
    "1d49bd662038808878c9d7420e0f583f506fe69086cc384f0da88f0b3a4e1115": "so-vits-svc's rmvpe.pt of 2023-07-10, which "
    "its own project has withdrawn",
}


@dataclass(frozen=True)
class Published:
    """Weights that somebody has published: a file of `size` bytes, or the only file `member` of a zip there.

    `path` is the address, below the hub's if `on_hub`. `licence`: what is known about it, in sentences.
    """

    sha256: str
    size: int
    path: str
    licence: str
    on_hub: bool = False
    member: str | None = None

    def address(self, environment: Mapping[str, str] = os.environ) -> str:
        """Where it is fetched from; HF_ENDPOINT replaces the hub's address, as in the hub's own programs."""
        if not self.on_hub:
            return self.path
        return f"{(environment.get(ENDPOINT) or HUB).rstrip('/')}/{self.path}"


NO_PAPER = "The authors of RMVPE's paper released no weights; their code is Apache-2.0."
PUBLISHED = {
    "rvc": Published(
        "6d62215f4306e3ca278246188607209f09af3dc77ed4232efdd069798c4ec193",
        181_184_272,
        "lj1995/VoiceConversionWebUI/resolve/main/rmvpe.pt",
        "The repository lj1995/VoiceConversionWebUI, which holds this file among others, is tagged MIT. Which "
        f"recordings the weights were trained on is not stated there. {NO_PAPER}",
        on_hub=True,
    ),
    "yxlllc": Published(
        "19dc1809cf4cdb0a18db93441816bc327e14e5644b72eeaae5220560c6736fe2",
        368_492_925,
        "https://github.com/yxlllc/RMVPE/releases/download/230917/rmvpe.zip",
        "The repository yxlllc/RMVPE states no licence, for its code or for these weights: nothing says what you may "
        f"do with them, so ask its author before you publish or sell what contains them. {NO_PAPER}",
        member="model.pt",
    ),
}


def cache_folder(
    environment: Mapping[str, str] = os.environ, platform: str = sys.platform, home: Callable[[], Path] = Path.home
) -> Path:
    """The folder that keeps what rmvpe has fetched: RMVPE_HOME, else "rmvpe" in the system's folder for such files.

    That is XDG_CACHE_HOME or ~/.cache, ~/Library/Caches on macOS, and LOCALAPPDATA on Windows. It need not exist.
    Raises UserError if none of them is known.
    """
    if given := environment.get(HOME):
        return Path(os.path.abspath(os.path.expanduser(given)))
    if platform == "win32" and environment.get("LOCALAPPDATA"):
        return Path(environment["LOCALAPPDATA"]) / "rmvpe"
    xdg = environment.get("XDG_CACHE_HOME", "")
    if platform not in ("win32", "darwin") and os.path.isabs(xdg):  # its standard ignores relative ones
        return Path(xdg) / "rmvpe"
    below = {"win32": ("AppData", "Local"), "darwin": ("Library", "Caches")}.get(platform, (".cache",))
    try:
        return home().joinpath(*below, "rmvpe")
    except RuntimeError as error:
        raise UserError(f"this account has no home folder: set {HOME} to a folder that keeps weights") from error


def place_of(name: str, folder: Path | None = None) -> Path:
    """Where the weights `name` are, or will be, once fetched: in `folder`, by default that of `cache_folder`."""
    return (folder or cache_folder() / "weights") / f"{name}-{PUBLISHED[name].sha256[:8]}.pt"


def fetched(name: str, folder: Path | None = None) -> Path:
    """The file of the published weights `name`, its checksum verified.

    Raises UserError with the command to run if they are not fetched yet, or are damaged.
    """
    path = place_of(name, folder)
    if not path.is_file():
        # A file of the same name may be what was meant: names come first
        other = f", or give ./{name} for the file of that name here" if os.path.lexists(name) else ""
        raise UserError(f"the weights {name!r} are not on this machine yet: run `rmvpe fetch {name}`{other}")
    with reading(path, f"run `rmvpe fetch {name}` again"), path.open("rb") as file:
        found, _ = copied(file)
    if found != PUBLISHED[name].sha256:
        raise UserError(
            f"{path} is damaged: its sha256 is {found}, expected {PUBLISHED[name].sha256}; run `rmvpe fetch {name}` "
            "again"
        )
    return path


def fetch(
    name: str,
    *,
    source: str | os.PathLike[str] | None = None,
    url: str | None = None,
    folder: Path | None = None,
    progress: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Path:
    """Bring the published weights `name` to their place (`place_of`), check them, and return it.

    A file that is there already is verified. source: a file that was brought here by other means; it is copied and
    stays. url: another address of the same file. A download continues where an earlier one was cut; a second fetch at
    the same time waits for the first. `log` gets a sentence for each event. Raises UserError for a name that is not in
    `PUBLISHED`, if the file cannot be had, or if it is another one: what was downloaded is then kept as NAME.rejected.
    """
    if name not in PUBLISHED:
        raise UserError(f"there are no published weights {name!r}: choose {' or '.join(PUBLISHED)}")
    item, target = PUBLISHED[name], place_of(name, folder)
    check_folder(target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(target.parent / f"{name}.lock", log):
        if target.exists():
            _check_present(target, item, name)
            log(f"{target} is there already, and its checksum is right")
        elif source is not None:
            _take(Path(source), target, item)
        else:
            _download(url or item.address(), target, item, progress, log)
    return target


@contextmanager
def one_at_a_time(path: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock `path`; if another program holds it, say so and wait. Without a lock where the disk has none."""
    handle: int | None = None
    try:
        try:
            handle = locks.acquire(path)
        except locks.InUseError:
            log(f"another fetch is at work in {path.parent}: waiting for it")
            handle = locks.acquire(path, wait=True)
    except locks.NoLocksError:
        log(f"{path.parent} is on a disk without locks: start no second fetch there")
    try:
        yield
    finally:
        if handle is not None:
            locks.release(path, handle)


def copied(source: IO[bytes], target: IO[bytes] | None = None) -> tuple[str, int]:
    """The SHA-256 and the size of what was read from `source`, and written to `target` if it is given."""
    digest, size = hashlib.sha256(), 0
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
        if target is not None:
            target.write(block)
    return digest.hexdigest(), size


class _OtherFile(Exception):
    """What was brought is not the published file; the message says how it differs, with both values."""


def _check_present(target: Path, item: Published, name: str) -> None:
    with reading(target, "move it away"):
        check_regular(target, "move it away")
        with target.open("rb") as file:
            found, size = copied(file)
    try:
        _compare(found, size, item)
    except _OtherFile as fault:
        _reject(target, target, str(fault), f"run `rmvpe fetch {name}` again")


def _take(source: Path, target: Path, item: Published) -> None:
    """Copy the user's own file, or what the zip of the release holds, to `target`."""
    if not source.exists():
        raise UserError(f"{source} does not exist: give the file that you have brought to this machine")
    with reading(source, "give another file"):
        check_regular(source, "give another file")
        zipped = _is_release(source, item)
    try:
        if zipped:
            _unpack(source, target, item)
            return
        with reading(source, "give another file"), source.open("rb") as file:
            found, size = copied(file)
        _compare(found, size, item)  # before a copy of who knows what fills the disk
        with atomic_path(target) as temporary:
            with source.open("rb") as file, temporary.open("wb") as copy:
                found, size = copied(file, copy)
            _compare(found, size, item)
    except _OtherFile as fault:
        raise UserError(f"{source} is not the published file: {fault}; {GET_AGAIN}") from fault


def _download(url: str, target: Path, item: Published, progress: bool, log: Callable[[str], None]) -> None:
    """Fetch to a file beside `target`, check it, and give it its name; of a zip, what it holds."""
    from rmvpe.download import download  # what it imports takes a tenth of a second, and only a fetch needs it

    ending = "zip" if item.member else "download"
    got = download(url, target.with_name(f"{target.name}.{ending}"), progress=progress, log=log)
    try:
        if item.member:
            _unpack(got, target, item)
            got.unlink()
        else:
            with got.open("rb") as file:
                found, size = copied(file)
            _compare(found, size, item)
            replace_file(got, target)
    except _OtherFile as fault:
        _reject(got, target, str(fault), "try again later, or give a file of your own with --from")


def _reject(path: Path, target: Path, why: str, remedy: str) -> None:
    rejected = target.with_name(f"{target.name}.rejected")
    replace_file(path, rejected)
    raise UserError(f"{target.name} is not the published file: {why}; what came is kept as {rejected}, {remedy}")


def _compare(found: str, size: int, item: Published) -> None:
    """Raise _OtherFile, with both checksums and sizes, unless a file of this checksum is the published one."""
    if found != item.sha256:
        known = f", that of {KNOWN_FILES[found]}" if found in KNOWN_FILES else ""
        raise _OtherFile(f"its sha256 is {found}{known}, expected {item.sha256} ({size} bytes, expected {item.size})")


def _is_release(path: Path, item: Published) -> bool:
    """Whether `path` is the zip that `item` is published in; torch's own files are zips as well."""
    if item.member is None or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return bool(_members(archive, item.member))


def _members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The files called `name`, in whatever folder: none of the names inside is used as a path."""
    return [info for info in archive.infolist() if PurePosixPath(info.filename.replace("\\", "/")).name == name]


def _unpack(path: Path, target: Path, item: Published) -> None:
    """Write the one file that is wanted of a zip to `target`. Raises _OtherFile."""
    name = item.member or ""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, name)
            if len(members) != 1:
                raise _OtherFile(f"the zip holds {len(members)} files {name}, expected one")
            if members[0].file_size != item.size:  # zipfile reads no byte more than this
                raise _OtherFile(f"{name} in the zip has {members[0].file_size} bytes, expected {item.size}")
            with atomic_path(target) as temporary:
                with archive.open(members[0]) as inside, temporary.open("wb") as copy:
                    found, size = copied(inside, copy)
                _compare(found, size, item)
    except BAD_ZIP as error:
        raise _OtherFile(f"the zip cannot be read ({error})") from error
