"""Notes as a Standard MIDI File of type 1, with pitch bends that follow the f0.

The first track has the tempo, the second one the notes, all on channel 1. Choices that a reader depends on:

- time: 480 ticks per quarter note, doubled until a tick is 1 ms or less, so that a note is at most 0.5 ms off.
- pitch: the nearest MIDI number, and a bend to the f0 every 5 ms where it has moved by more than a cent; without a
  track, one bend per note. The range is stated before the notes by RPN 0 and in a text.
- after a note the bend goes back to 0: 100 ms later, so that a release does not jump, or just before the next note.

Format: the MIDI Association's Standard MIDI Files 1.0, https://midi.org/standard-midi-files-specification.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.errors import UserError
from rmvpe.notes.note import Note, round_half_up
from rmvpe.notes.options import BEND_RANGES, NoteFileOptions
from rmvpe.pitch import hz_to_midi
from rmvpe.text import printable
from rmvpe.track_display import TrackArrays

LOG = logging.getLogger("rmvpe")
MARK = "made by rmvpe"  # the first event of a file, by which `rmvpe.ownership` knows ours
TICKS_PER_BEAT, MAX_TICK_S = 480, 0.001
MAX_NUMBER = 127
UNKNOWN_VELOCITY = 80
BEND_STEP_S = 0.005
BEND_CENTS = 1.0  # a smaller move sends no bend
BEND_STEPS = 8192  # of the bend's 14 bits, from 0 to its range
RELEASE_S = 0.1
# Controllers that set a registered parameter (RPN): number, coarse and fine value. RPN 0 is the range of bends, and
# RPN 127/127 none, so that a later data entry changes nothing
RPN_MSB, RPN_LSB, DATA_MSB, DATA_LSB = 101, 100, 6, 38
OFF, BEND, ON = range(3)  # the order of events at one tick
Event = tuple[int, int, Any]  # tick, order, message


def import_mido() -> Any:
    """The library mido. Raises UserError where it is not installed."""
    try:
        import mido
    except ImportError as error:
        raise UserError("MIDI files need mido, which is not installed: run pip install mido") from error
    return mido


def write_mid(notes: Sequence[Note], track: TrackArrays | None, path: Path, options: NoteFileOptions) -> None:
    """Write a MIDI file. Raises UserError for a pitch outside MIDI's numbers, or where mido is not installed.

    Bends beyond the range are cut off, and a warning is logged that says how many notes that changes.
    """
    mido = import_mido()
    numbers = [_number(count, note) for count, note in enumerate(notes, start=1)]
    tempo_us = round(60e6 / options.tempo_bpm)  # the file holds whole microseconds per quarter note
    ticks_per_beat = TICKS_PER_BEAT
    while tempo_us / 1e6 / ticks_per_beat > MAX_TICK_S:
        ticks_per_beat *= 2
    tick_s = tempo_us / 1e6 / ticks_per_beat
    spans = _spans(notes, tick_s)
    title = printable(options.title)
    tempo_track = mido.MidiTrack([mido.MetaMessage("text", text=MARK)])
    if title:
        tempo_track.append(mido.MetaMessage("track_name", name=title))
    tempo_track.append(mido.MetaMessage("set_tempo", tempo=tempo_us))
    note_track = mido.MidiTrack([mido.MetaMessage("track_name", name=title or "notes")])
    events = [
        event
        for (start, stop), number, note in zip(spans, numbers, notes)
        for event in _key_events(mido, start, stop, number, note)
    ]
    if options.bends:
        curves = _curves(notes, numbers, track)
        semitones = options.bend_range or range_for(curves)
        _report_clipped(notes, curves, semitones)
        note_track.extend(_range_messages(mido, semitones))
        events += _bend_events(mido, spans, curves, semitones, tick_s)
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        note_track.append(message.copy(time=tick - now))
        now = tick
    mido.MidiFile(type=1, ticks_per_beat=ticks_per_beat, charset="utf-8", tracks=[tempo_track, note_track]).save(path)


def _number(count: int, note: Note) -> int:
    """The MIDI number of note `count`, counted from 1."""
    number = round_half_up(note.pitch_midi)
    if not 0 <= number <= MAX_NUMBER:
        raise UserError(
            f"note {count} at {note.onset_s:.2f} s has the pitch {note.pitch_midi:.2f}, and MIDI has 0 to "
            f"{MAX_NUMBER}: leave the note out, or write csv or json"
        )
    return number


def _spans(notes: Sequence[Note], tick_s: float) -> list[tuple[int, int]]:
    """First and last tick of each note: at least one tick long, and none before the earlier one's end."""
    spans: list[tuple[int, int]] = []
    earlier = 0
    for note in notes:
        start = max(round(note.onset_s / tick_s), earlier)
        earlier = max(round(note.offset_s / tick_s), start + 1)
        spans.append((start, earlier))
    return spans


