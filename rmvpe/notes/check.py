"""What notes in a file must be: in order, one at a time, in the units that this package has."""

import math
from collections.abc import Sequence

from rmvpe.notes.note import Note
from rmvpe.pitch import A4_HZ, MIDI_A4
from rmvpe.track_files import MAX_HZ, MIN_HZ

MAX_S = 86_400.0  # a day: a later time is in another unit
MAX_VELOCITY = 127
TIME_DIGITS = 6  # of seconds: microseconds, as in the files
ROUNDED = 1e-4  # semitones: a pitch at an end of the range may be outside after it was rounded


def check_notes(notes: Sequence[Note]) -> None:
    """Raise ValueError, with the number of the note counted from 1, unless the notes can be those of one voice."""
    earlier_end = 0.0
    for number, note in enumerate(notes, start=1):
        if (fault := fault_of(note)) is not None:
            raise ValueError(f"note {number} {fault}")
        onset, offset = round(note.onset_s, TIME_DIGITS), round(note.offset_s, TIME_DIGITS)
        if onset < earlier_end:
            raise ValueError(
                f"note {number} begins at {onset:g} s, before the note before it ends at {earlier_end:g} s: "
                "sort the notes and let one end before the next"
            )
        earlier_end = offset


def fault_of(note: Note) -> str | None:
    """What is wrong with one note, as the end of a sentence; None if nothing is."""
    for name in ("onset_s", "offset_s", "pitch_midi", "confidence"):
        value = getattr(note, name)
        if value is not None and not math.isfinite(value):
            return f"has the {name} {value!r}, which is not a finite number"
    if note.onset_s < 0.0:
        return f"begins at {note.onset_s:g} s, before the sound does"
    if note.offset_s > MAX_S:
        return f"ends at {note.offset_s:g} s, after more than a day: times are in seconds"
    if round(note.offset_s, TIME_DIGITS) <= round(note.onset_s, TIME_DIGITS):
        return f"begins at {note.onset_s:g} s and ends at {note.offset_s:g} s: an end comes after its beginning"
    low, high = midi_of(MIN_HZ), midi_of(MAX_HZ)
    if not low - ROUNDED <= note.pitch_midi <= high + ROUNDED:
        return f"has the pitch {note.pitch_midi:g}, which is no MIDI number from {low:.1f} to {high:.1f}: is it in Hz?"
    if note.velocity is not None and not 1 <= note.velocity <= MAX_VELOCITY:
        return f"has the velocity {note.velocity}, not 1 to {MAX_VELOCITY}"
    if note.confidence is not None and not 0.0 <= note.confidence <= 1.0:
        return f"has the confidence {note.confidence:g}, not 0 to 1"
    return None


def midi_of(hz: float) -> float:
    """The MIDI number of a frequency in Hz."""
    return MIDI_A4 + 12.0 * math.log2(hz / A4_HZ)
