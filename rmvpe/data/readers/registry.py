"""Data sets by name: `open_source("vocadito:/data/vocadito", "test")` opens one.

A plain folder is a Hybrid folder (`rmvpe.data.readers.hybrid`). Several names joined by "," make one source. A new data
set is a class in a file beside this one, and a line in `KINDS`.
"""

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from rmvpe.data.readers.base import Item, NoteSource, Recordings, Source
from rmvpe.data.readers.f0_corpora import IKala, MDBStemSynth, Vocadito
from rmvpe.data.readers.folder import Annotated
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.readers.note_corpora import MIRST500, Cmedia
from rmvpe.data.readers.note_folders import NoteFolder, NoteHybrid
from rmvpe.errors import UserError

S = TypeVar("S", bound=Source)
KINDS: dict[str, Callable[[str, str], Source]] = {
    "mdb-stem-synth": MDBStemSynth,
    "mir-st500": MIRST500,
    "cmedia": Cmedia,
    "vocadito": Vocadito,
    "ikala": IKala,
    "folder": Annotated,
}
NOTE_KINDS: dict[str, Callable[[str, str], NoteSource]] = {
    "mir-st500": MIRST500,
    "cmedia": Cmedia,
    "vocadito": Vocadito,
    "folder": NoteFolder,
}


class Concatenated:
    """Several sources one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.starts = [0, *itertools.accumulate(len(source) for source in sources)]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Item:
        """Item `index`, counted over all sources."""
        source, own = self._find(index)
        return source[own]

    def name(self, index: int) -> str:
        """The item's name in its own source."""
        source, own = self._find(index)
        return source.name(own)

    def duration_s(self, index: int) -> float:
        """Length of item `index` in seconds."""
        source, own = self._find(index)
        return source.duration_s(own)

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> Item:
        """A part of item `index`, see `Recordings.read_excerpt`."""
        source, own = self._find(index)
        return source.read_excerpt(own, start_s, seconds)

    def check(self) -> None:
        """Raise UserError or FileNotFoundError at the first item of any source that cannot be used."""
        for source in self.sources:
            source.check()

    def _find(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        number = bisect.bisect_right(self.starts, index) - 1
        return self.sources[number], index - self.starts[number]


class ConcatenatedNotes(Concatenated):
    """Several sources with notes, one after the other."""

    def __init__(self, sources: Sequence[NoteSource]) -> None:
        super().__init__(sources)
        self.note_sources = sources

    def notes(self, index: int) -> np.ndarray:
        """Notes of item `index` [notes, 3], see `NoteSource.notes`."""
        number = bisect.bisect_right(self.starts, index) - 1
        return self.note_sources[number].notes(index - self.starts[number])


def open_source(spec: str, split: str) -> Source:
    """The `split` of the data that `spec` names: a Hybrid folder or KIND:FOLDER, or several of them joined by ",".

    KIND is one of `KINDS`; `split` is train, valid, test, or, except of a Hybrid folder, all.
    Raises UserError (unknown kind, nothing named, empty split) or FileNotFoundError, in one sentence.
    """
    sources = [_open_one(part, split, KINDS, Hybrid) for part in _parts(spec)]
    return sources[0] if len(sources) == 1 else Concatenated(sources)


def open_note_source(spec: str, split: str) -> NoteSource:
    """As `open_source`, for data with notes. A data set that has none raises UserError, in one sentence."""
    sources = [_open_one(part, split, NOTE_KINDS, NoteHybrid) for part in _parts(spec)]
    return sources[0] if len(sources) == 1 else ConcatenatedNotes(sources)


def files_of(source: Source) -> list[Path]:
    """Every file that a data set may read: recordings, labels, accompaniments."""
    parts = source.sources if isinstance(source, Concatenated) else [source]
    recordings = [recording for part in parts if isinstance(part, Recordings) for recording in part.recordings]
    named = [(one.audio, one.label, one.accompaniment, one.notes) for one in recordings]
    return [path for paths in named for path in paths if path is not None]


def _parts(spec: str) -> list[str]:
    parts = [spec] if Path(spec).is_dir() else spec.split(",")  # a folder's name may hold a comma
    named = [part.strip() for part in parts if part.strip()]
    if not named:
        raise UserError(f"{spec!r} names no data: give a folder, or KIND:FOLDER with one of {', '.join(KINDS)}")
    return named


def _open_one(
    spec: str, split: str, kinds: Mapping[str, Callable[[str, str], S]], hybrid: Callable[[str, str], S]
) -> S:
    kind, colon, folder = spec.partition(":")
    # C:\data and a folder that has a colon in its name are folders
    if not colon or len(kind) == 1 or Path(spec).is_dir():
        return hybrid(spec, split)
    if kind.lower() == "hybrid":
        return hybrid(folder, split)
    if kind.lower() not in KINDS:
        raise UserError(f"{kind!r} in {spec!r} is no data set: choose one of {', '.join(KINDS)}, or give a folder")
    if kind.lower() not in kinds:
        raise UserError(f"{kind} has no notes: choose one of {', '.join(kinds)}, or give a folder")
    return kinds[kind.lower()](folder, split)
