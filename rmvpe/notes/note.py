"""One note: when it sounds, its pitch as a MIDI number with cents, how loud it is and how sure."""

from dataclasses import dataclass

from rmvpe.pitch import A4_HZ, MIDI_A4

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True)
class Note:
    """A sung or played note.

    onset_s, offset_s: seconds from the start of the audio. pitch_midi: MIDI number (A4 = 69 = 440 Hz) whose fraction
    is cents: 69.25 is 25 cents above A4. velocity: 1 to 127, by the energy at the harmonics; None where only f0 was
    known. confidence: mean of the track's over the note's voiced frames, 0 to 1; None where it was not known.
    """

    onset_s: float
    offset_s: float
    pitch_midi: float
    velocity: int | None = None
    confidence: float | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from onset to offset."""
        return self.offset_s - self.onset_s

    @property
    def pitch_hz(self) -> float:
        """The pitch in Hz."""
        return float(A4_HZ * 2.0 ** ((self.pitch_midi - MIDI_A4) / 12.0))

    @property
    def name(self) -> str:
        """The nearest note's name by scientific pitch notation: "C4" is MIDI 60."""
        return note_name(round_half_up(self.pitch_midi))

    @property
    def cents(self) -> float:
        """How far the pitch is above the note of `name`, -50 to 50 cents."""
        return 100.0 * (self.pitch_midi - round_half_up(self.pitch_midi))


def round_half_up(pitch_midi: float) -> int:
    """The nearest whole MIDI number; halfway it is the upper one, always (Python's own rounding goes to even)."""
    return int((pitch_midi + 0.5) // 1)


def note_name(number: int) -> str:
    """The name of a whole MIDI number: 60 is "C4", 61 "C#4"."""
    return f"{NAMES[number % 12]}{number // 12 - 1}"
