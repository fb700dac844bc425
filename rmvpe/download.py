"""A file over HTTP. After a cut connection or a killed run, only the missing part is fetched.

    NAME.part        the bytes so far
    NAME.part.json   what they are part of: address, size, ETag and Last-Modified, as the server gave them

A part is continued by a range request (RFC 9110, section 14, https://www.rfc-editor.org/rfc/rfc9110) with If-Range. If
the server has another file by then, or sends no ranges, the download starts over: two versions are never joined. NAME
appears when it is complete and its size and checksums are as expected.
"""

import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from rmvpe.errors import DISK_FULL, UserError
from rmvpe.files import replace_file, write_text
from rmvpe.reading import read_json

BLOCK_BYTES = 1 << 18
LONGEST_WAIT_S = 30.0
TRY_AGAIN = {408, 425, 429}  # and every 5xx: the server is busy, the request is not wrong
DIGEST_LENGTHS = {"md5": 32, "sha256": 64}


@dataclass(frozen=True)
class Expected:
    """What a file must be: `size` in bytes, checksums in hexadecimal; None where nothing is known.

    Raises UserError for a text that is no checksum.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def __post_init__(self) -> None:
        for name, length in DIGEST_LENGTHS.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", value):
                raise UserError(f"{value!r} is no {name} checksum: give its {length} hexadecimal digits")


class Interrupted(OSError):
    """A request ended before the file was complete; another may go on."""


def download(
    url: str,
    target: str | Path,
    expected: Expected = Expected(),
    *,
    attempts: int = 6,
    wait_s: float = 1.0,
    timeout_s: float = 60.0,
    progress: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Path:
    """Fetch `url` (http or https) to `target` and return its path; a file that is there already is only checked.

    `attempts`: how many requests in a row may bring no new byte, with pauses of `wait_s`, 2 `wait_s`, ... seconds, at
    most 30, between them. `timeout_s`: how long the server may send nothing. `log` gets a sentence for each
    interruption. Raises UserError if the server refuses or cannot be reached, the disk is full, or size or checksum
    differ; what has arrived is kept.
    """
    from tqdm import tqdm

    target = Path(target)
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", url):
        raise UserError(f"{url} is no http:// or https:// address")
    if target.exists():
        check(target, expected, remedy="move it away, or correct what is expected")
        log(f"{target} exists already")
        return target
    part = _Part(target, url)
    failures, most = 0, part.size
    with tqdm(desc=target.name, unit="B", unit_scale=True, disable=None if progress else True) as bar:
        while not part.complete:
            try:
                _request(part, timeout_s, bar)
                break
            except (OSError, http.client.HTTPException) as error:
                # A server without ranges that always cuts at the same place brings nothing new either
                failures, most = (0, part.size) if part.size > most else (failures + 1, most)
                reason = _reason(error)
                if failures >= attempts:
                    raise UserError(
                        f"{url} could not be downloaded ({reason}, {failures} times in a row): try again later, "
                        f"{part.size} bytes are kept in {part.path}"
                    ) from error
            log(f"{target.name}: {reason} at {part.size} bytes, trying again")
            time.sleep(min(wait_s * 2 ** max(failures - 1, 0), LONGEST_WAIT_S))
    check(part.path, expected, remedy="correct what is expected, or delete the file and download it again")
    replace_file(part.path, target)
    part.note.unlink(missing_ok=True)
    return target


def check(path: str | Path, expected: Expected, remedy: str = "get the file again") -> None:
    """Compare `path` with `expected`, size first. Raises UserError with the expected and the actual value."""
    path = Path(path)
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        raise UserError(f"{path} has {size} bytes, expected {expected.size}: {remedy}")
    wanted = {name: getattr(expected, name).lower() for name in DIGEST_LENGTHS if getattr(expected, name)}
    found = digests(path) if wanted else {}
    for name, value in wanted.items():
        if found[name] != value:
            raise UserError(f"{path} has the {name} {found[name]}, expected {value}: {remedy}")


def digests(path: str | Path) -> dict[str, str]:
    """The checksums of a file, {"md5": hex, "sha256": hex}; the file is read once."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in DIGEST_LENGTHS}
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            for value in hashes.values():
                value.update(block)
    return {name: value.hexdigest() for name, value in hashes.items()}


