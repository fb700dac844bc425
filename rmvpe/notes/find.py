"""f0, confidence and level -> notes, by an exact dynamic programme over all ways to cut a recording into notes.

A recording is a row of segments: rests, and notes with one pitch each. Every way to cut it has a cost; the cheapest one
is found exactly. The costs, in arbitrary units, per 10 ms where they are per time:

- a note: per voiced frame, the distance of the f0 from the note's pitch in semitones, at most `Costs.far`; so a
  vibrato or a scoop is cheaper than a new note. Per unvoiced frame, what makes a gap of `hold_ms` as dear as a new
  note.
- a rest: `Costs.rest` per voiced frame, times the frame's confidence; nothing per unvoiced frame.
- the beginning of a note: `Costs.after_rest` or `Costs.after_note`, less where the level says that one begins.

The pitch of a note is searched on a grid of a fifth of a semitone and then measured, to the cent, as the median of the
middle of the note.
"""

from dataclasses import dataclass

import numpy as np

from rmvpe.interpolation import f0_at_times
from rmvpe.notes.note import Note
from rmvpe.notes.settings import NoteConfig
from rmvpe.pitch import hz_to_midi

STEP_S = 0.01  # of the frames that notes are made of
GRID = 0.2  # semitones between two pitches that are tried


@dataclass(frozen=True)
class Costs:
    """What a way to cut a recording costs; see the module."""

    far: float = 1.5
    rest: float = 1.0
    after_rest: float = 4.0
    after_note: float = 6.0


COSTS = Costs()


@dataclass(frozen=True)
class Frames:
    """What notes are found in, on an even grid of 10 ms: all [frames].

    start_s: the time of frame 0. pitch: MIDI numbers, only where voiced. voiced: bool. confidence: 0 to 1.
    level_db: level at the harmonics, or None.
    """

    start_s: float
    pitch: np.ndarray
    voiced: np.ndarray
    confidence: np.ndarray
    level_db: np.ndarray | None = None


def on_grid(
    time_s: np.ndarray,
    f0_hz: np.ndarray,
    voiced: np.ndarray,
    confidence: np.ndarray,
    level_db: np.ndarray | None = None,
) -> Frames:
    """The frames of a track at 10 ms. All arguments [n], times in seconds, growing."""
    if not len(time_s):
        empty = np.zeros(0)
        return Frames(0.0, empty, empty > 0, empty, None if level_db is None else empty)
    grid = time_s[0] + STEP_S * np.arange(int((time_s[-1] - time_s[0]) / STEP_S + 1e-6) + 1)
    hz = f0_at_times(time_s, np.where(voiced, f0_hz, 0.0), grid)
    level = None if level_db is None else np.interp(grid, time_s, level_db)
    return Frames(float(time_s[0]), hz_to_midi(hz), hz > 0, np.interp(grid, time_s, confidence), level)


def find_notes(frames: Frames, config: NoteConfig, costs: Costs = COSTS) -> tuple[Note, ...]:
    """The notes of `frames`, by onset."""
    return tuple(_note(frames, first, stop) for first, stop in segments(frames, config, costs))


def segments(frames: Frames, config: NoteConfig, costs: Costs = COSTS) -> list[tuple[int, int]]:
    """[first, stop) of each note, in frames."""
    n = len(frames.voiced)
    if not frames.voiced.any():
        return []
    pitch = frames.pitch
    grid = np.arange(pitch[frames.voiced].min() - GRID, pitch[frames.voiced].max() + 2 * GRID, GRID)
    shortest = max(1, round(config.shortest_note_ms / 1000 / STEP_S))
    gap = costs.after_rest / max(config.hold_ms / 1000 / STEP_S, 1e-3)
    rest_cost = np.where(frames.voiced, costs.rest * frames.confidence, 0.0)
    in_rest, in_note = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    from_note = np.zeros(n + 1, dtype=bool)  # the rest before t began with a note's end at t - 1
    after_note = np.zeros(n + 1, dtype=bool)  # entry of a note at t: from a note, not from a rest
    began = np.zeros(n + 1, dtype=np.int64)  # first frame of the best note that stops at t
    in_rest[0] = 0.0
    entry = np.full(n + 1, np.inf)
    entry[0] = costs.after_rest
    total = np.zeros(len(grid))  # cost of all frames so far as a part of one note, by pitch
    totals = np.zeros((shortest + 1, len(grid)))  # of the last frames, in a ring
    best = np.full(len(grid), np.inf)  # of all beginnings so far: cost until there, less `total` there
    since = np.zeros(len(grid), dtype=np.int64)
    for t in range(1, n + 1):
        here = np.minimum(np.abs(pitch[t - 1] - grid), costs.far) if frames.voiced[t - 1] else gap
        total = total + here
        totals[t % (shortest + 1)] = total
        s = t - shortest
        if s >= 0:
            new = entry[s] - totals[s % (shortest + 1)]
            better = new < best
            best = np.where(better, new, best)
            since = np.where(better, s, since)
            sums = best + total
            k = int(sums.argmin())
            in_note[t], began[t] = sums[k], since[k]
        from_note[t] = in_note[t - 1] < in_rest[t - 1]
        in_rest[t] = min(in_rest[t - 1], in_note[t - 1]) + rest_cost[t - 1]
        rest, note = in_rest[t] + costs.after_rest, in_note[t] + costs.after_note
        after_note[t] = note < rest
        entry[t] = min(rest, note)
    found: list[tuple[int, int]] = []
    t, noted = n, bool(in_note[n] < in_rest[n])
    while t > 0:
        if noted:
            found.append((int(began[t]), t))
            t = int(began[t])
            noted = bool(after_note[t])
        else:
            noted = bool(from_note[t])
            t -= 1
    return found[::-1]


def _note(frames: Frames, first: int, stop: int) -> Note:
    voiced = first + np.flatnonzero(frames.voiced[first:stop])
    middle = voiced[len(voiced) // 5 : len(voiced) - len(voiced) // 5]
    return Note(
        round(frames.start_s + first * STEP_S, 6),
        round(frames.start_s + stop * STEP_S, 6),
        float(np.median(frames.pitch[middle])),
        None,
        float(frames.confidence[voiced].mean()),
    )
