"""Tables of notes: NAME.notes.csv, and vocadito's.

    onset_s,offset_s,pitch_midi[,name,velocity,confidence]

is the first line of NAME.notes.csv: seconds and MIDI numbers; further columns are ignored. A table of the header alone
says that nobody sings.
"""

from pathlib import Path

import numpy as np

from rmvpe.data.readers.labels import read_notes_rows, read_text
from rmvpe.errors import UserError
from rmvpe.pitch import hz_to_midi

COLUMNS = ("onset_s", "offset_s", "pitch_midi")


def read_notes_table(path: str | Path) -> np.ndarray:
    """Notes float64 [notes, 3] (onset s, offset s, MIDI), sorted by onset; [0, 3] for a header alone.

    Raises FileNotFoundError, or UserError for a file without this header and for a line that is not a note.
    """
    path = Path(path)
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
    header = [name.strip() for name in lines[0][1].split(",")] if lines else []
    if header[: len(COLUMNS)] != list(COLUMNS):
        raise UserError(f"{path} is not a table of notes: its first line must be {','.join(COLUMNS)}")
    rows = [line.split(",")[: len(COLUMNS)] for _, line in lines[1:]]
    return read_notes_rows(rows, lambda number: f"{path}, line {lines[number][0]}")


def read_onset_hz_duration(path: str | Path) -> np.ndarray:
    """Notes [notes, 3] of a file with "onset s,Hz,duration s" per line and no header, as vocadito has them.

    Raises as `read_notes_table`.
    """
    path = Path(path)
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
    rows = [_onset_offset_midi(path, number, line) for number, line in lines]
    return read_notes_rows(rows, lambda number: f"{path}, line {lines[number - 1][0]}")


def _onset_offset_midi(path: Path, number: int, line: str) -> tuple[float, float, float]:
    try:
        onset_s, hz, duration_s = map(float, line.split(","))
        if hz > 0:
            return onset_s, onset_s + duration_s, float(hz_to_midi(np.array([hz]))[0])
    except ValueError:
        pass
    raise UserError(f"{path}, line {number}: {line[:40]!r} is not onset in seconds, Hz and duration in seconds")
