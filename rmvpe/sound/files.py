"""Paths and folders to lists of sound files with unique names; files that are safe to open."""

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from rmvpe.errors import UserError
from rmvpe.files import ONE_CASE, kind_of_mode
from rmvpe.sound.sniff import HEAD, may_be_sound
from rmvpe.sound.sonified import is_sonified

# File name suffixes to look for in folders. A file given by its path may have any.
SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("wav", "wave", "bwf", "rf64", "w64", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "snd"),
        *("caf", "sph", "nist", "ircam", "voc", "m4a", "m4b", "mp4", "m4v", "mov", "3gp", "3g2", "webm", "mkv", "mka"),
        *("weba", "wma", "wmv", "asf", "aac", "adts", "amr", "awb", "mp2", "mpga", "ogv", "avi", "flv", "ts", "m2ts"),
        *("mts", "mpg", "mpeg", "ac3", "eac3", "dts", "wv", "tta", "ape", "spx", "alac", "mpc", "dsf"),
    )
)
NO_SOUND_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("txt", "csv", "tsv", "json", "md", "png", "jpg", "jpeg", "gif", "pdf", "npy", "npz", "pv", "mid", "midi"),
        *("xml", "html", "log", "py", "sh", "zip", "gz", "lab", "textgrid", "lrc", "cue", "m3u", "m3u8", "pt"),
        *("safetensors", "yaml", "yml", "toml"),
    )
)
Skipped = tuple[Path, str]


@dataclass(frozen=True)
class AudioFile:
    """A file to read; `name` is the relative path for its results, without a format's suffix, unique in its list."""

    path: Path
    name: Path


def find_audio(paths: Sequence[str | os.PathLike[str]], skipped: list[Skipped] | None = None) -> list[AudioFile]:
    """The sound files of `paths`, each file once. Folders are searched recursively, in sorted order;
    links to folders are followed.

    A result's `name` is the path inside the folder that was given, or the file's own name. If two names are the same
    (a/x.wav and b/x.wav), all names are relative to the folder common to all files; names that are still the same
    (x.wav and x.flac) keep their suffix. Hidden files are skipped, and the sounds that
    `rmvpe.sonify` has made. `skipped` collects (path, reason) of what a folder
    holds and cannot be looked into: sub-folders without permission, pipes, devices. Raises UserError for a path that is
    missing or no sound file by its kind (a device), and for a folder without sound files.
    """
    return find_files(paths, sound_files, [] if skipped is None else skipped)


def find_files(
    paths: Sequence[str | os.PathLike[str]],
    files_in: Callable[[Path, list[Skipped]], list[Path]],
    skipped: list[Skipped],
) -> list[AudioFile]:
    """The files of `paths`, each once, with the names of `find_audio`; `files_in` gives those of a folder."""
    found: dict[Path, AudioFile] = {}
    for path in map(Path, paths):
        if path.is_dir():
            for file in files_in(path, skipped):
                found.setdefault(file.resolve(), AudioFile(file, file.relative_to(path)))
        else:
            check_exists(path)
            found.setdefault(path.resolve(), AudioFile(path, Path(path.name)))
    return with_unique_names(list(found.values()))


def sound_files(folder: Path, skipped: list[Skipped]) -> list[Path]:
    """The sound files in a folder, see `find_audio`. Raises UserError if there is none."""
    before = len(skipped)
    files = sorted(search(folder, is_recording, skipped))
    if not files:
        reasons = "".join(f"; {path} {reason}" for path, reason in skipped[before : before + 3])
        raise UserError(f"{folder} holds no sound file (wav, mp3, m4a ...{reasons}): give a file or another folder")
    return files


