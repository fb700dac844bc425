"""What an output may replace: a file that this program wrote itself, recognised by its content, and no input.

`check_outputs` is asked for all outputs of a command before its work begins. `KINDS` are the kinds of files we write.
"""

import csv
import os
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rmvpe.checkpoint.safetensors_file import MAX_HEADER_BYTES
from rmvpe.checkpoint.tensor_file import FORMAT, TORCH_METADATA_RECORD
from rmvpe.errors import UserError
from rmvpe.files import ONE_CASE, check_replaceable
from rmvpe.json_text import parse_json
from rmvpe.notes.tables import COLUMNS as NOTE_COLUMNS
from rmvpe.ownership_text import TEXT_KINDS
from rmvpe.pictures.file import is_our_picture
from rmvpe.sound import sonified
from rmvpe.track_files import FIELDS

HEAD_BYTES = 4096
TABLES = {"csv": FIELDS, "notes csv": NOTE_COLUMNS}  # kind -> columns
MARK = "<!-- made by rmvpe -->"  # the last line of a Markdown report
MADE_BY = "made_by"  # the first key of a JSON report
UNREADABLE = (
    *(OSError, ValueError, LookupError, EOFError, TypeError, AttributeError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),  # RuntimeError: an encrypted zip file
)
REPORT_HEADERS = (
    b"file,ratio,RPA,",
    b"tracker,file,ratio,RPA,",
    b"file,ratio,reference,found,",
    b"weights,condition,level,clip,RPA,",
)
PNG_END = b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Output:
    """A file that a command is going to write.

    kind: "picture" or one of `KINDS`. careful: it lies in a folder of inputs, where a file without a mark of ours may
    be a label.
    """

    path: Path
    kind: str
    careful: bool = False


def check_outputs(
    outputs: Iterable[Output], inputs: Iterable[str | os.PathLike[str]] = (), force: bool = False
) -> None:
    """Raise UserError unless each output may be written, before any work.

    No output may be an input, another output, a folder, a link, or no regular file; only `force` lets it replace a
    file that we did not write.
    """
    outputs, foreign = list(outputs), []
    present = [output for output in outputs if check_replaceable(output.path)]  # first: it refuses impossible names
    _check_different(outputs)
    read = _identities(inputs) if present else set()
    for output in present:
        found = os.stat(output.path)
        if (found.st_dev, found.st_ino) in read:
            raise UserError(f"{output.path} is an input and would be replaced: choose another output")
        if not force and ((output.careful and output.kind in UNMARKED) or not is_ours(output.path, output.kind)):
            foreign.append(output.path)
    if foreign:
        others = f" (and {len(foreign) - 1} more like it)" if len(foreign) > 1 else ""
        raise UserError(
            f"{foreign[0]}{others} exists and is not known as a result of this command: choose another output, or add "
            "--force to replace it"
        )


def _identities(inputs: Iterable[str | os.PathLike[str]]) -> set[tuple[int, int]]:
    found = set()
    for path in inputs:
        try:
            status = os.stat(path)
        except OSError:
            continue  # "-", bundled weights, or a file whose own reader reports it
        found.add((status.st_dev, status.st_ino))
    return found


def _check_different(outputs: Sequence[Output]) -> None:
    """Raise UserError if two outputs are one file, or one is a folder of another."""
    folders: dict[Path, str] = {}
    one_case: dict[str, bool] = {}
    seen: dict[str, Path] = {}
    for output in outputs:
        parent = output.path.parent
        if parent not in folders:
            folders[parent] = os.path.realpath(parent)
        folder = folders[parent]
        if folder not in one_case:
            one_case[folder] = ignores_case(Path(folder))
        name = os.path.join(folder, output.path.name)
        key = unicodedata.normalize("NFC", name).casefold() if one_case[folder] else name
        if key in seen:
            raise UserError(f"{output.path} and {seen[key]} are one file: give each output a name of its own")
        seen[key] = output.path
    for folder in set(folders.values()):
        for path in (folder, *map(str, Path(folder).parents)):
            if path in seen:
                raise UserError(f"{seen[path]} would be a file and a folder: rename one of the inputs")


def ignores_case(folder: Path) -> bool:
    """Whether names that differ in case are one file in `folder`, as on Windows, macOS and some mounted disks.

    Found out without writing: by the name of the nearest folder that exists, in the other case.
    """
    if ONE_CASE:
        return True
    for path in (folder, *folder.parents):
        other = path.with_name(path.name.swapcase())
        if other.name != path.name and os.path.lexists(path):
            try:
                return os.path.samefile(path, other)
            except OSError:
                return False
    return False


def is_ours(path: Path, kind: str) -> bool:
    """Whether the file is one that we wrote as `kind`, by its content. One that cannot be read is not."""
    if kind == "picture":
        return is_our_picture(path)
    try:
        with path.open("rb") as file:
            return KINDS[kind](file, os.fstat(file.fileno()).st_size)
    except UNREADABLE:
        return False


def is_complete(path: Path, kind: str) -> bool:
    """Whether the file is a whole result of ours, by its beginning and its end.

    A csv, pv, curve or label file that somebody cut at the end of a line looks whole. We write a file beside its place
    and rename it.
    """
    if not os.path.isfile(path) or os.path.islink(path) or not is_ours(path, kind):
        return False
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if kind == "sound":
            return sonified.is_whole(file, size)
        file.seek(max(0, size - HEAD_BYTES))
        tail = file.read()
    if kind in TABLES:
        return tail.endswith(b"\n") and tail.splitlines()[-1].count(b",") == len(TABLES[kind]) - 1
    if kind == "mid":
        with path.open("rb") as file:
            return _whole_midi(file, size)
    if kind in TEXT_KINDS:
        with path.open("rb") as file:
            return TEXT_KINDS[kind][1](file, size)
    if kind in ("pv", "curve"):
        return not tail or tail.endswith(b"\n")
    if kind in ("json", "notes json"):
        return tail.endswith(b"\n}\n")
    return not (kind == "picture" and path.suffix.lower() == ".png") or tail.endswith(PNG_END)


