"""Notes to look at: text, HTML, the columns of a table."""

from collections.abc import Sequence

import numpy as np

from rmvpe.notes.note import Note
from rmvpe.notes.tables import COLUMNS

MAX_ROWS = 12  # of the table in HTML


def summary(notes: Sequence[Note]) -> dict[str, str]:
    """How many notes, from when to when, from which to which pitch, each in a few characters."""
    if not notes:
        return {"notes": "0"}
    lowest = min(notes, key=lambda note: note.pitch_midi)
    highest = max(notes, key=lambda note: note.pitch_midi)
    return {
        "notes": str(len(notes)),
        "time": f"{notes[0].onset_s:.2f} to {notes[-1].offset_s:.2f} s",
        "pitch": lowest.name if lowest.name == highest.name else f"{lowest.name} to {highest.name}",
    }


def text_of(notes: Sequence[Note]) -> str:
    """The notes in one line."""
    facts = summary(notes)
    words = [f"{facts['notes']} note{'' if facts['notes'] == '1' else 's'}"]
    return f"Notes({', '.join(words + [facts[key] for key in ('time', 'pitch') if key in facts])})"


def html_of(notes: Sequence[Note]) -> str:
    """A line of facts, and a table of the first notes."""
    if not notes:
        return "<div>no notes</div>"
    facts = ", ".join(f"{key} {value}" for key, value in summary(notes).items())
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(note))}</tr>" for note in notes[:MAX_ROWS])
    head = "".join(f"<th>{name}</th>" for name in ("onset", "duration", "note", "cents", "velocity", "confidence"))
    more = f"<div>and {len(notes) - MAX_ROWS} more</div>" if len(notes) > MAX_ROWS else ""
    return f"<div>{facts}<table><tr>{head}</tr>{rows}</table>{more}</div>"


def _cells(note: Note) -> list[str]:
    return [
        f"{note.onset_s:.2f} s",
        f"{note.duration_s:.2f} s",
        note.name,
        f"{note.cents:+.0f}",
        "" if note.velocity is None else str(note.velocity),
        "" if note.confidence is None else f"{note.confidence:.2f}",
    ]


def columns_of(notes: Sequence[Note]) -> dict[str, np.ndarray]:
    """The columns of a csv, each [notes]; numbers that are not known are NaN."""
    columns = {name: [getattr(note, name) for note in notes] for name in COLUMNS}
    return {
        name: np.array(values, dtype=object if name == "name" else np.float64 if None in values else None)
        for name, values in columns.items()
    }
