"""Files that are either whole or absent: write beside, then rename."""

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rmvpe.errors import UserError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it replaces `path`, on any error it is removed.

    The temporary name keeps the suffix, because writers choose a format by it. Raises UserError if the folder cannot
    be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror}; choose another output folder or change its permissions"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; the result should be as readable as any other new file
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Raise UserError unless files can be written to `folder`; what has to be created to find out is removed again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): choose another folder") from error
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, completely or not at all. Raises UserError if the folder cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
