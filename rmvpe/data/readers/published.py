"""The base class of data sets in the folders that their authors publish: splits, pairs of files, lengths.

Conventions: a recording and its label are found by name; a recording without label is an error; a recording that goes
on after its annotation is cut there, because what is not annotated is not silence; an annotation that goes on for more
than half a second after its recording is an error. A class says where it differs.
"""

import csv
import hashlib
import io
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

from rmvpe.data.readers.base import RecordingFiles, Recordings, sound_files
from rmvpe.data.readers.labels import TAKE_AGAIN, read_text
from rmvpe.errors import UserError
from rmvpe.reading import reading

SPLITS = ("train", "valid", "test", "all")
OVERHANG_S = 0.5  # an annotation may end this much after its recording; more means that they do not belong together


class Published(Recordings):
    """One split of a data set in the folder `root` as its authors publish it; "all" is every recording.

    Raises FileNotFoundError (no such folder, a recording without label) or UserError (unknown or empty split).
    """

    def __init__(self, root: str | Path, split: str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder: give the folder of the unpacked data set")
        if split not in SPLITS:
            raise UserError(f"there is no split {split!r} of {root}: choose one of {', '.join(SPLITS)}")
        found = self.find()
        if split != "all":
            split_of = self.splits()
            found = [recording for recording in found if split_of(recording.name) == split]
        if not found:
            raise UserError(f"{root} holds no recording of the split {split!r}: unpack the whole data set there")
        self.recordings = found

    @abstractmethod
    def find(self) -> list[RecordingFiles]:
        """All recordings of the set, in a fixed order."""

    @abstractmethod
    def splits(self) -> Callable[[str], str]:
        """The function from a recording's name to its split."""

    @abstractmethod
    def annotated_s(self, index: int) -> float:
        """The time until which item `index` is annotated."""

    def duration_s(self, index: int) -> float:
        """Length of item `index` in seconds: of its recording, or of its annotation if that ends earlier."""
        return min(self._recorded_s(index), self.annotated_s(index))

    def _recorded_s(self, index: int) -> float:
        recording, recorded_s, annotated_s = self.recordings[index], super().duration_s(index), self.annotated_s(index)
        if annotated_s > recorded_s + OVERHANG_S:
            raise UserError(
                f"{recording.audio} lasts {recorded_s:.2f} s but its label {annotated_s:.2f} s: "
                "replace the one that is not of this recording"
            )
        return recorded_s

    def _pairs(self, folder: str, label_of: Callable[[str], str], end: str = "") -> list[RecordingFiles]:
        """Recordings in `root`/`folder`, whose stems end in `end`, with the labels at `root`/`label_of(stem)`."""
        if not (self.root / folder).is_dir():
            raise FileNotFoundError(f"{self.root} has no folder {folder}: give the folder of the unpacked data set")
        pairs = []
        for path in sound_files(self.root / folder):
            label = self.root / label_of(path.stem)
            if not label.is_file():
                raise FileNotFoundError(f"{path} has no label: put {label} there or remove the recording")
            pairs.append(RecordingFiles(path.stem.removesuffix(end), path, label))
        return pairs

    def _table(self, name: str, delimiter: str) -> list[list[str]]:
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: it lists the singers, put it there or use the split 'all'")
        with reading(path, TAKE_AGAIN):
            rows = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
            return [row for row in rows if len(row) > 1]


def split_by_hash(group: str) -> str:
    """train, valid or test, 80/10/10, for a group of recordings; it does not depend on the other groups."""
    tenth = int(hashlib.sha256(group.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "valid"}.get(tenth, "train")


def by_singer(singer_of: dict[str, str], table: Path) -> Callable[[str], str]:
    """Splits by singer, in the order of `singer_of`, read from `table`: of every five the fourth valid, fifth test."""
    order = {singer: number for number, singer in enumerate(dict.fromkeys(singer_of.values()))}

    def split_of(name: str) -> str:
        if name not in singer_of:
            raise UserError(f"{table} does not list the singer of {name}: add it there or use the split 'all'")
        return {3: "valid", 4: "test"}.get(order[singer_of[name]] % 5, "train")

    return split_of
