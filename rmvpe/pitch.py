"""Pitch units: Hz, cents, salience bins and MIDI semitones.

All conversions have one origin: 0 cents is `REFERENCE_HZ` = 10 Hz, and bin 0 of the salience is at `BIN0_CENTS` =
1997.3794... cents, which is 31.70 Hz. The number comes from CREPE (Kim et al. 2018, https://arxiv.org/abs/1802.06182,
doi 10.1109/ICASSP.2018.8461329). RMVPE (Wei et al. 2023, https://arxiv.org/abs/2306.15412) has the same 360 bins of 20
cents, from 31.70 Hz to 2005.5 Hz. All digits are kept because the published weights were trained with them;
`1200 * log2(31.70 / 10)` differs by 6e-5 cents.

Unvoiced is 0 Hz and MIDI 0, in the arguments and in the results of every function here. It never becomes a pitch. All
arrays may have any shape, results have the shape of the argument and are float64.
"""

import numpy as np

REFERENCE_HZ = 10.0
CENTS_PER_BIN = 20.0
N_BINS = 360
BIN0_CENTS = 1997.3794084376191
MIDI_A4 = 69.0
A4_HZ = 440.0


def hz_to_cents(f0_hz: np.ndarray) -> np.ndarray:
    """Cents above 10 Hz [...] of frequencies [...] in Hz; 0 Hz (unvoiced) gives -inf."""
    with np.errstate(divide="ignore"):
        return 1200.0 * np.log2(np.asarray(f0_hz, dtype=np.float64) / REFERENCE_HZ)


def cents_to_hz(cents: np.ndarray) -> np.ndarray:
    """Frequencies [...] in Hz of cents above 10 Hz [...]; -inf (unvoiced) gives 0 Hz."""
    return REFERENCE_HZ * np.exp2(np.asarray(cents, dtype=np.float64) / 1200.0)


def bins_to_cents(bins: np.ndarray) -> np.ndarray:
    """Cents above 10 Hz [...] of salience bins [...], which may be fractions."""
    return CENTS_PER_BIN * np.asarray(bins, dtype=np.float64) + BIN0_CENTS


def cents_to_bins(cents: np.ndarray) -> np.ndarray:
    """Fractional salience bins [...] of cents above 10 Hz [...]."""
    return (np.asarray(cents, dtype=np.float64) - BIN0_CENTS) / CENTS_PER_BIN


def bins_to_hz(bins: np.ndarray) -> np.ndarray:
    """Frequencies [...] in Hz of salience bins [...], which may be fractions."""
    return cents_to_hz(bins_to_cents(bins))


def hz_to_bins(f0_hz: np.ndarray) -> np.ndarray:
    """Fractional salience bins [...] of frequencies [...] in Hz; 0 Hz (unvoiced) gives -inf."""
    return cents_to_bins(hz_to_cents(f0_hz))


def hz_to_midi(f0_hz: np.ndarray) -> np.ndarray:
    """MIDI semitones [...] (A4 = 69 = 440 Hz) of frequencies [...] in Hz; 0 Hz (unvoiced) stays 0."""
    f0_hz = np.asarray(f0_hz, dtype=np.float64)
    safe = np.where(f0_hz > 0, f0_hz, A4_HZ)
    return np.where(f0_hz > 0, MIDI_A4 + 12.0 * np.log2(safe / A4_HZ), 0.0)


def midi_to_hz(midi: np.ndarray) -> np.ndarray:
    """Frequencies [...] in Hz of MIDI semitones [...]; 0 (unvoiced, as in .pv files) stays 0."""
    midi = np.asarray(midi, dtype=np.float64)
    return np.where(midi > 0, A4_HZ * np.exp2((midi - MIDI_A4) / 12.0), 0.0)


def cents_between(f0_hz: np.ndarray, reference_hz: np.ndarray) -> np.ndarray:
    """Signed distances [...] in cents from `reference_hz` [...] to `f0_hz` [...], both above 0 Hz."""
    return 1200.0 * np.log2(np.asarray(f0_hz, dtype=np.float64) / np.asarray(reference_hz, dtype=np.float64))
