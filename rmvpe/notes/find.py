"""f0, confidence and levels -> notes, by an exact dynamic programme over all ways to cut a recording into notes.

A recording is a row of segments: rests, and notes with one pitch each. Every way to cut it has a cost; the cheapest one
is found exactly. Two things cost: what the f0 does, and what is improbable by the evidence (`rmvpe.notes.evidence`),
which gives log-odds that a note begins, ends or sounds at an instant. Per frame of 10 ms:

- a note costs, where it is voiced, the distance of the f0 from the note's pitch, `Costs.semitone` per semitone, at
  most `Costs.far`: so a vibrato or a scoop is cheaper than a new note; where it is not, `Costs.gap`; and
  `Costs.sounds` times -log of the probability that a note sounds.
- a rest costs `Costs.sounds` times -log of the probability that none does; in unvoiced frames `Costs.silent` of it.

The beginning of a note costs `Costs.after_rest` or `Costs.after_note`, less `Costs.begins` times the log-odds that one
begins; its end is a gain of `Costs.ends` times the log-odds that one ends.

No note lasts over an unvoiced gap longer than `hold_ms` or is shorter than `shortest_note_ms`. Its pitch is searched on
a grid of a fifth of a semitone and then measured as the median of its middle. The costs were fitted on synthetic
singing (`scripts/fit_notes.py`).
"""

import itertools
from dataclasses import dataclass

import numpy as np

from rmvpe.interpolation import f0_at_times
from rmvpe.notes.evidence import Evidence, evidence, network
from rmvpe.notes.note import Note
from rmvpe.notes.settings import NoteConfig
from rmvpe.pitch import hz_to_midi

STEP_S = 0.01  # of the frames that notes are made of
LONGEST_JUMP_S = 1.0  # in a track's times; beyond it the parts have nothing to do with each other
GRID = 0.2  # semitones between two pitches that are tried
NEVER = 1e6  # costs more than any recording's worth of frames could
LEAST_LOG_ODDS, MOST_LOG_ODDS = -6.0, 5.0  # no instant decides alone


@dataclass(frozen=True)
class Costs:
    """What a way to cut a recording costs; see the module."""

    semitone: float = 0.7
    far: float = 2.1
    gap: float = 0.36
    sounds: float = 0.61
    silent: float = 0.72
    after_rest: float = 1.16
    after_note: float = 3.0
    begins: float = 1.16
    ends: float = 0.88


WITH_SOUND = Costs(
    semitone=0.627,
    far=7.565,
    gap=0.832,
    sounds=0.802,
    silent=1.541,
    after_rest=1.028,
    after_note=2.845,
    begins=2.426,
    ends=0.703,
)
WITHOUT_SOUND = Costs(
    semitone=0.67,
    far=1.513,
    gap=0.265,
    sounds=0.518,
    silent=6.572,
    after_rest=1.594,
    after_note=6.669,
    begins=1.105,
    ends=3.878,
)


@dataclass(frozen=True)
class Frames:
    """What notes are found in, on an even grid of 10 ms: all [frames].

    start_s: the time of frame 0. pitch: MIDI numbers, only where voiced. voiced: bool. confidence: 0 to 1. level_db,
    bands_db [frames, 4]: levels at the harmonics (`rmvpe.notes.loudness`); both None if the sound is not known.
    """

    start_s: float
    pitch: np.ndarray
    voiced: np.ndarray
    confidence: np.ndarray
    level_db: np.ndarray | None = None
    bands_db: np.ndarray | None = None


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
    bands_db: np.ndarray | None = None,
) -> Frames:
    """The frames of a track at 10 ms; times that are missing are unvoiced.

    All arguments [n], bands_db [n, 4], n > 0; times in seconds, growing.
    """
    grid = time_s[0] + STEP_S * np.arange(int((time_s[-1] - time_s[0]) / STEP_S + 1e-6) + 1)
    hz = f0_at_times(time_s, np.where(voiced, f0_hz, 0.0), grid)
    right = np.searchsorted(time_s, grid).clip(max=len(time_s) - 1)
    away = np.minimum(np.abs(time_s[right] - grid), np.abs(grid - time_s[np.maximum(right - 1, 0)]))
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else STEP_S
    hz = np.where(away <= 0.75 * max(step, STEP_S), hz, 0.0)
    level = None if level_db is None else np.interp(grid, time_s, level_db)
    bands = None if bands_db is None else np.column_stack([np.interp(grid, time_s, band) for band in bands_db.T])
    return Frames(float(time_s[0]), hz_to_midi(hz), hz > 0, np.interp(grid, time_s, confidence), level, bands)


