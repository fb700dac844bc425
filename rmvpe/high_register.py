"""A second pass for notes that some weights cannot find: over audio that is an octave lower.

The published weights were trained with key shifts upward only and give notes above about 1040 Hz an octave too low. The
second pass sees a spectrogram of the same frames with all frequencies halved: a note of 1000 to 2000 Hz looks like one
of 500 to 1000 Hz, which all weights know. Its f0, doubled, is used where it is above `SWITCH_HZ` and the first pass is
not confident of another note. All other frames keep f0 and confidence of the first pass, bit for bit.

Each pass is decoded separately. Where the first pass falls an octave, its Viterbi path needs two frames and gives a
pitch between the two notes there; the local average has no such frames.
"""

from dataclasses import replace

import numpy as np

from rmvpe import calibration
from rmvpe.config import DecodeConfig
from rmvpe.pitch import N_BINS, bins_to_hz

KEY_SHIFT_SEMITONES = -12.0  # of the second pass's spectrogram
SWITCH_HZ = 1000.0  # 68 cents below 1040 Hz, up to which the published weights are right
TOP_HZ = float(bins_to_hz(np.array(N_BINS - 1)))  # 2005.5: the range of f0 stays that of one pass
SEMITONE = 2.0 ** (1 / 12)
SURER = 2.0  # how many times as confident a pass must be to overrule the other one
Pitches = tuple[np.ndarray, np.ndarray]  # f0 in Hz, float64 [frames], and its confidence, float32 [frames]


def is_wanted(config: DecodeConfig) -> bool:
    """Whether a second pass is asked for and can find anything below the upper f0 limit."""
    return config.high_register and config.f0_max_hz > SWITCH_HZ


def first_pass(config: DecodeConfig) -> DecodeConfig:
    """The settings to decode the first pass with: those of one pass, with salience itself as confidence."""
    return replace(config, calibration=calibration.NONE)


def second_pass(config: DecodeConfig) -> DecodeConfig:
    """The settings to decode the second pass with: as the first, with half the f0 limits, because f0 is doubled."""
    return replace(first_pass(config), f0_min_hz=config.f0_min_hz / 2, f0_max_hz=config.f0_max_hz / 2)


def join(first: Pitches, second: Pitches) -> Pitches:
    """One f0 and confidence, both [frames], from those of `rmvpe.decode.pitch` in each pass, `second` not yet doubled.

    The second pass counts only where its doubled f0 is above `SWITCH_HZ`, up to `TOP_HZ`. There it needs more than half
    of the first pass's confidence if the first pass gives the note an octave lower, or the same note above `SWITCH_HZ`,
    within a semitone; against any other note it needs more than twice. So rare errors of the second pass change little
    below `SWITCH_HZ`. Threshold and calibration play no part: the pitch does not depend on voicing.
    """
    f0_hz, confidence = first
    high_hz, high_confidence = 2.0 * second[0], second[1]
    inside = (high_hz > SWITCH_HZ) & (high_hz <= TOP_HZ)
    # Just above SWITCH_HZ, near the top of its range, the first pass is flat; the second is far from its own top
    confirmed = _same_note(2.0 * f0_hz, high_hz) | (_same_note(f0_hz, high_hz) & (f0_hz > SWITCH_HZ))
    required = np.where(confirmed, 1.0 / SURER, SURER)
    taken = inside & (high_confidence > required * confidence)
    return np.where(taken, high_hz, f0_hz), np.where(taken, high_confidence, confidence)


def _same_note(a_hz: np.ndarray, b_hz: np.ndarray) -> np.ndarray:
    """Whether two f0 [frames] in Hz are within a semitone of each other, bool [frames]."""
    return (a_hz >= b_hz / SEMITONE) & (a_hz <= b_hz * SEMITONE)
