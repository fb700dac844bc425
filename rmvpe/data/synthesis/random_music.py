"""Random music for General MIDI instruments, written as a MIDI file: training examples of music without a voice.

It has the surface of music: chords that move in a key, bass, drums, arpeggios, and instrumental leads that behave like
a singer (one note at a time, phrases, portamento, scoops, vibrato). All of it is labelled as unvoiced, so programs that
imitate voices are left out.

Keys are MIDI semitones, times seconds.
"""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.errors import UserError

TICKS_PER_S = 1000
BEND_STEP_S = 0.01
BEND_RANGE = 2.0  # semitones either way: what General MIDI instruments start with
DRUM_CHANNEL = 9
VOICES = frozenset((52, 53, 54, 85, 91, 121, 126))  # choirs, "lead voice", "choir pad", breath noise, applause
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
# General MIDI programs from 0, by the part they can play
SUSTAINED = tuple(p for p in (*range(16, 24), *range(40, 52), *range(56, 96), *range(109, 112)) if p not in VOICES)
PLUCKED = (*range(0, 16), *range(24, 32), 45, 46, 55, *range(104, 109), 114)
CHORDAL = tuple(p for p in (*range(0, 32), *range(44, 52), *range(88, 104)) if p not in VOICES)
BASSES = tuple(range(32, 40))
KICKS, SNARES, HATS, OTHERS = (35, 36), (38, 40, 37, 39), (42, 44, 46, 51), (41, 45, 48, 49, 54, 56, 60, 63, 70)
KINDS = {"lead": 0.2, "duet": 0.1, "lead and band": 0.45, "band": 0.25}


