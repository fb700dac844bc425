"""A data set's folder that a script makes: files that others put there are never deleted.

Its manifest.json says which script made it ("made_by") and which files are the script's own: itself, and a .wav and a
.pv for every entry of "items".
"""

from pathlib import Path
from typing import Any

from rmvpe.errors import UserError
from rmvpe.files import OutputFolder
from rmvpe.reading import read_json

MANIFEST = "manifest.json"


class DataFolder(OutputFolder):
    """The folder `path` (a link is followed), as made by the script `made_by`."""

    def __init__(self, path: str | Path, made_by: str) -> None:
        super().__init__(path)
        self.made_by = made_by

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of the folder as the script made it before; None if there is no folder, or an empty one.

        Raises UserError for a file, and for a folder with files but no manifest of this script.
        """
        out = self.path
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: give a folder as --out")
        if not out.is_dir() or not any(out.iterdir()):
            return None
        manifest = self._read(out)
        if manifest is None:
            why = f"; {MANIFEST} is not a manifest of this script" if (out / MANIFEST).exists() else ""
            raise UserError(f"{out} holds files this script did not make{why}: give an empty or new folder as --out")
        return manifest

    def check(self, force: bool) -> None:
        """Raise UserError for a folder with files that the script did not make and, without `force`, any it made."""
        if self.manifest() is not None and not force:
            raise UserError(f"{self.path} was made before: add --force to make it again, or give another --out")
        for folder in (self.path, self.old):
            made = self._made_files(folder)
            for path in sorted(folder.rglob("*")):
                if path.is_symlink() or (path.is_file() and path not in made):
                    raise UserError(f"{path} was not made by this script: move it away, or give another --out")

    def discard(self, old: Path) -> None:
        """Delete the files that the manifest of `old` lists and the folders that are then empty; the rest stays."""
        made = self._made_files(old)
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

    def _made_files(self, folder: Path) -> set[Path]:
        """The files below `folder` that its manifest lists; none if it has no manifest of this script."""
        manifest = self._read(folder)
        if manifest is None:
            return set()
        names = [MANIFEST, *(f"{item}{suffix}" for item in manifest.get("items", {}) for suffix in (".wav", ".pv"))]
        return {folder / name for name in names}

    def _read(self, folder: Path) -> dict[str, Any] | None:
        try:
            manifest = read_json(folder / MANIFEST, "delete it")
            ours = manifest["made_by"] == self.made_by and isinstance(manifest.get("items", {}), dict)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # no manifest, or another's
        return manifest if ours else None
