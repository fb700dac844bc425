"""Praat's TextGrid: an interval tier "notes" from 0 to the end, in the long text format.

https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html. An interval has the name of its note with cents, or
an empty text where there is no note.
"""

from collections.abc import Sequence
from pathlib import Path

from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.timeline import length_us, pitch_label, seconds_text, spans
from rmvpe.track_display import TrackArrays

TIER = "notes"
HEADER = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = {end}
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "{tier}"
        xmin = 0
        xmax = {end}
        intervals: size = {count}
"""
INTERVAL = """        intervals [{number}]:
            xmin = {start}
            xmax = {end}
            text = "{text}"
"""


def write_textgrid(notes: Sequence[Note], track: TrackArrays | None, path: Path, options: NoteFileOptions) -> None:
    """One interval per note and per rest; without notes one empty interval. The options play no part."""
    end_us = length_us(notes, track)
    found = spans(notes, end_us)
    parts = [HEADER.format(end=seconds_text(end_us), tier=TIER, count=len(found))]
    for number, span in enumerate(found, start=1):
        text = "" if span.note is None else pitch_label(span.note.pitch_midi)
        start, end = seconds_text(span.start_us), seconds_text(span.end_us)
        parts.append(INTERVAL.format(number=number, start=start, end=end, text=text))
    path.write_text("".join(parts), encoding="utf-8", newline="\n")