def _csv(file: BinaryIO, size: int) -> bool:
    return file.readline(200).strip() == ",".join(FIELDS).encode()


def _notes_csv(file: BinaryIO, size: int) -> bool:
    return file.readline(200).strip() == ",".join(NOTE_COLUMNS).encode()


def _mid(file: BinaryIO, size: int) -> bool:
    """The first event is a text with our mark (`rmvpe.notes.midi.MARK`)."""
    head = file.read(HEAD_BYTES)
    return re.match(rb"MThd\0\0\0\x06.{6}MTrk.{4}\0\xff\x01.made by rmvpe", head, re.DOTALL) is not None


def _whole_midi(file: BinaryIO, size: int) -> bool:
    """Whether all tracks that the header counts are there, the last one up to its end."""
    n_tracks = struct.unpack(">4sLHHH", file.read(14))[3]
    for _ in range(n_tracks):
        head = file.read(8)
        if len(head) < 8:
            return False
        file.seek(struct.unpack(">4sL", head)[1], os.SEEK_CUR)
    return file.tell() == size


def _npz(file: BinaryIO, size: int) -> bool:
    with zipfile.ZipFile(file) as archive:
        return sorted(archive.namelist()) == sorted(f"{name}.npy" for name in FIELDS)


def _npy(file: BinaryIO, size: int) -> bool:
    if np.lib.format.read_magic(file) != (1, 0):
        return False
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    whole = len(shape) == 1 and size == file.tell() + shape[0] * dtype.itemsize
    if dtype != np.float32 or not whole:
        return False
    f0_hz = np.frombuffer(file.read(HEAD_BYTES // 4 * 4), dtype=np.float32)
    return bool(np.all((f0_hz == 0) | ((f0_hz > 1) & (f0_hz < 20_000))))


def _pv(file: BinaryIO, size: int) -> bool:
    lines = file.read(HEAD_BYTES).split(b"\n")
    return all(re.fullmatch(rb"0|\d{1,3}\.\d{5}", line) for line in lines[:-1]) and (size == 0 or len(lines) > 1)


def _two_columns(file: BinaryIO, size: int) -> bool:
    lines = file.read(HEAD_BYTES).split(b"\n")
    return all(re.fullmatch(rb"\d+\.\d{6},\d+\.\d{3}", line) for line in lines[:-1]) and (size == 0 or len(lines) > 1)


def _json(file: BinaryIO, size: int) -> bool:
    """A report: its mark has the version, that of notes has none."""
    return re.match(rb'\s*\{\s*"made_by":\s*"rmvpe ', file.read(HEAD_BYTES)) is not None


def _notes_json(file: BinaryIO, size: int) -> bool:
    head = re.match(rb'\s*\{\s*"made_by":\s*"rmvpe",\s*"tuning_cents":', file.read(HEAD_BYTES))
    return head is not None


def _transcriptions(file: BinaryIO, size: int) -> bool:
    """A table that is updated, not replaced: it needs no mark of ours, only the column that rows are found by."""
    return "name" in next(csv.reader([file.readline(HEAD_BYTES).decode("utf-8-sig")]))


def _safetensors(file: BinaryIO, size: int) -> bool:
    head_bytes = int.from_bytes(file.read(8), "little")
    if not 2 <= head_bytes <= min(size, MAX_HEADER_BYTES):
        return False
    metadata = parse_json(file.read(head_bytes)).get("__metadata__", {})
    return bool(metadata.get("format") == FORMAT and "config" in metadata)


def _torch(file: BinaryIO, size: int) -> bool:
    with zipfile.ZipFile(file) as archive:
        record = archive.getinfo(f"{archive.namelist()[0].split('/')[0]}/{TORCH_METADATA_RECORD}")
        if record.file_size > MAX_HEADER_BYTES:
            return False
        table = parse_json(archive.read(record))
        return bool(table.get("format") == FORMAT and "config" in table)


def _onnx(file: BinaryIO, size: int) -> bool:
    return re.match(rb"\x08.\x12\x05rmvpe", file.read(HEAD_BYTES), re.DOTALL) is not None  # version, then producer


def _report_csv(file: BinaryIO, size: int) -> bool:
    return file.read(HEAD_BYTES).startswith(REPORT_HEADERS)


def _markdown(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - HEAD_BYTES))
    return file.read().rstrip().endswith(MARK.encode())


def _sound(file: BinaryIO, size: int) -> bool:
    return sonified.is_marked(file)


KINDS: dict[str, Callable[..., bool]] = {
    "csv": _csv,
    "notes csv": _notes_csv,
    "mid": _mid,
    "npz": _npz,
    "npy": _npy,
    "pv": _pv,
    "two columns": _two_columns,
    "transcriptions": _transcriptions,
    "json": _json,
    "notes json": _notes_json,
    "report csv": _report_csv,
    "safetensors": _safetensors,
    "torch": _torch,
    "onnx": _onnx,
    "markdown": _markdown,
    "sound": _sound,
    "curve": _two_columns,
    **{kind: is_ours_as for kind, (is_ours_as, _) in TEXT_KINDS.items()},
}
UNMARKED = ("npy", "pv", "two columns", "curve", "labels")  # any file with such numbers looks like ours