@dataclass(frozen=True)
class _Remote:
    """The file on the server, as an answer described it."""

    url: str
    total: int | None
    etag: str | None
    modified: str | None

    @property
    def validator(self) -> str | None:
        """The value for If-Range: a strong ETag, or else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _Part:
    """The unfinished file beside its target, and the note of what it is part of."""

    def __init__(self, target: Path, url: str) -> None:
        self.url = url
        self.path = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")
        self.remote: _Remote | None = None
        try:
            remote = _Remote(**read_json(self.note, "delete it"))
            self.remote = remote if remote.url == url else None
        except (OSError, ValueError, TypeError):
            pass  # nobody knows what the bytes are part of: the download starts over

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.remote and self.path.is_file() else 0

    @property
    def complete(self) -> bool:
        return self.remote is not None and self.remote.total is not None and self.size == self.remote.total

    def start(self, remote: _Remote) -> None:
        """Begin anew with the file `remote`; the note is written after the old bytes are gone."""
        with self._writing():
            self.forget()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(b"")
            write_text(self.note, json.dumps(asdict(remote)))
        self.remote = remote

    def append(self, block: bytes) -> None:
        with self._writing(), self.path.open("ab", buffering=0) as file:
            while block:  # an unbuffered file may take only the start of it
                block = block[file.write(block) :]

    def forget(self) -> None:
        """Drop the note: the next request asks for the whole file."""
        self.note.unlink(missing_ok=True)
        self.remote = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A disk that fails is reported at once; a connection that fails is tried again."""
        try:
            yield
        except OSError as error:
            full = error.errno in DISK_FULL
            remedy = "free some space and run again, what has arrived is kept" if full else "choose another folder"
            raise UserError(f"cannot write {self.path} ({error.strerror}): {remedy}") from error


def _request(part: _Part, timeout_s: float, bar: Any) -> None:
    """Fetch the rest of the file, or all of it; returns when the part is complete. Raises OSError or HTTPException."""
    # identity: sizes and ranges are those of the file, not of a compressed answer
    headers, offset = {"User-Agent": "rmvpe", "Accept-Encoding": "identity"}, part.size
    if offset and part.remote and part.remote.validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": part.remote.validator}
    try:
        response = urllib.request.urlopen(urllib.request.Request(part.url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.forget()
            raise Interrupted("the server does not have the rest of this file") from error
        if error.code in TRY_AGAIN or error.code >= 500:
            raise Interrupted(f"answer {error.code}, {error.reason}") from error
        raise UserError(f"{part.url} answers {error.code}, {error.reason}: check the address") from error
    except http.client.InvalidURL as error:
        raise UserError(f"{part.url} is no usable address ({error}): check it") from error
    with response:
        if response.status != 206:
            length, etag, modified = (response.headers[name] for name in ("Content-Length", "ETag", "Last-Modified"))
            part.start(_Remote(part.url, int(length) if length and length.isdigit() else None, etag, modified))
        elif not _continues(part, response.headers, offset):
            part.forget()
            raise Interrupted("the file on the server has changed")
        bar.total, bar.n = part.remote and part.remote.total, part.size
        while block := response.read1(BLOCK_BYTES):  # what has come, without waiting for more
            part.append(block)
            bar.update(len(block))
    if part.remote and part.remote.total is not None and not part.complete:
        raise Interrupted("connection cut")


def _continues(part: _Part, headers: Message, offset: int) -> bool:
    """Whether an answer 206 continues the part: from byte `offset` on, and nothing says that the file is another."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", (headers["Content-Range"] or "").strip())
    if match is None or part.remote is None or (int(match[1]), int(match[2])) != (offset, part.remote.total):
        return False
    pairs = ((part.remote.etag, headers["ETag"]), (part.remote.modified, headers["Last-Modified"]))
    return all(before is None or now is None or before == now for before, now in pairs)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return f"no connection, {error.reason}"
    if isinstance(error, TimeoutError):
        return "the server sends nothing"
    return "connection cut" if isinstance(error, http.client.HTTPException | ConnectionError) else str(error)
