"""Weights on the Hugging Face hub by address: "hf:OWNER/REPO[/FILE][@REVISION]", safetensors files only.

The package huggingface_hub downloads them into its own cache (HF_HOME) and knows the user's token, HF_ENDPOINT and
HF_HUB_OFFLINE. A file that is in its cache is found without a network too.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmvpe.errors import DISK_FULL, UserError
from rmvpe.reading import first_line

PREFIX = "hf:"
SUFFIX = ".safetensors"
DEFAULT_FILES = ("model.safetensors", "best.safetensors")  # usual on the hub; what training writes
FORM = "hf:OWNER/REPO, hf:OWNER/REPO/FILE.safetensors, or either with @REVISION at its end"
TIMEOUT_S = 20.0
INSTALL = "pip install huggingface_hub"


@dataclass(frozen=True)
class Address:
    """A file of a repository "OWNER/REPO". file: None for the default one; revision: None for the newest."""

    text: str
    repository: str
    file: str | None
    revision: str | None


def parse_address(text: str) -> Address:
    """The parts of "hf:OWNER/REPO[/FILE][@REVISION]". Raises UserError for another form or no safetensors file."""
    rest, _, revision = text.removeprefix(PREFIX).partition("@")
    parts = rest.split("/")
    word = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
    if len(parts) < 2 or not all(word.fullmatch(part) for part in parts[:2]) or ("@" in text and not revision):
        raise UserError(f"{text} is no address of weights on the hub: give {FORM}")
    file = "/".join(parts[2:]) or None
    if any(part in ("", ".", "..") for part in parts[2:]):
        raise UserError(f"{text} is no address of weights on the hub: give {FORM}")
    if file is not None and not file.endswith(SUFFIX):
        raise UserError(
            f"{text} is not a .safetensors file, and no other kind is loaded from the hub, because it may contain "
            "code: download it yourself and give its path, or choose another file"
        )
    return Address(text, "/".join(parts[:2]), file, revision or None)


def fetched_from_hub(text: str) -> Path:
    """The file at the address `text`, downloaded or in the package's cache.

    Raises UserError if huggingface_hub is not installed, if the hub does not give the file, or if it is no safetensors
    file.
    """
    address = parse_address(text)
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(f"{text} needs the package huggingface_hub: run {INSTALL}") from error
    file = address.file or default_file(files_of(address), text)
    with _asking(address):
        path = Path(huggingface_hub.hf_hub_download(address.repository, file, revision=address.revision, **_options()))
    with path.open("rb") as opened:
        head = opened.read(9)
    if head[8:9] != b"{":  # the header begins there; a file that is only called so may contain anything
        raise UserError(f"{text}: {file} is named .safetensors but is another kind of file: choose another file")
    return path


def default_file(files: Iterable[str], text: str) -> str:
    """Which of a repository's files holds the weights: one of `DEFAULT_FILES`, else the only safetensors file.

    Raises UserError, with the address `text`, if there is none, or several.
    """
    there = [file for file in files if file.endswith(SUFFIX)]
    found = next((file for file in DEFAULT_FILES if file in there), None)
    if found is None and len(there) == 1:
        return there[0]
    if found is None and there:
        raise UserError(
            f"{text} has several files of weights, {', '.join(sorted(there)[:8])}: add /FILE to the address"
        )
    if found is None:
        raise UserError(
            f"{text} has no .safetensors file, and no other kind is loaded from the hub: give another address"
        )
    return found


def files_of(address: Address) -> list[str]:
    """The names of the repository's files; where the hub cannot be reached, of those in the cache. Raises UserError."""
    import huggingface_hub

    hub = huggingface_hub.HfApi(library_name="rmvpe")
    try:
        with _asking(address):
            # Not list_repo_files, which tries for half a minute where there is no network
            info = hub.model_info(address.repository, revision=address.revision, timeout=TIMEOUT_S)
            return [sibling.rfilename for sibling in info.siblings or ()]
    except _NoConnection:
        with _asking(address):
            folder = Path(
                huggingface_hub.snapshot_download(
                    address.repository, revision=address.revision, allow_patterns=f"*{SUFFIX}", local_files_only=True
                )
            )
        return [path.relative_to(folder).as_posix() for path in folder.rglob(f"*{SUFFIX}")]


class _NoConnection(UserError):
    """The hub cannot be reached."""


@contextmanager
def _asking(address: Address) -> Iterator[None]:
    """Around a call of huggingface_hub: whatever it raises becomes a sentence with the address."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise _sentence(address, error) from error


def _sentence(address: Address, error: Exception) -> UserError:
    """What the user can do about an exception of huggingface_hub. The order matters: some are kinds of others."""
    from huggingface_hub import errors

    text = address.text
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"{text}: its owner gives access on request: ask for it on the repository's page, and log in with "
            "`hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"{text}: there is no such repository, or it is private: check the name, or log in with `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{text}: the repository has no such revision: leave out @{address.revision}")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return _NoConnection(
            f"{text}: the hub cannot be reached, and the file is not in its cache: check the network, or give the path "
            "of a file"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(f"{text}: the repository has no such file: leave out /{address.file}")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _NoConnection(f"{text}: HF_HUB_OFFLINE forbids asking the hub: unset it, or give the path of a file")
    what = f"{type(error).__name__}: {first_line(error)}"
    if isinstance(error, errors.HfHubHTTPError):
        return UserError(f"{text}: the hub does not give it ({what}): try again later, or check the address")
    return _NoConnection(f"{text}: the hub cannot be asked ({what}): check the network, or give the path of a file")


def _options() -> dict[str, Any]:
    """What a download is called with: who asks, and no bar where only errors are wanted (-q)."""
    options: dict[str, Any] = {"library_name": "rmvpe"}
    if logging.getLogger("rmvpe").getEffectiveLevel() >= logging.ERROR:
        from tqdm import tqdm

        class NoBar(tqdm):
            def __init__(self, *arguments: Any, **keywords: Any) -> None:
                super().__init__(*arguments, **{**keywords, "disable": True})

        options["tqdm_class"] = NoBar
    return options
