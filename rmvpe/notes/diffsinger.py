"""DiffSinger's `.ds` file: one segment with the notes, and the f0 as a curve without gaps.

A `.ds` is a JSON list of segments whose values are texts of numbers or names, separated by spaces
(https://github.com/openvpi/DiffSinger). `note_seq` and `note_dur` cover the whole length, with "rest" between notes. A
recording does not tell us words and phonemes, and DiffSinger loads no segment without them. So each note and each
rest is a word of one phoneme, with the two that every dictionary of DiffSinger has: "SP" (silence) for a rest and "AP"
(breath) in place of what is sung in a note. They are to be replaced before synthesis.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmvpe.errors import UserError
from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.timeline import MICROSECONDS, Span, length_us, pitch_label, seconds_text, spans
from rmvpe.track_display import TrackArrays

MADE_BY = "made_by"  # the first key, by which `rmvpe.ownership` knows ours; DiffSinger ignores keys it does not know
SILENCE, UNKNOWN = "SP", "AP"
REST = "rest"
MIDI_RANGE = (0.0, 127.0)  # below 0 DiffSinger takes a note for a rest; it has no numbers above 127
HOP_S = 0.01  # of a curve from fewer than two frames


def write_ds(notes: Sequence[Note], track: TrackArrays | None, path: Path, options: NoteFileOptions) -> None:
    """One segment at offset 0. Without a track, or without voice in it, it has no `f0_seq`; the options play no part.

    Raises UserError for a pitch outside MIDI's numbers 0 to 127.
    """
    check_pitches(notes)
    end_us = length_us(notes, track)
    found = spans(notes, end_us)
    names = [note_of(span) for span in found]
    phonemes = " ".join(SILENCE if name == REST else UNKNOWN for name in names)
    durations = " ".join(seconds_text(span.end_us - span.start_us) for span in found)
    segment = {
        MADE_BY: "rmvpe",
        "offset": 0.0,
        "text": phonemes,
        "ph_seq": phonemes,
        "ph_dur": durations,
        "ph_num": " ".join("1" for _ in found),
        "note_seq": " ".join(names),
        "note_dur": durations,
        "note_slur": " ".join("0" for _ in found),
        **_curve(track, end_us),
    }
    text = json.dumps([segment], indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def check_pitches(notes: Sequence[Note]) -> None:
    """Raise UserError for a note whose pitch DiffSinger would take for a rest, or does not have."""
    for number, note in enumerate(notes, start=1):
        if not MIDI_RANGE[0] <= note.pitch_midi <= MIDI_RANGE[1]:
            raise UserError(
                f"note {number} at {note.onset_s:.2f} s has the pitch {note.pitch_midi:.2f}, and DiffSinger has "
                f"{MIDI_RANGE[0]:g} to {MIDI_RANGE[1]:g}: leave the note out, or write csv or json"
            )


def note_of(span: Span) -> str:
    """What `note_seq` has for a span: "rest", or a name with cents such as "C4+12"."""
    return REST if span.note is None else pitch_label(span.note.pitch_midi)


def _curve(track: TrackArrays | None, end_us: int) -> dict[str, str]:
    """`f0_seq` in Hz and `f0_timestep` in seconds: value k is at k steps, from 0 to the end.

    DiffSinger wants a curve without gaps: they are filled linearly in log-frequency, and the ends get the nearest
    voiced f0. It cannot read a curve of one value, so there are at least two.
    """
    if track is None or not track.voiced.any():
        return {}
    n = len(track.time_s)
    hop_s = float(track.time_s[-1] - track.time_s[0]) / (n - 1) if n > 1 else HOP_S
    timestep = f"{hop_s:.9g}"
    grid = float(timestep) * np.arange(max(2, round(end_us / MICROSECONDS / float(timestep)) + 1))
    octaves = np.interp(grid, track.time_s[track.voiced], np.log2(track.f0_hz[track.voiced]))
    return {"f0_seq": " ".join(f"{hz:.3f}" for hz in np.exp2(octaves)), "f0_timestep": timestep}
