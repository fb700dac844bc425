"""f0, confidence and level -> notes, by an exact dynamic programme over all ways to cut a recording into notes.

A recording is a row of segments: rests, and notes with one pitch each. Every way to cut it has a cost; the cheapest one
is found exactly. Costs are per 10 ms where they are per time; their unit has no meaning, only ratios do:

- a note: per voiced frame, the distance of the f0 from the note's pitch in semitones, at most `Costs.far`: so a vibrato
  or a scoop is cheaper than a new note. Per unvoiced frame, what makes a gap of `hold_ms` as dear as a new note. Per
  frame that is much quieter than its neighbourhood, up to `Costs.quiet`.
- a rest: per voiced frame, up to `Costs.rest`: less for a frame of little confidence, and less for one that is much
  quieter than its neighbourhood, such as an m between two syllables. Nothing per unvoiced frame.
- the beginning of a note: `Costs.after_rest` or `Costs.after_note`. After a note, a dip of the level that parts the two
  makes it cheaper, at most by `Costs.dip`, and in both cases a rise of the level does, at most by `Costs.rise`.

"Much quieter" goes by decibels below the loudest frame around: nothing up to `Costs.near_db`, all from `Costs.far_db`.
The pitch of a note is searched on a grid of a fifth of a semitone and then measured as the median of the middle of the
note. The costs were fitted on synthetic singing (`scripts/fit_notes.py`).
"""

import itertools
from dataclasses import dataclass

import numpy as np

from rmvpe.interpolation import f0_at_times
from rmvpe.notes.note import Note
from rmvpe.notes.settings import NoteConfig
from rmvpe.pitch import hz_to_midi

STEP_S = 0.01  # of the frames that notes are made of
LONGEST_JUMP_S = 1.0  # in a track's times; beyond it the parts have nothing to do with each other
GRID = 0.2  # semitones between two pitches that are tried


@dataclass(frozen=True)
class Costs:
    """What a way to cut a recording costs; see the module. Times in frames of 10 ms."""

    far: float = 1.5
    rest: float = 1.0
    quiet: float = 0.3
    near_db: float = 6.0
    far_db: float = 20.0
    around: int = 20
    after_rest: float = 4.0
    after_note: float = 6.0
    dip: float = 4.0
    dip_db: float = 10.0
    rise: float = 2.0
    rise_db: float = 12.0


COSTS = Costs()
COSTS_WITHOUT_LEVEL = Costs()


@dataclass(frozen=True)
class Frames:
    """What notes are found in, on an even grid of 10 ms: all [frames].

    start_s: the time of frame 0. pitch: MIDI numbers, only where voiced. voiced: bool. confidence: 0 to 1. level_db,
    articulation_db: levels at the harmonics (`rmvpe.notes.loudness`), plain for velocities, with emphasis on the upper
    ones for where notes begin; both None if the sound is not known.
    """

    start_s: float
    pitch: np.ndarray
    voiced: np.ndarray
    confidence: np.ndarray
    level_db: np.ndarray | None = None
    articulation_db: np.ndarray | None = None


def sections(time_s: np.ndarray) -> list[slice]:
    """The parts of a track between jumps in time of more than a second; `time_s` [n] grows."""
    borders = [0, *(np.flatnonzero(np.diff(time_s) > LONGEST_JUMP_S) + 1), len(time_s)]
    return [slice(int(first), int(stop)) for first, stop in itertools.pairwise(borders) if stop > first]


def on_grid(
    time_s: np.ndarray,
    f0_hz: np.ndarray,
    voiced: np.ndarray,
    confidence: np.ndarray,
    level_db: np.ndarray | None = None,
    articulation_db: np.ndarray | None = None,
) -> Frames:
    """The frames of a track at 10 ms; times that are missing are unvoiced.

    All arguments [n], n > 0, times in seconds, growing.
    """
    grid = time_s[0] + STEP_S * np.arange(int((time_s[-1] - time_s[0]) / STEP_S + 1e-6) + 1)
    hz = f0_at_times(time_s, np.where(voiced, f0_hz, 0.0), grid)
    right = np.searchsorted(time_s, grid).clip(max=len(time_s) - 1)
    away = np.minimum(np.abs(time_s[right] - grid), np.abs(grid - time_s[np.maximum(right - 1, 0)]))
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else STEP_S
    hz = np.where(away <= 0.75 * max(step, STEP_S), hz, 0.0)
    level, articulation = (
        None if levels is None else np.interp(grid, time_s, levels) for levels in (level_db, articulation_db)
    )
    return Frames(float(time_s[0]), hz_to_midi(hz), hz > 0, np.interp(grid, time_s, confidence), level, articulation)


