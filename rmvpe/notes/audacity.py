"""Audacity's label track: a line `onset TAB offset TAB name` for each note, in seconds.

The standard format of https://manual.audacityteam.org/man/importing_and_exporting_labels.html. Its extended format has
a second line with frequencies; Audacity needs none of them, and most other readers of label files stop at them. The
name of the note with its cents tells the pitch.
"""

from collections.abc import Sequence
from pathlib import Path

from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.timeline import length_us, pitch_label, seconds_text, spans
from rmvpe.track_display import TrackArrays


def write_labels(notes: Sequence[Note], track: TrackArrays | None, path: Path, options: NoteFileOptions) -> None:
    """One line per note; without notes the file is empty. The track and the options play no part."""
    lines = [
        f"{seconds_text(span.start_us)}\t{seconds_text(span.end_us)}\t{pitch_label(span.note.pitch_midi)}\n"
        for span in spans(notes, length_us(notes, None))
        if span.note is not None
    ]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
