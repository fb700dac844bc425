"""Settings of note finding: what a user may choose, in milliseconds."""

import math
from dataclasses import dataclass, fields

from rmvpe.config_check import ConfigError

LONGEST_MS = 10_000.0


@dataclass(frozen=True)
class NoteConfig:
    """How notes are found. Raises ConfigError for a setting that is out of range or contradicts another.

    shortest_note_ms: no note is shorter. shortest_gap_ms: a shorter gap between two notes is closed: the first one
    lasts until the second. hold_ms: a note lasts over an unvoiced gap of at most this length if it goes on at the same
    pitch and nothing tells of a new note; 0 ends it at each gap.
    """

    shortest_note_ms: float = 60.0
    shortest_gap_ms: float = 20.0
    hold_ms: float = 80.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ConfigError(f"{field.name} must be a number of milliseconds, not {value!r}")
            if not 0.0 <= value <= LONGEST_MS:
                raise ConfigError(f"{field.name} must be from 0 to {LONGEST_MS:g} ms, not {value:g}")
