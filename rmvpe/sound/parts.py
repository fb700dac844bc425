"""What every reader gives: consecutive parts of a recording, and what it has to report about the file."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Part:
    """A stretch of sound at one sample rate.

    blocks: consecutive arrays [frames, channels], floats of full scale 1. start_s: where the part begins on the file's
    timeline; None: where the part before it ends. frames: how many are expected, if that is known.
    """

    sample_rate: float
    blocks: Iterator[np.ndarray]
    start_s: float | None = None
    frames: int | None = None


@dataclass
class Findings:
    """Sentences about a file, collected while it is read.

    warnings: sound is missing. notes: all is there, but something was decided that the user may want to know.
    """

    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        """Add a warning once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def note(self, sentence: str) -> None:
        """Add a note once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
