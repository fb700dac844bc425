"""What may be chosen of the files of notes."""

from dataclasses import dataclass

from rmvpe.config_check import ConfigError, check_ranges, shown

BEND_RANGES = (2, 12, 24)  # semitones: the smallest that fits is used; instruments have 2 when they are switched on
MAX_BEND_RANGE = 24
TEMPO_BPM = (20.0, 300.0)


@dataclass(frozen=True)
class NoteFileOptions:
    """How notes are written. Raises ConfigError for an option of the wrong type or out of range.

    tempo_bpm: quarter notes per minute, 20 to 300, of formats that have beats; it moves no note, only the bars over
    them. bends: MIDI follows the f0 inside each note by pitch bends; False writes the nearest notes without bends.
    bend_range: semitones that the largest bend stands for, 1 to 24; None takes the smallest of 2, 12 and 24 that
    fits. title: name of the song or track, at most 4096 letters.
    """

    tempo_bpm: float = 120.0
    bends: bool = True
    bend_range: int | None = None
    title: str = ""

    def __post_init__(self) -> None:
        check_ranges(self, {"tempo_bpm": TEMPO_BPM})
        value = self.bend_range
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_BEND_RANGE:
            raise ConfigError(
                f"bend_range must be a whole number of semitones from 1 to {MAX_BEND_RANGE}, not {shown(value)}"
            )
