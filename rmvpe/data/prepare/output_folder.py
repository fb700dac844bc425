"""A data set's folder that a script makes: files that others put there are never deleted.

Its manifest.json says which script made it ("made_by") and which files are the script's own: itself, and a .wav and a
.pv for every entry of "items".
"""

import json
from pathlib import Path

from rmvpe.errors import UserError
from rmvpe.files import OutputFolder

MANIFEST = "manifest.json"


class DataFolder(OutputFolder):
    """The folder `path` (a link is followed), as made by the script `made_by`."""

    def __init__(self, path: str | Path, made_by: str) -> None:
        super().__init__(path)
        self.made_by = made_by

    def check(self, force: bool) -> None:
        """Raise UserError for a folder with files that the script did not make and, without `force`, any it made."""
        out = self.path
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: give a folder as --out")
        if out.is_dir() and any(out.iterdir()):
            if self._made_files(out) is None:
                raise UserError(f"{out} holds files this script did not make: give an empty or new folder as --out")
            if not force:
                raise UserError(f"{out} was made before: add --force to make it again, or give another --out")
        for folder in (out, self.old):
            made = self._made_files(folder) or set()
            for path in sorted(folder.rglob("*")):
                if path.is_symlink() or (path.is_file() and path not in made):
                    raise UserError(f"{path} was not made by this script: move it away, or give another --out")

    def discard(self, old: Path) -> None:
        """Delete the files that the manifest of `old` lists and the folders that are then empty; the rest stays."""
        made = self._made_files(old) or set()
        # Compared with what is there, so that a changed manifest cannot point elsewhere
        for path in sorted(old.rglob("*"), reverse=True):
            if path in made and path.name != MANIFEST:
                path.unlink()
            elif path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()
        # The manifest goes last: if this process is killed, the next one can go on
        if made and [path.name for path in old.iterdir()] == [MANIFEST]:
            (old / MANIFEST).unlink()
        if old.is_dir() and not any(old.iterdir()):
            old.rmdir()

    def _made_files(self, folder: Path) -> set[Path] | None:
        """The files below `folder` that its manifest lists; None if it has no manifest of this script."""
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if manifest["made_by"] != self.made_by:
                return None
            names = [MANIFEST, *(f"{item}{suffix}" for item in manifest["items"] for suffix in (".wav", ".pv"))]
        except (OSError, ValueError, KeyError, TypeError):
            return None  # no manifest, or another's
        return {folder / name for name in names}