@dataclass(frozen=True)
class Note:
    """One key pressed from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    key: int
    velocity: int  # 1..127


@dataclass(frozen=True)
class Part:
    """What one player plays: a General MIDI program from 0, or None for the drums."""

    program: int | None
    notes: list[Note]
    level: int  # 0..127, the channel's volume
    reverb: int = 40  # 0..127
    bends: list[tuple[float, float]] = field(default_factory=list)  # (time, semitones), held until the next


@dataclass(frozen=True)
class Frame:
    """The length, tempo, key and chords that all players of a piece share."""

    seconds: float
    beat_s: float
    tonic: int  # 0..11
    scale: tuple[int, ...]
    chords: tuple[int, ...]  # a degree of the scale per bar of four beats, from 0

    def bars(self) -> list[tuple[float, int]]:
        """Start and chord of each bar."""
        count = int(np.ceil(self.seconds / (4 * self.beat_s)))
        return [(bar * 4 * self.beat_s, self.chords[bar % len(self.chords)]) for bar in range(count)]

    def key(self, degree: int, near: float) -> int:
        """The key of a degree of the scale, in the octave nearest to `near`."""
        octaves, step = divmod(degree, len(self.scale))
        key = self.tonic + self.scale[step] + 12 * octaves
        return int(key + 12 * round((near - key) / 12))


def compose(seconds: float, rng: np.random.Generator) -> list[Part]:
    """A piece of `seconds`: a lead alone, two of them, a band, or a band with a lead."""
    scale = SCALES[int(rng.integers(len(SCALES)))]
    degrees = rng.integers(0, len(scale), size=int(rng.choice([2, 4, 4, 8])))
    beat_s = 60.0 / rng.uniform(60, 170)
    frame = Frame(seconds, beat_s, int(rng.integers(12)), scale, tuple(int(degree) for degree in degrees))
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    parts = []
    if kind in ("lead", "lead and band"):
        parts.append(_lead(frame, 112, rng))
    if kind == "duet":
        parts += [_lead(frame, 112, rng), _lead(frame, int(rng.integers(70, 112)), rng)]
    if kind in ("band", "lead and band"):
        parts += _band(frame, rng)
    return parts


def _band(frame: Frame, rng: np.random.Generator) -> list[Part]:
    players = [(_chords, 0.85), (_arpeggio, 0.45), (_chords, 0.25), (_bass, 0.75), (_drums, 0.65), (_lead, 0.2)]
    parts = [player(frame, int(rng.integers(55, 110)), rng) for player, share in players if rng.random() < share]
    return parts or [_chords(frame, 90, rng)]


def _velocity(rng: np.random.Generator) -> int:
    return int(rng.integers(50, 125))


def _lead(frame: Frame, level: int, rng: np.random.Generator) -> Part:
    """A melody of one voice in phrases, on a sustained or plucked instrument; most bend their notes as singers do."""
    program = int(rng.choice(SUSTAINED if rng.random() < 0.75 else PLUCKED))
    centre, step_s = rng.uniform(45, 88), frame.beat_s / int(rng.choice([1, 2, 2, 4]))
    legato, pause = rng.uniform(0.6, 1.03), rng.uniform(0.02, 0.25)
    at, degree, notes = rng.uniform(0, 0.5), 0, []
    while at < frame.seconds:
        length_s = step_s * int(rng.choice([1, 1, 2, 2, 3, 4, 8]))
        if rng.random() < pause:
            at += length_s
            continue
        degree = int(np.clip(degree + rng.choice([-4, -2, -2, -1, -1, -1, 0, 1, 1, 1, 2, 2, 4]), -9, 9))
        octave, inside = divmod(degree, len(frame.scale))
        key = frame.key(inside, centre) + 12 * octave
        notes.append(Note(at, min(at + legato * length_s, frame.seconds), int(np.clip(key, 28, 103)), _velocity(rng)))
        at += length_s
    bends = _bends(notes, rng) if rng.random() < 0.65 else []
    return Part(program, notes, level, int(rng.integers(0, 110)), bends)


def _bends(notes: list[Note], rng: np.random.Generator) -> list[tuple[float, float]]:
    """Scoops, portamento and vibrato, as (time, semitones) every 10 ms."""
    habit, scoops, glides = rng.uniform(0, 0.6), rng.uniform(0, 0.5), rng.uniform(0, 0.6)
    bends: list[tuple[float, float]] = []
    before = None
    for note in notes:
        times = np.arange(note.start_s, note.end_s, BEND_STEP_S) - note.start_s
        bend = np.zeros(len(times))
        if rng.random() < habit + 0.2:
            rate_hz, depth, onset_s = rng.uniform(4, 7.5), rng.uniform(0.08, 0.7), rng.uniform(0.05, 0.4)
            bend += np.sin(2 * np.pi * rate_hz * times) * depth * np.clip((times - onset_s) / 0.2, 0, 1)
        interval = 0 if before is None else before - note.key
        if 0 < abs(interval) <= BEND_RANGE and rng.random() < glides:
            bend += interval * np.exp(-times / rng.uniform(0.02, 0.08))
        elif rng.random() < scoops:
            bend -= rng.uniform(0.3, 1.8) * np.exp(-times / rng.uniform(0.02, 0.1))
        bends += zip((note.start_s + times).tolist(), np.clip(bend, -BEND_RANGE, BEND_RANGE).tolist(), strict=True)
        before = note.key
    return bends


def _chords(frame: Frame, level: int, rng: np.random.Generator) -> Part:
    """A triad or more per bar: held, or struck on some of its eighths."""
    centre, size, struck = rng.uniform(50, 74), int(rng.choice([2, 3, 3, 4])), rng.random() < 0.5
    pattern = [0, *np.flatnonzero(rng.random(7) < 0.4) + 1, 8] if struck else [0, 8]
    notes = []
    for bar_s, chord in frame.bars():
        for first, last in itertools.pairwise(pattern):
            start_s, end_s = bar_s + first * frame.beat_s / 2, bar_s + last * frame.beat_s / 2
            keys = {frame.key(chord + 2 * third, centre + 3 * third) for third in range(size)}
            notes += [Note(start_s, end_s - 0.02, key, _velocity(rng)) for key in sorted(keys)]
    return Part(int(rng.choice(CHORDAL)), _within(notes, frame), level, int(rng.integers(0, 110)))


def _arpeggio(frame: Frame, level: int, rng: np.random.Generator) -> Part:
    """The notes of each chord, one after the other."""
    centre, pace = rng.uniform(50, 80), frame.beat_s / int(rng.choice([2, 3, 4]))
    order = [int(third) for third in rng.integers(0, 5, size=int(rng.choice([3, 4, 6, 8])))]
    notes = []
    for bar_s, chord in frame.bars():
        for number in range(int(4 * frame.beat_s / pace)):
            start_s = bar_s + number * pace
            key = frame.key(chord + 2 * order[number % len(order)], centre + 3 * order[number % len(order)])
            notes.append(Note(start_s, start_s + pace, key, _velocity(rng)))
    return Part(int(rng.choice(PLUCKED + CHORDAL)), _within(notes, frame), level, int(rng.integers(0, 110)))


def _bass(frame: Frame, level: int, rng: np.random.Generator) -> Part:
    """The root of each chord, sometimes its fifth, in a rhythm of its own."""
    rhythm = [0, *np.flatnonzero(rng.random(7) < rng.uniform(0.1, 0.9)) + 1, 8]
    notes = []
    for bar_s, chord in frame.bars():
        for first, last in itertools.pairwise(rhythm):
            degree = chord + (4 if rng.random() < 0.15 else 0)
            start_s, end_s = bar_s + first * frame.beat_s / 2, bar_s + last * frame.beat_s / 2
            notes.append(Note(start_s, end_s - 0.02, frame.key(degree, 38), _velocity(rng)))
    return Part(int(rng.choice(BASSES)), _within(notes, frame), level, int(rng.integers(0, 40)))


def _drums(frame: Frame, level: int, rng: np.random.Generator) -> Part:
    """One bar's pattern of sixteenths, over and over."""
    kick, snare = (int(rng.choice(keys)) for keys in (KICKS, SNARES))
    hat, other = (int(rng.choice(keys)) for keys in (HATS, OTHERS))
    hits = [(0, kick), (4, snare), (8, kick), (12, snare)]
    hits += [(int(at), hat) for at in range(0, 16, int(rng.choice([1, 2, 2, 4])))]
    hits += [(int(at), int(rng.choice([kick, snare, other]))) for at in np.flatnonzero(rng.random(16) < 0.15)]
    notes = []
    for bar_s, _ in frame.bars():
        starts = [(bar_s + at * frame.beat_s / 4, key) for at, key in hits]
        notes += [Note(start_s, start_s + 0.1, key, _velocity(rng)) for start_s, key in starts]
    return Part(None, _within(notes, frame), level, int(rng.integers(0, 60)))


