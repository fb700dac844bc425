"""A folder that a script makes: it appears whole or not at all, and nothing that others put there is ever deleted.

The work is done in `.NAME-unfinished` beside it, which is renamed at the end. Its manifest.json says which script made
it ("made_by") and which files are the script's own: itself, and a .wav and a .pv for every entry of "items".
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmvpe.errors import UserError

MANIFEST = "manifest.json"


class MadeFolder:
    """The folder `path` (a link is followed), as made by the script `made_by`."""

    def __init__(self, path: str | Path, made_by: str) -> None:
        self.path = Path(path).resolve()
        self.made_by = made_by

    def check(self, force: bool) -> None:
        """Refuse a folder that holds anything the script did not make, and without `force` any that it made.

        Raises UserError.
        """
        out = self.path
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: give a folder as --out")
        if not out.is_dir() or not any(out.iterdir()):
            return
        if self._made_files(out) is None:
            raise UserError(f"{out} holds files this script did not make: give an empty or new folder as --out")
        if not force:
            raise UserError(f"{out} was made before: add --force to make it again, or give another --out")
        for folder in (out, self._replaced()):
            made = self._made_files(folder) or set()
            for path in sorted(folder.rglob("*")):
                if path.is_symlink() or (path.is_file() and path not in made):
                    raise UserError(f"{path} was not made by this script: move it away, or give another --out")

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder beside `path` to fill; removed at the end unless `publish` has renamed it.

        It carries an unfinished manifest from the start, so that the next run knows what a killed run has left.
        Raises UserError if it cannot be made or another run is at work in it.
        """
        folder = self.path.parent / f".{self.path.name}-unfinished"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists() and self._made_files(folder) is None and any(folder.iterdir()):
                raise UserError(f"{folder} is where the work is done, and not of this script's making: move it away")
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {folder} ({error.strerror}): give another --out") from error
        lock = _lock(folder)
        try:
            for path in folder.iterdir():  # what a killed run has left
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            (folder / MANIFEST).write_text(json.dumps({"made_by": self.made_by, "items": {}}), encoding="utf-8")
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder)
            if lock is not None:
                os.close(lock)

    def publish(self, folder: Path) -> None:
        """Rename `folder` to `path`; an earlier one steps aside first, then loses the files its manifest claims.

        Whatever came into the earlier folder meanwhile stays in `.NAME-replaced`, and the next `check` names it.
        Raises UserError if the system does not let it; the earlier folder then stands as it was.
        """
        out, old = self.path, self._replaced()
        self._remove_made(old)
        try:
            if out.is_dir() and any(out.iterdir()):
                out.rename(old)
            elif out.is_dir():
                out.rmdir()
            folder.rename(out)
        except OSError as error:
            if old.exists() and not out.exists():
                old.rename(out)
            raise UserError(f"cannot rename {folder} to {out} ({error.strerror}): give another --out") from error
        self._remove_made(old)

    def _replaced(self) -> Path:
        """Where the earlier folder steps aside to."""
        return self.path.parent / f".{self.path.name}-replaced"

    def _made_files(self, folder: Path) -> set[Path] | None:
        """The files below `folder` that its manifest claims; None if it has no manifest of this script."""
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if manifest["made_by"] != self.made_by:
                return None
            names = [MANIFEST, *(f"{item}{suffix}" for item in manifest["items"] for suffix in (".wav", ".pv"))]
        except (OSError, ValueError, KeyError, TypeError):
            return None  # no manifest, or another's
        return {folder / name for name in names}

    def _remove_made(self, folder: Path) -> None:
        """Delete what the manifest of `folder` claims, then the folders that are empty; anything else stays."""
        if not folder.exists():
            return
        made = self._made_files(folder)
        if made is None:
            raise UserError(f"{folder} is in the way and not of this script's making: move it away")
        # Only what lies inside is compared, so that a changed manifest cannot point elsewhere
        inside = sorted(folder.rglob("*"), reverse=True)
        for path in inside:
            if path in made and path.name != MANIFEST:
                path.unlink()
            elif path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()
        # The manifest goes last: what a killed run leaves can be taken up by the next
        if [path.name for path in folder.iterdir()] == [MANIFEST]:
            (folder / MANIFEST).unlink()
            folder.rmdir()


def _lock(folder: Path) -> int | None:
    """Keep a second run out of `folder`, as long as this process lives; None where the system has no such lock."""
    try:
        import fcntl
    except ImportError:
        return None  # Windows, where the files of a running process cannot be removed anyway
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UserError(f"{folder} is in use by another run: wait for it, or give another --out") from error
    return handle
