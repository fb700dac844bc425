"""Notes above the range of weights that lack it: a second pass that hears everything an octave lower.

The published weights were trained with key shifts upward only and read notes above about 1040 Hz an octave low. In the
second pass the spectrogram is that of the same frames with its frequencies halved, so that a note of 1000 to 2000 Hz
looks like one of 500 to 1000 Hz, which all weights know. Its f0, doubled, is taken where it is higher than `SWITCH_HZ`
and the first pass is not sure of another note; all other frames keep the first pass's f0 and confidence to the bit.

Each pass is decoded by itself. Viterbi's path through the first, where it falls that octave, is two frames on its way
and reads a pitch between the notes there; the local average has no such frames.
"""

from dataclasses import replace

import numpy as np

from rmvpe import calibration
from rmvpe.config import DecodeConfig
from rmvpe.pitch import N_BINS, bins_to_hz

KEY_SHIFT_SEMITONES = -12.0  # of the second pass's spectrogram
SWITCH_HZ = 1000.0  # 68 cents under the 1040 Hz up to which the published weights read right
TOP_HZ = float(bins_to_hz(np.array(N_BINS - 1)))  # 2005.5: the answer's range stays that of one pass
SEMITONE = 2.0 ** (1 / 12)
SURER = 2.0  # times as confident
Pitches = tuple[np.ndarray, np.ndarray]  # f0 in Hz, float64 [frames], and its confidence, float32 [frames]


def is_wanted(config: DecodeConfig) -> bool:
    """Whether a second pass is asked for and could find anything below the upper f0 limit."""
    return config.high_register and config.f0_max_hz > SWITCH_HZ


def first_pass(config: DecodeConfig) -> DecodeConfig:
    """How the first pass is decoded, from settings of one: its confidence is salience as it is."""
    return replace(config, calibration=calibration.NONE)


def second_pass(config: DecodeConfig) -> DecodeConfig:
    """How the second pass is decoded: as the first, within limits that are those of the doubled f0."""
    return replace(first_pass(config), f0_min_hz=config.f0_min_hz / 2, f0_max_hz=config.f0_max_hz / 2)


def join(first: Pitches, second: Pitches) -> Pitches:
    """One f0 and confidence per frame from both passes' `rmvpe.decode.pitch`, the second's as it heard it, halved.

    The second pass counts only where its doubled f0 lies above `SWITCH_HZ`, up to `TOP_HZ`. Where the first reads an
    octave below it, or the same note above the switch, within a semitone, more than half of the first's confidence will
    do; against any other reading it takes more than twice. So a second pass that errs now and then changes little
    below the switch. Neither a threshold nor the calibration is asked: the pitch does not depend on voicing.
    """
    f0_hz, confidence = first
    high_hz, high_confidence = 2.0 * second[0], second[1]
    inside = (high_hz > SWITCH_HZ) & (high_hz <= TOP_HZ)
    # Right above the switch, near the top of its range, the first pass reads flat: the second is far from its own top
    confirmed = _same_note(2.0 * f0_hz, high_hz) | (_same_note(f0_hz, high_hz) & (f0_hz > SWITCH_HZ))
    asked = np.where(confirmed, 1.0 / SURER, SURER)
    taken = inside & (high_confidence > asked * confidence)
    return np.where(taken, high_hz, f0_hz), np.where(taken, high_confidence, confidence)


def _same_note(a_hz: np.ndarray, b_hz: np.ndarray) -> np.ndarray:
    """Whether two f0 > 0 [frames] are within a semitone of each other, bool [frames]."""
    return (a_hz >= b_hz / SEMITONE) & (a_hz <= b_hz * SEMITONE)