def _key_events(mido: Any, start: int, stop: int, number: int, note: Note) -> list[Event]:
    velocity = UNKNOWN_VELOCITY if note.velocity is None else int(note.velocity)
    return [
        (start, ON, mido.Message("note_on", note=number, velocity=velocity)),
        (stop, OFF, mido.Message("note_off", note=number, velocity=0)),
    ]


def _range_messages(mido: Any, semitones: int) -> list[Any]:
    """What states the range of bends, to programs and to people."""
    plural = "" if semitones == 1 else "s"
    settings = ((RPN_MSB, 0), (RPN_LSB, 0), (DATA_MSB, semitones), (DATA_LSB, 0), (RPN_MSB, 127), (RPN_LSB, 127))
    return [
        mido.MetaMessage("text", text=f"pitch bend range {semitones} semitone{plural}"),
        *(mido.Message("control_change", control=control, value=value) for control, value in settings),
        mido.Message("pitchwheel", pitch=0),
    ]


def _curves(notes: Sequence[Note], numbers: Sequence[int], track: TrackArrays | None) -> list[np.ndarray]:
    """Semitones above its number of each note, every BEND_STEP_S from its onset on: one value where no f0 is known.

    Over an unvoiced gap inside a note the line is drawn on; at its ends the nearest voiced frame counts.
    """
    time_s = pitch = np.zeros(0)
    if track is not None:
        time_s, pitch = track.time_s[track.voiced], hz_to_midi(track.f0_hz[track.voiced])
    curves = []
    for note, number in zip(notes, numbers):
        # Half a microsecond: an onset was rounded to microseconds, and its frame is inside
        first, stop = np.searchsorted(time_s, (note.onset_s - 5e-7, note.offset_s - 5e-7))
        if first == stop:
            curves.append(np.array([note.pitch_midi - number]))
            continue
        at_s = np.arange(note.onset_s, note.offset_s, BEND_STEP_S)
        curves.append(np.interp(at_s, time_s[first:stop], pitch[first:stop]) - number)
    return curves


def range_for(curves: Sequence[np.ndarray]) -> int:
    """The smallest usual range of bends, in semitones, that all curves fit into; else the largest."""
    widest = max((float(np.abs(curve).max()) for curve in curves), default=0.0)
    return next((semitones for semitones in BEND_RANGES if widest <= semitones), BEND_RANGES[-1])


def _report_clipped(notes: Sequence[Note], curves: Sequence[np.ndarray], semitones: int) -> None:
    clipped = [note for note, curve in zip(notes, curves) if np.abs(curve).max() > semitones]
    if clipped:
        LOG.warning(
            "the f0 of %d of %d notes, first at %.2f s, is further than %d semitones from the note: the bends of the "
            "MIDI file end there",
            *(len(clipped), len(notes), clipped[0].onset_s, semitones),
        )


def _bend_events(
    mido: Any, spans: Sequence[tuple[int, int]], curves: Sequence[np.ndarray], semitones: int, tick_s: float
) -> list[Event]:
    """The bends of all notes, each from its first tick on, and back to 0 after it."""
    events: list[Event] = []
    starts = [start for start, _ in spans]
    for (start, stop), after, curve in zip(spans, [*starts[1:], None], curves):
        sent = None
        for k, bend in enumerate(curve.tolist()):
            tick = start + round(k * BEND_STEP_S / tick_s)
            if tick >= stop:
                break
            if sent is None or 100.0 * abs(bend - sent) > BEND_CENTS:
                events.append((tick, BEND, mido.Message("pitchwheel", pitch=_wheel(bend, semitones))))
                sent = bend
        released = stop + round(RELEASE_S / tick_s)
        if after is None or after > stop:  # else the next note begins here, with its own bend
            events.append(
                (released if after is None else min(released, after - 1), BEND, mido.Message("pitchwheel", pitch=0))
            )
    return events


def _wheel(bend: float, semitones: int) -> int:
    """The 14-bit value of a bend in semitones; a bend beyond the range is that of its end."""
    return max(-BEND_STEPS, min(BEND_STEPS - 1, round(bend / semitones * BEND_STEPS)))
