"""A file over HTTP that survives cut connections: what has arrived is kept, and only the rest is asked for again.

    NAME.part        the bytes so far
    NAME.part.json   what they are part of: address, size, ETag and Last-Modified as the server gave them

A part is continued by a range request (RFC 9110, section 14) with If-Range. A server that has another file by then, or
that knows no ranges, sends the whole again, and the part starts over: two versions are never glued together. NAME
appears only when it is whole and its size and checksums are the expected ones.
"""

import errno
import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rmvpe.errors import UserError
from rmvpe.files import atomic_path

BLOCK_BYTES = 1 << 18
LONGEST_WAIT_S = 30.0
TRY_AGAIN = {408, 425, 429}  # with every 5xx: the server's state, not the request, is at fault
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DIGEST_LENGTHS = {"md5": 32, "sha256": 64}


@dataclass(frozen=True)
class Expected:
    """What a file must be: `size` in bytes, checksums in hexadecimal; None where nothing is known.

    Raises UserError for a checksum that cannot be one.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def __post_init__(self) -> None:
        for name, length in DIGEST_LENGTHS.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", value):
                raise UserError(f"{value!r} is no {name} checksum: give its {length} hexadecimal digits")


@dataclass(frozen=True)
class _Remote:
    """The file on the server, as its last answer described it."""

    url: str
    total: int | None
    etag: str | None
    modified: str | None

    def same(self, other: "_Remote") -> bool:
        """Whether both can be one file: nothing that both sides know differs."""
        pairs = [(self.total, other.total), (self.etag, other.etag), (self.modified, other.modified)]
        return self.url == other.url and not any(a is not None and b is not None and a != b for a, b in pairs)

    def validator(self) -> str | None:
        """The value for If-Range: a strong ETag, else the date, else nothing."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _Cut(Exception):
    """This attempt ended early; another may go on."""