def find_notes(frames: Frames, config: NoteConfig, costs: Costs | None = None) -> tuple[Note, ...]:
    """The notes of `frames`, by onset, without velocities. costs: by default those fitted to what is known."""
    if not frames.voiced.any():
        return ()
    with_sound = frames.bands_db is not None
    known = evidence(
        frames.pitch, frames.voiced, frames.confidence, frames.level_db, frames.bands_db, network(with_sound)
    )
    if costs is None:
        costs = WITH_SOUND if with_sound else WITHOUT_SOUND
    return notes_from(frames, segments(frames, known, config, costs), config)


def notes_from(frames: Frames, found: list[tuple[int, int]], config: NoteConfig) -> tuple[Note, ...]:
    """The notes of segments [first, stop), with short gaps closed."""
    closed = round(config.shortest_gap_ms / 1000 / STEP_S)
    ends = [after if after - stop < closed else stop for (_, stop), (after, _) in itertools.pairwise(found)]
    ends += [stop for _, stop in found[-1:]]
    return tuple(_note(frames, first, stop, end) for (first, stop), end in zip(found, ends, strict=True))


def segments(frames: Frames, known: Evidence, config: NoteConfig, costs: Costs) -> list[tuple[int, int]]:
    """[first, stop) of each note, in frames: the cheapest way to cut them."""
    n, pitch, voiced = len(frames.voiced), frames.pitch, frames.voiced
    grid = np.arange(pitch[voiced].min() - GRID, pitch[voiced].max() + 2 * GRID, GRID)
    shortest = max(1, round(config.shortest_note_ms / 1000 / STEP_S))
    sounds = np.clip(known.sounds[:n], LEAST_LOG_ODDS, MOST_LOG_ODDS)
    begins = costs.begins * np.clip(known.begins, LEAST_LOG_ODDS, MOST_LOG_ODDS)
    ends = costs.ends * np.clip(known.ends, LEAST_LOG_ODDS, MOST_LOG_ODDS)
    rest_cost = costs.sounds * np.log1p(np.exp(sounds)) * np.where(voiced, 1.0, costs.silent)
    note_cost = costs.sounds * np.log1p(np.exp(-sounds)) + np.where(voiced, 0.0, costs.gap)
    note_cost[_long_gaps(voiced, round(config.hold_ms / 1000 / STEP_S))] += NEVER
    in_rest, in_note = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    from_note = np.zeros(n + 1, dtype=bool)  # the rest before t began with a note's end at t - 1
    joined = np.zeros(n + 1, dtype=bool)  # a note that begins at t follows a note, not a rest
    began = np.zeros(n + 1, dtype=np.int64)  # first frame of the best note that stops at t
    in_rest[0] = 0.0
    entry = np.full(n + 1, np.inf)
    entry[0] = costs.after_rest - begins[0]
    total = np.zeros(len(grid))  # cost of all frames so far as a part of one note, by pitch
    totals = np.zeros((shortest + 1, len(grid)))  # of the last frames, in a ring
    best = np.full(len(grid), np.inf)  # of all beginnings so far: cost until there, less `total` there
    since = np.zeros(len(grid), dtype=np.int64)
    for t in range(1, n + 1):
        total = total + note_cost[t - 1]
        if voiced[t - 1]:
            total += np.minimum(costs.semitone * np.abs(pitch[t - 1] - grid), costs.far)
        totals[t % (shortest + 1)] = total
        s = t - shortest
        if s >= 0:
            new = entry[s] - totals[s % (shortest + 1)]
            better = new < best
            best[better] = new[better]
            since[better] = s
            sums = best + total
            k = int(sums.argmin())
            in_note[t], began[t] = sums[k] - ends[t], since[k]
        from_note[t] = in_note[t - 1] < in_rest[t - 1]
        in_rest[t] = min(in_rest[t - 1], in_note[t - 1]) + rest_cost[t - 1]
        rest, note = in_rest[t] + costs.after_rest, in_note[t] + costs.after_note
        joined[t] = note < rest
        entry[t] = min(rest, note) - begins[t]
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
    return [(first, stop) for first, stop in found[::-1] if voiced[first:stop].any()]


def _long_gaps(voiced: np.ndarray, longest: int) -> np.ndarray:
    """The first frame of each unvoiced run of more than `longest` frames, after the `longest`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], voiced.astype(np.int8), [1]])))
    starts, stops = edges[::2], edges[1::2]
    return starts[stops - starts > longest] + longest


def _note(frames: Frames, first: int, stop: int, end: int) -> Note:
    inside = first + np.flatnonzero(frames.voiced[first:stop])
    middle = inside[len(inside) // 5 : len(inside) - len(inside) // 5]
    return Note(
        round(frames.start_s + first * STEP_S, 6),
        round(frames.start_s + end * STEP_S, 6),
        float(np.median(frames.pitch[middle])),
        None,
        float(frames.confidence[inside].mean()),
    )