def find_notes(frames: Frames, config: NoteConfig, costs: Costs | None = None) -> tuple[Note, ...]:
    """The notes of `frames`, by onset, without velocities. costs: by default those fitted to what is known."""
    if costs is None:
        costs = COSTS if frames.articulation_db is not None else COSTS_WITHOUT_LEVEL
    found = segments(frames, config, costs)
    closed = round(config.shortest_gap_ms / 1000 / STEP_S)
    ends = [after if after - stop < closed else stop for (_, stop), (after, _) in itertools.pairwise(found)]
    ends += [stop for _, stop in found[-1:]]
    return tuple(_note(frames, first, stop, end) for (first, stop), end in zip(found, ends, strict=True))


def segments(frames: Frames, config: NoteConfig, costs: Costs) -> list[tuple[int, int]]:
    """[first, stop) of each note, in frames."""
    n = len(frames.voiced)
    if not frames.voiced.any():
        return []
    pitch = frames.pitch
    grid = np.arange(pitch[frames.voiced].min() - GRID, pitch[frames.voiced].max() + 2 * GRID, GRID)
    shortest = max(1, round(config.shortest_note_ms / 1000 / STEP_S))
    gap = costs.after_rest / max(config.hold_ms / 1000 / STEP_S, 1e-3)
    faint, begins, parts = evidence(frames.articulation_db, n, costs)
    rest_cost = np.where(frames.voiced, costs.rest * frames.confidence * (1.0 - faint), 0.0)
    note_cost = np.where(frames.voiced, costs.quiet * faint, gap)
    after_rest = costs.after_rest - costs.rise * begins
    after_note = np.maximum(costs.after_note - costs.rise * begins - costs.dip * parts, 0.0)
    in_rest, in_note = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    from_note = np.zeros(n + 1, dtype=bool)  # the rest before t began with a note's end at t - 1
    joined = np.zeros(n + 1, dtype=bool)  # entry of a note at t: from a note, not from a rest
    began = np.zeros(n + 1, dtype=np.int64)  # first frame of the best note that stops at t
    in_rest[0] = 0.0
    entry = np.full(n + 1, np.inf)
    entry[0] = after_rest[0]
    total = np.zeros(len(grid))  # cost of all frames so far as a part of one note, by pitch
    totals = np.zeros((shortest + 1, len(grid)))  # of the last frames, in a ring
    best = np.full(len(grid), np.inf)  # of all beginnings so far: cost until there, less `total` there
    since = np.zeros(len(grid), dtype=np.int64)
    for t in range(1, n + 1):
        total = total + note_cost[t - 1]
        if frames.voiced[t - 1]:
            total += np.minimum(np.abs(pitch[t - 1] - grid), costs.far)
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
        rest, note = in_rest[t] + after_rest[t], in_note[t] + after_note[t]
        joined[t] = note < rest
        entry[t] = min(rest, note)
    found: list[tuple[int, int]] = []
    t, noted = n, bool(in_note[n] < in_rest[n])
    while t > 0:
        if noted:
            found.append((int(began[t]), t))
            t = int(began[t])
            noted = bool(joined[t])
        else:
            noted = bool(from_note[t])
            t -= 1
    return found[::-1]


def evidence(level_db: np.ndarray | None, n: int, costs: Costs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the level tells: how faint each frame is, [n], and how much a note begins or is parted from one, [n + 1].

    All 0 to 1; entry t of the second and third is the border before frame t. All 0 without a level.
    """
    if level_db is None or not n:
        return np.zeros(n), np.zeros(n + 1), np.zeros(n + 1)
    before, after = _highest(level_db, costs.around), _highest(level_db[::-1], costs.around)[::-1]
    faint = np.clip((np.maximum(before, after) - level_db - costs.near_db) / (costs.far_db - costs.near_db), 0.0, 1.0)
    edge = np.pad(level_db, 3, mode="edge")
    rise = edge[4:-1] - edge[1:-4]  # from 20 ms before a border to 20 ms after it; [n + 1]
    begins = np.clip(rise / costs.rise_db, 0.0, 1.0)
    depth = np.minimum(before, after) - level_db
    near = _highest(_highest(depth, 3)[::-1], 3)[::-1]  # a border may lie 30 ms beside the bottom of the dip
    parts = np.clip(np.concatenate([near, near[-1:]]) / costs.dip_db, 0.0, 1.0)
    return faint, begins, parts


def _highest(values: np.ndarray, frames: int) -> np.ndarray:
    """The highest of each value and the `frames` before it."""
    padded = np.pad(values, (frames, 0), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, frames + 1).max(axis=1)


def _note(frames: Frames, first: int, stop: int, end: int) -> Note:
    voiced = first + np.flatnonzero(frames.voiced[first:stop])
    middle = voiced[len(voiced) // 5 : len(voiced) - len(voiced) // 5]
    return Note(
        round(frames.start_s + first * STEP_S, 6),
        round(frames.start_s + end * STEP_S, 6),
        float(np.median(frames.pitch[middle])),
        None,
        float(frames.confidence[voiced].mean()),
    )