def _within(notes: list[Note], frame: Frame) -> list[Note]:
    return [note for note in notes if note.start_s < frame.seconds and note.end_s > note.start_s]


def write_midi(parts: list[Part], path: Path) -> None:
    """Write `parts` as a MIDI file, one track and channel each. Raises UserError if mido is not installed."""
    try:
        import mido
    except ImportError as error:
        raise UserError("making instrumental music needs mido: run pip install mido") from error
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_S)
    channels = iter(channel for channel in range(16) if channel != DRUM_CHANNEL)
    for part in parts:
        channel = DRUM_CHANNEL if part.program is None else next(channels)
        track = mido.MidiTrack()
        if not file.tracks:
            track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))  # a beat is a second
        now = 0
        for time_s, message in sorted(_events(part, channel, mido), key=lambda event: event[0]):
            tick = round(time_s * TICKS_PER_S)
            track.append(message.copy(time=tick - now))
            now = tick
        file.tracks.append(track)
    file.save(str(path))


def _events(part: Part, channel: int, mido: Any) -> list[tuple[float, Any]]:
    """(time, message) of a part; at one time, those that end a note come before those that begin one."""
    events = [
        (0.0, mido.Message("control_change", channel=channel, control=7, value=part.level)),
        (0.0, mido.Message("control_change", channel=channel, control=91, value=part.reverb)),
    ]
    if part.program is not None:
        events.append((0.0, mido.Message("program_change", channel=channel, program=part.program)))
    events += [(n.end_s, mido.Message("note_off", channel=channel, note=n.key)) for n in part.notes]
    for time_s, semitones in part.bends:
        pitch = round(semitones / BEND_RANGE * 8191)
        events.append((time_s, mido.Message("pitchwheel", channel=channel, pitch=pitch)))
    on = [(n.start_s, mido.Message("note_on", channel=channel, note=n.key, velocity=n.velocity)) for n in part.notes]
    return events + on
