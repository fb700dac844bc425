"""The notes of synthetic singing: those a melody was drawn with, where its voice sounds; and syllables to sing them on.

"frames" are WORLD's 5 ms frames. A row of notes is (onset s, offset s, MIDI), as in the labels of data sets.
"""

import itertools

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.synthesis.contours import FRAME_S, Melody, runs
from rmvpe.data.synthesis.world_voice import Analysis
from rmvpe.notes.note import Note, round_half_up

LONGEST_BREAK_S = 0.1  # inside a note; a longer pause ends it
SHORTEST_NOTE_S = 0.05  # less is a remainder between a pause and the next note
BAND_HZ = (500.0, 4000.0)  # where nasals and liquids are fainter than vowels, whatever the pitch; hiss lies above
DIP_DB = 6.0  # between two syllables, below the quieter of them
EDGE_DB = 12.0  # a syllable's note begins where it is this much below its loudest frame
SHORTEST_SYLLABLE_S = 0.1
LONG_SYLLABLE_S = 0.6  # longer ones may be sung on several notes
MELISMA = 0.3  # share of long syllables that are


def notes_of_melody(melody: Melody, voiced: np.ndarray) -> list[Note]:
    """The notes that sound: each drawn note where `voiced` [frames], in parts at pauses of more than 0.1 s.

    Where the next note has the same pitch, within half a semitone, and follows without any pause, no one could hear
    where it begins: the two are one note.
    """
    notes: list[tuple[int, int, float]] = []
    for start, end, pitch in zip(melody.edges[:-1], melody.edges[1:], melody.pitches, strict=True):
        parts: list[tuple[int, int]] = []
        for first, stop in runs(voiced[start:end]):
            if parts and first - parts[-1][1] <= LONGEST_BREAK_S / FRAME_S:
                parts[-1] = (parts[-1][0], stop)
            else:
                parts.append((first, stop))
        notes += [(start + first, start + stop, pitch) for first, stop in parts]
    joined: list[tuple[int, int, float]] = []
    for first, stop, pitch in notes:
        if joined and joined[-1][1] == first and abs(joined[-1][2] - pitch) < 0.5:
            before = joined[-1]
            share = (stop - first) / (stop - before[0])
            joined[-1] = (before[0], stop, share * pitch + (1 - share) * before[2])
        elif (stop - first) * FRAME_S >= SHORTEST_NOTE_S:
            joined.append((first, stop, pitch))
    return [_note(first, stop, pitch) for first, stop, pitch in joined]


def _note(first: int, stop: int, pitch: float) -> Note:
    return Note(round(first * FRAME_S, 6), round(stop * FRAME_S, 6), float(pitch))


def syllables(frames: Analysis) -> list[tuple[int, int]]:
    """[first, stop) of each syllable's loud part: where a singer who sings one note to a syllable holds it.

    Syllables are parted by silence, by voiceless sounds, and by dips of loudness of 6 dB, such as an m or an l makes.
    """
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, frames.log_envelope.shape[1])
    band = (bins >= BAND_HZ[0]) & (bins <= BAND_HZ[1])
    level = 10 * np.log10(np.exp(frames.log_envelope[:, band].astype(np.float64)).sum(axis=1))
    level = np.convolve(np.pad(level, 3, mode="edge"), np.full(7, 1 / 7), mode="valid")
    found: list[tuple[int, int]] = []
    for start, end in runs(frames.voiced):
        borders = [start, *(start + dip for dip in _dips(level[start:end])), end]
        for first, stop in _long_enough(borders, level):
            peak = level[first:stop].max()
            loud = first + np.flatnonzero(level[first:stop] >= peak - EDGE_DB)
            if (loud[-1] + 1 - loud[0]) * FRAME_S >= SHORTEST_SYLLABLE_S:
                found.append((int(loud[0]), int(loud[-1]) + 1))
    return found


def _long_enough(borders: list[int], level: np.ndarray) -> list[tuple[int, int]]:
    """The parts between `borders`; one that is too short joins its neighbour over the shallower dip."""
    borders = list(borders)
    while len(borders) > 2:
        lengths = np.diff(borders)
        short = int(lengths.argmin())
        if lengths[short] * FRAME_S >= SHORTEST_SYLLABLE_S:
            break
        inner = [border for border in (short, short + 1) if 0 < border < len(borders) - 1]
        del borders[max(inner, key=lambda border: level[borders[border]])]
    return list(itertools.pairwise(borders))


def _dips(level: np.ndarray) -> list[int]:
    """Frames of the lowest level between two rises of at least `DIP_DB`."""
    dips: list[int] = []
    peak, low, at, falling = level[0], level[0], 0, False
    for frame, value in enumerate(level):
        if falling:
            if value < low:
                low, at = value, frame
            elif value >= low + DIP_DB:
                dips.append(at)
                falling, peak = False, value
        elif value > peak:
            peak = value
        elif value <= peak - DIP_DB:
            falling, low, at = True, value, frame
    return dips


def syllable_edges(parts: list[tuple[int, int]], frames: int, rng: np.random.Generator) -> np.ndarray:
    """Frames where notes begin, from 0 to `frames`: between two syllables, and in some long ones."""
    edges = [0, frames]
    edges += [(stop + first) // 2 for (_, stop), (first, _) in itertools.pairwise(parts)]
    for first, stop in parts:
        if (stop - first) * FRAME_S > LONG_SYLLABLE_S and rng.random() < MELISMA:
            count = int(rng.integers(1, 3))
            edges += [int(first + (stop - first) * share) for share in (np.arange(count) + 1) / (count + 1)]
    return np.unique(edges)


def notes_of_syllables(melody: Melody, parts: list[tuple[int, int]]) -> list[Note]:
    """The notes of a melody sung on syllables: a note sounds only where a syllable is loud.

    Two parts of a syllable at the same pitch are one note.
    """
    notes = []
    for first, stop in parts:
        pieces: list[tuple[int, int, float]] = []
        for start, end, pitch in zip(melody.edges[:-1], melody.edges[1:], melody.pitches, strict=True):
            low, high = max(first, start), min(stop, end)
            if high <= low:
                continue
            if pieces and round_half_up(pieces[-1][2] - pitch) == 0:
                pieces[-1] = (pieces[-1][0], high, pieces[-1][2])
            else:
                pieces.append((low, high, pitch))
        notes += [_note(*piece) for piece in pieces]
    return notes
