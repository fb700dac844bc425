"""Notes and rests one after the other, without gaps, from 0 to the end: what tiers, labels and `note_seq` are made of.

Times are whole microseconds. So two neighbours share one boundary, and durations add up to the whole exactly, also as
decimal text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rmvpe.notes.note import Note, note_name, round_half_up
from rmvpe.track_display import TrackArrays

MICROSECONDS = 1_000_000
SHORTEST_US = 10_000  # a file lasts at least for one frame: programs refuse a time axis without length


@dataclass(frozen=True)
class Span:
    """A note, or a rest (None), from `start_us` to `end_us` microseconds; it is never empty."""

    start_us: int
    end_us: int
    note: Note | None


def length_us(notes: Sequence[Note], track: TrackArrays | None) -> int:
    """Microseconds from 0 to the last frame of the track, or to the end of the last note if that is later."""
    ends = [0.0, *(note.offset_s for note in notes)]
    if track is not None and len(track.time_s):
        ends.append(float(track.time_s[-1]))
    return max(SHORTEST_US, microseconds(max(ends)))


def spans(notes: Sequence[Note], end_us: int) -> list[Span]:
    """The notes by onset and the rests between them; together they cover 0 to `end_us` exactly.

    A note begins at the end of the one before it, if it would begin earlier. What is left of a note outside 0 to
    `end_us`, or shorter than a microsecond, is no span.
    """
    found: list[Span] = []
    now = 0
    for note in notes:
        start = max(now, microseconds(note.onset_s))
        end = min(end_us, microseconds(note.offset_s))
        if start >= end:
            continue
        if start > now:
            found.append(Span(now, start, None))
        found.append(Span(start, end, note))
        now = end
    if now < end_us:
        found.append(Span(now, end_us, None))
    return found


def microseconds(seconds: float) -> int:
    """The nearest whole number of microseconds."""
    return round(seconds * MICROSECONDS)


def seconds_text(us: int) -> str:
    """Seconds with six digits: exactly the microseconds."""
    return f"{us // MICROSECONDS}.{us % MICROSECONDS:06d}"


def pitch_label(pitch_midi: float) -> str:
    """The nearest note's name and the cents from it: "C4", "C4+12", "A#3-7".

    The notation of `note_seq` in DiffSinger (https://github.com/openvpi/DiffSinger), which reads it by
    `librosa.note_to_midi(label, round_midi=False)`: sharps as #, whole cents.
    """
    number = round_half_up(pitch_midi)
    cents = round_half_up(100.0 * (pitch_midi - number))
    return f"{note_name(number)}{cents:+d}" if cents else note_name(number)