def search(folder: Path, is_wanted: Callable[[Path, list[Skipped]], bool], skipped: list[Skipped]) -> Iterator[Path]:
    """The files in a folder that `is_wanted` takes, in its sub-folders and links to folders too, none of them hidden.

    `skipped` collects (path, reason) of folders that cannot be searched; `is_wanted` gets it too.
    """

    def unreadable(error: OSError) -> None:
        skipped.append((Path(error.filename or folder), f"cannot be searched ({error.strerror})"))

    visited: set[tuple[int, int]] = set()
    waiting = [folder]  # links come after all real folders, so that a file has the name of its real place
    while waiting:
        for root, folders, names in os.walk(waiting.pop(0), onerror=unreadable):
            place = os.stat(root)
            if (place.st_dev, place.st_ino) in visited:  # links may lead in a circle
                folders.clear()
                continue
            visited.add((place.st_dev, place.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [Path(root, name) for name in folders if os.path.islink(Path(root, name))]
            for name in sorted(names):
                path = Path(root, name)
                if not name.startswith(".") and is_wanted(path, skipped):
                    yield path


def is_recording(path: Path, skipped: list[Skipped]) -> bool:
    """Whether a file in a folder is to be read; what could be sound and cannot be looked at goes to `skipped`."""
    suffix = path.suffix.lower()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if suffix in SUFFIXES:
            skipped.append((path, f"cannot be looked at ({error.strerror})"))
        return False
    if not stat.S_ISREG(mode):
        if not stat.S_ISDIR(mode):
            skipped.append((path, f"is {kind_of_mode(mode)}, not a regular file"))
        return False
    if suffix in SUFFIXES:
        return not (suffix == ".wav" and is_sonified(path))
    if suffix in NO_SOUND_SUFFIXES:
        return False
    try:
        with open_regular(path) as file:
            return may_be_sound(file.read(HEAD))
    except (OSError, UserError) as error:
        skipped.append((path, f"cannot be looked into ({getattr(error, 'strerror', None) or error})"))
        return False


def with_unique_names(files: list[AudioFile], one_case: bool = ONE_CASE) -> list[AudioFile]:
    """`files` with names as `find_audio` gives them. one_case: names that differ only in case are the same."""

    def key(name: Path) -> str:
        # macOS also takes letters with composed and with separate accents for the same
        return unicodedata.normalize("NFC", str(name)).casefold() if one_case else str(name)

    def duplicates(names: list[Path]) -> set[str]:
        return {name for name, count in Counter(map(key, names)).items() if count > 1}

    if duplicates([_stem(file.name) for file in files]):
        names = below_common_folder([Path(os.path.abspath(file.path)) for file in files])
        files = [AudioFile(file.path, Path(name)) for file, name in zip(files, names)]
    wholes = [file.name for file in files]
    chosen = [_stem(name) for name in wholes]
    # A whole name may be another's without its suffix (x.wav.flac): so until nothing changes
    while same := duplicates(chosen):
        longer = [whole if key(name) in same else name for whole, name in zip(wholes, chosen)]
        if longer == chosen:
            break
        chosen = longer
    return [AudioFile(file.path, name) for file, name in zip(files, _numbered(chosen, key))]


def _stem(name: Path) -> Path:
    return name.with_suffix("")


def _numbered(names: list[Path], key: Callable[[Path], str]) -> list[Path]:
    """Names that are still the same (A.wav and a.wav on a file system of one case) get a number."""
    taken: set[str] = set()
    counts = Counter(map(key, names))
    result = []
    for name in names:
        number, unique = 1, name
        while key(unique) in taken or (number > 1 and key(unique) in counts):
            number += 1
            unique = name.with_name(f"{name.name} ({number})")
        taken.add(key(unique))
        result.append(unique)
    return result


def below_common_folder(paths: Sequence[PurePath]) -> list[PurePath]:
    """Absolute paths, relative to the folder that holds them all.

    On Windows, files of several drives have no such folder: the drive's name becomes one (D:/a.wav: D/a.wav).
    """
    if len({path.drive.lower() for path in paths}) > 1:
        return [type(path)(re.sub(r"\W+", "_", path.drive).strip("_"), *path.parts[1:]) for path in paths]
    base = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(base) for path in paths]


def check_exists(path: Path) -> None:
    """Raise UserError unless `path` is a regular file; nothing is opened."""
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: change its permissions, or those of its folder") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} does not exist: check the path") from error
    if stat.S_ISDIR(mode):
        raise UserError(f"{path} is a folder: give a sound file")
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is {kind_of_mode(mode)}, not a regular file: give a sound file, or - to read stdin")


def check_readable(path: Path, access: Callable[[Path, int], bool] = os.access) -> None:
    """Raise UserError unless `path` is a regular file that can be opened, which `access` tests."""
    check_exists(path)
    if not access(path, os.R_OK):
        raise UserError(f"{path} cannot be read: change its permissions")


def open_regular(path: Path) -> BinaryIO:
    """`path` opened for reading; nothing else than a regular file is opened, so that nothing waits for a writer."""
    check_readable(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    file = open(path, "rb", opener=lambda name, _: os.open(name, flags))  # noqa: SIM115 the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path} is not a regular file: give a sound file")
    return file