def download(
    url: str,
    target: str | Path,
    expected: Expected = Expected(),
    *,
    attempts: int = 6,
    wait_s: float = 1.0,
    timeout_s: float = 60.0,
    progress: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Fetch `url` (http or https) to `target` and return its path; a file that is there already is only checked.

    `attempts` counts tries in a row without a new byte, with pauses of `wait_s`, 2 `wait_s`, ... seconds between them;
    `timeout_s` bounds the silence of the server. `tell` gets one sentence for each cut or fresh start. Raises UserError
    if the server refuses or stays out of reach, the disk is full, or size or checksum differ; the part is kept.
    """
    target, tell = Path(target), tell or (lambda _: None)
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", url):
        raise UserError(f"{url} is no http:// or https:// address")
    if target.exists():
        check(target, expected, mend="move it away, or correct what is expected")
        tell(f"{target} is there already")
        return target
    _make_folder(target.parent)
    part = _Part(target, url)
    _fetch(part, attempts, wait_s, timeout_s, progress, tell)
    check(part.path, expected, mend="correct what is expected, or delete the file and download it again")
    part.finish(target)
    return target


def check(path: str | Path, expected: Expected, mend: str = "get the file again") -> None:
    """Compare `path` with `expected`, size first. Raises UserError with the expected and the actual value."""
    path = Path(path)
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        raise UserError(f"{path} has {size} bytes, expected {expected.size}: {mend}")
    wanted = {name: getattr(expected, name).lower() for name in DIGEST_LENGTHS if getattr(expected, name)}
    found = digests(path) if wanted else {}
    for name, value in wanted.items():
        if found[name] != value:
            raise UserError(f"{path} has the {name} {found[name]}, expected {value}: {mend}")


def digests(path: str | Path) -> dict[str, str]:
    """The checksums of a file, {"md5": hex, "sha256": hex}, in one reading."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in DIGEST_LENGTHS}
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            for value in hashes.values():
                value.update(block)
    return {name: value.hexdigest() for name, value in hashes.items()}


class _Part:
    """The unfinished file beside its target, and the note of what it is part of."""

    def __init__(self, target: Path, url: str) -> None:
        self.url = url
        self.path = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")
        self.remote = self._read_note()

    @property
    def size(self) -> int:
        """Bytes that can be continued; 0 where nothing says what they are part of."""
        return self.path.stat().st_size if self.remote and self.path.is_file() else 0

    @property
    def complete(self) -> bool:
        return self.remote is not None and self.remote.total is not None and self.size == self.remote.total

    def start(self, remote: _Remote) -> None:
        """Begin anew with the file `remote`. The note is written after the old bytes are gone."""
        self.path.write_bytes(b"")
        with atomic_path(self.note) as path:
            path.write_text(json.dumps(asdict(remote)), encoding="utf-8")
        self.remote = remote

    def forget(self) -> None:
        """Drop the note, so that the next attempt asks for the whole file."""
        self.note.unlink(missing_ok=True)
        self.remote = None

    def finish(self, target: Path) -> None:
        self.path.replace(target)
        self.note.unlink(missing_ok=True)

    def _read_note(self) -> _Remote | None:
        try:
            remote = _Remote(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None  # without a readable note the bytes are of unknown origin, and the download starts over
        return remote if remote.url == self.url else None


def _fetch(
    part: _Part, attempts: int, wait_s: float, timeout_s: float, progress: bool, tell: Callable[[str], None]
) -> None:
    from tqdm import tqdm

    failures, most = 0, part.size
    name = part.path.name.removesuffix(".part")
    with tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=None if progress else True) as bar:
        while not part.complete:
            try:
                _attempt(part, timeout_s, bar, tell)
                return
            except (_Cut, OSError, http.client.HTTPException) as error:
                # What counts is a byte beyond any earlier attempt: a server without ranges that always cuts at
                # the same place must come to an end.
                failures = 0 if part.size > most else failures + 1
                most = max(most, part.size)
                reason = _reason(error)
                if failures >= attempts:
                    raise UserError(
                        f"{part.url} could not be downloaded ({reason}, {failures} times in a row): try again later, "
                        f"{part.size} bytes are kept in {part.path}"
                    ) from error
            tell(f"{name}: {reason} at {part.size} bytes, trying again")
            time.sleep(min(wait_s * 2 ** max(failures - 1, 0), LONGEST_WAIT_S))


def _attempt(part: _Part, timeout_s: float, bar: Any, tell: Callable[[str], None]) -> None:
    """One request; returns when the part is whole. Raises _Cut or what the connection raises."""
    offset = part.size
    request = urllib.request.Request(part.url, headers=_headers(part, offset))
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and offset:
            part.forget()
            raise _Cut("the server does not have the rest of this file") from error
        if error.code in TRY_AGAIN or error.code >= 500:
            raise _Cut(f"answer {error.code}, {error.reason}") from error
        raise UserError(f"{part.url} answers {error.code}, {error.reason}: check the address") from error
    except http.client.InvalidURL as error:
        raise UserError(f"{part.url} is no usable address ({error}): check it") from error
    with response:
        remote, start = _described(part.url, response)
        if start and (start != offset or part.remote is None or not part.remote.same(remote)):
            part.forget()
            raise _Cut("the file on the server has changed")
        if not start:
            if offset:
                tell(f"{part.path.name}: the server sends the whole file again")
            _tried(part.path, lambda: part.start(remote))
        _check_space(part, remote.total)
        bar.total, bar.n = remote.total, start
        bar.refresh()
        _copy(response, part, bar)
    if remote.total is not None and part.size != remote.total:
        raise _Cut("connection cut")


def _headers(part: _Part, offset: int) -> dict[str, str]:
    # identity: a compressed answer would have other bytes than the size and the ranges speak of
    headers = {"User-Agent": "rmvpe", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        validator = part.remote.validator() if part.remote else None
        if validator:
            headers["If-Range"] = validator
    return headers


def _described(url: str, response: Any) -> tuple[_Remote, int]:
    """The file that an answer belongs to, and the byte at which the answer starts."""
    headers = response.headers
    length = headers.get("Content-Length")
    total, start = (int(length) if length and length.isdigit() else None), 0
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", (headers.get("Content-Range") or "").strip())
        if match is None:
            raise _Cut(f"answer 206 without a usable Content-Range ({headers.get('Content-Range')})")
        start = int(match[1])
        total = None if match[3] == "*" else int(match[3])
    return _Remote(url, total, headers.get("ETag"), headers.get("Last-Modified")), start


def _copy(response: Any, part: _Part, bar: Any) -> None:
    with open(part.path, "ab") as file:
        while block := response.read(BLOCK_BYTES):
            _tried(part.path, lambda: _write(file, block))
            bar.update(len(block))


def _write(file: BinaryIO, block: bytes) -> None:
    # Flushed block by block: a full disk is met here, and a kill loses no more than the block on its way
    file.write(block)
    file.flush()


def _tried(path: Path, write: Callable[[], object]) -> None:
    """Run `write`; a failing disk is the user's matter and, unlike a failing connection, not tried again."""
    try:
        write()
    except OSError as error:
        full = error.errno in DISK_FULL
        hint = "free some space and run again, what has arrived is kept" if full else "check the folder's permissions"
        raise UserError(f"cannot write {path} ({error.strerror}): {hint}") from error


def _check_space(part: _Part, total: int | None) -> None:
    free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - part.size > free:
        raise UserError(
            f"{part.path.parent} has {free / 1e6:.0f} MB free, {part.path.name} needs "
            f"{(total - part.size) / 1e6:.0f} MB more: free some space or choose another folder"
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder} ({error.strerror}): choose another") from error


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return f"no connection, {error.reason}"
    if isinstance(error, TimeoutError):
        return "the server went silent"
    if isinstance(error, http.client.IncompleteRead | ConnectionError):
        return "connection cut"
    return str(error) or type(error).__name__
