"""Recordings with notes beside them, for the evaluation of notes: any folder, and the Hybrid folder.

    FOLDER/.../NAME.wav (or .flac, .mp3 ...) + NAME.notes.csv, or NAME.txt with "onset offset MIDI" per line
    Hybrid/{train,valid,test}/NAME.wav (or .flac) + NAME.pv + NAME.notes.csv

All of a recording is annotated: where there is no note nobody sings. A note that goes on after the end of the
recording, as in an excerpt, is cut there. A folder needs no f0 annotation and none is read: the level of the voice, for
mixing it with music, is that inside the notes.
"""

from pathlib import Path

import numpy as np

from rmvpe.audio import find_audio
from rmvpe.data.readers.base import RecordingFiles, Recordings
from rmvpe.data.readers.folder import split_folder
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.readers.labels import notes_to_f0, read_notes_text
from rmvpe.data.readers.note_tables import read_notes_table
from rmvpe.data.readers.published import OVERHANG_S
from rmvpe.errors import UserError

TABLE, TEXT = ".notes.csv", ".txt"


class NoteFolder(Recordings):
    """The recordings in `root` that have notes, searched recursively, in the order of their paths.

    `split` as for `rmvpe.data.readers.folder.Annotated`. The channels of a file are averaged: they hold the voice
    alone. Recordings without notes are skipped and listed in `not_annotated`. Notes that begin more than half a second
    after the end of their recording are refused when they are read. Raises FileNotFoundError (no such folder) or
    UserError (no recording with notes, a split that is not there).
    """

    def __init__(self, root: str | Path, split: str = "all") -> None:
        folder = split_folder(root, split)
        pairs = [(file, notes_beside(file.path)) for file in find_audio([folder])]
        self.recordings = [
            RecordingFiles(file.name.as_posix(), file.path, notes, notes=notes) for file, notes in pairs if notes
        ]
        self.not_annotated = [file.name.as_posix() for file, notes in pairs if not notes]
        if not self.recordings:
            raise UserError(
                f"{folder} holds recordings but no notes: put NAME{TABLE}, or NAME{TEXT} with onset, offset and MIDI "
                "number per line, beside NAME's sound file"
            )

    def notes(self, index: int) -> np.ndarray:
        """Notes of item `index`, float64 [notes, 3]: onset and offset in seconds, MIDI number."""
        recording = self.recordings[index]
        return _cut(recording, read_notes(recording.label), self.duration_s(index))

    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` (0, 10 ms, ... to the end of the recording) and `f0_hz` [points] of the notes."""
        return notes_to_f0(self.notes(index), self.duration_s(index))


class NoteHybrid(Hybrid):
    """One split of a Hybrid folder whose recordings have NAME.notes.csv, as `rmvpe prepare synthetic` writes them.

    Recordings without notes, such as its spoken items, are left out. Raises as `Hybrid`; UserError too if none has any.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        super().__init__(root, split)
        self.recordings = [
            RecordingFiles(one.name, one.audio, one.label, notes=one.audio.with_name(one.name + TABLE))
            for one in self.recordings
        ]
        self.recordings = [one for one in self.recordings if one.notes is not None and one.notes.is_file()]
        if not self.recordings:
            raise UserError(f"{Path(root) / split} has no notes: put NAME{TABLE} beside each recording")

    def notes(self, index: int) -> np.ndarray:
        """Notes of item `index`, float64 [notes, 3]: onset and offset in seconds, MIDI number."""
        recording = self.recordings[index]
        notes = read_notes_table(recording.audio.with_name(recording.name + TABLE))
        return _cut(recording, notes, self.duration_s(index))


def notes_beside(recording: Path) -> Path | None:
    """The file with the notes of a recording beside it, None if there is none."""
    beside = (recording.with_name(recording.stem + ending) for ending in (TABLE, TEXT))
    return next((path for path in beside if path.is_file()), None)


def read_notes(path: Path) -> np.ndarray:
    """Notes [notes, 3] of NAME.notes.csv or of a text file; raises UserError or FileNotFoundError."""
    return read_notes_table(path) if path.name.endswith(TABLE) else read_notes_text(path)


def _cut(recording: RecordingFiles, notes: np.ndarray, recorded_s: float) -> np.ndarray:
    """The notes that begin within the recording, cut at its end; UserError for notes of another recording."""
    last_s = float(notes[:, 0].max(initial=0.0))
    if last_s > recorded_s + OVERHANG_S:
        raise UserError(
            f"{recording.notes} has a note at {last_s:.2f} s but {recording.audio} lasts {recorded_s:.2f} s: "
            "replace the one that is not of this recording"
        )
    inside = notes[notes[:, 0] < recorded_s]
    return np.column_stack([inside[:, 0], np.minimum(inside[:, 1], recorded_s), inside[:, 2]])
