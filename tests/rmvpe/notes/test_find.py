"""Notes from curves drawn by hand: what splits a note, what does not, where it begins and ends."""

from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.config_check import ConfigError
from rmvpe.notes.evidence import Evidence
from rmvpe.notes.find import Costs, Frames, find_notes, notes_from, on_grid, sections, segments
from rmvpe.notes.settings import NoteConfig

STEP_S = 0.01


def sung(*parts, level_db=None):
    """A track of parts (seconds, MIDI number or array or None): None is silence."""
    pitch = np.concatenate([_part(*part) for part in parts])
    voiced = pitch > 0
    f0_hz = np.where(voiced, 440.0 * 2 ** ((pitch - 69) / 12), 0.0)
    return rmvpe.F0Track(STEP_S * np.arange(len(pitch)), f0_hz, voiced, np.where(voiced, 0.95, 0.05))


def _part(seconds, pitch):
    n = round(seconds / STEP_S)
    return np.zeros(n) if pitch is None else np.broadcast_to(np.asarray(pitch, dtype=float), n)


def wave(seconds, middle, depth, rate_hz):
    return middle + depth * np.sin(2 * np.pi * rate_hz * STEP_S * np.arange(round(seconds / STEP_S)))


def found(track, config=None):
    """As the product finds them, from the f0 alone."""
    frames = on_grid(track.time_s, track.f0_hz, track.voiced, track.confidence)
    return find_notes(frames, config or NoteConfig())


def what_is_voiced_sounds(voiced) -> Evidence:
    """Nothing is known but that a note sounds where there is voice."""
    zeros = np.zeros(len(voiced) + 1)
    return Evidence(zeros.copy(), zeros.copy(), np.append(np.where(voiced, 3.0, -3.0), -3.0))


def by_f0_alone(track, config=None, known=None):
    """By the programme without any evidence, or with that which is given."""
    frames = on_grid(track.time_s, track.f0_hz, track.voiced, track.confidence)
    config = config or NoteConfig()
    known = known or what_is_voiced_sounds(frames.voiced)
    return notes_from(frames, segments(frames, known, config, PLAIN), config)


PLAIN = Costs(
    semitone=1.0, far=2.0, gap=0.4, sounds=0.5, silent=0.2, after_rest=2.0, after_note=4.0, begins=1.0, ends=1.0
)


def test_two_notes_with_a_rest_between() -> None:
    first, second = found(sung((0.3, None), (0.4, 60.0), (0.2, None), (0.5, 64.25), (0.3, None)))
    assert (first.onset_s, first.offset_s, first.pitch_midi) == pytest.approx((0.3, 0.7, 60.0))
    assert (second.onset_s, second.offset_s, second.pitch_midi) == pytest.approx((0.9, 1.4, 64.25))
    assert first.confidence == pytest.approx(0.95)
    assert (second.name, second.cents) == ("E4", pytest.approx(25.0))


@pytest.mark.parametrize("depth", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("rate_hz", [4.5, 5.5, 7.0])
def test_vibrato_is_one_note_at_its_middle(depth: float, rate_hz: float) -> None:
    (note,) = found(sung((0.2, None), (1.6, wave(1.6, 65.3, depth, rate_hz)), (0.2, None)))
    assert note.pitch_midi == pytest.approx(65.3, abs=0.25)
    assert (note.onset_s, note.offset_s) == pytest.approx((0.2, 1.8), abs=0.031)


@pytest.mark.parametrize("interval", [1, 2, 3, 7, 12, -1, -5])
def test_legato_is_cut_in_the_middle_of_the_glide(interval: int) -> None:
    glide = np.linspace(60, 60 + interval, 8)
    first, second = found(sung((0.5, 60.0), (0.08, glide), (0.5, 60.0 + interval)))
    assert first.offset_s == second.onset_s == pytest.approx(0.54, abs=0.031)
    assert (first.pitch_midi, second.pitch_midi) == pytest.approx((60, 60 + interval), abs=0.05)


def test_a_scoop_and_a_fall_belong_to_the_note() -> None:
    scoop, fall = 62 - 2 * np.exp(-np.arange(10) / 4), 62 - 2 * np.exp(-np.arange(8)[::-1] / 4)
    (note,) = found(sung((0.2, None), (0.1, scoop), (0.5, 62.0), (0.08, fall), (0.2, None)))
    assert (note.onset_s, note.offset_s) == pytest.approx((0.2, 0.88))
    assert note.pitch_midi == pytest.approx(62.0, abs=0.05)


def test_evidence_of_a_beginning_parts_a_repeated_note() -> None:
    track = sung((0.3, None), (1.0, 60.0), (0.3, None))
    assert len(by_f0_alone(track)) == 1
    known = what_is_voiced_sounds(track.voiced)
    known.begins[80], known.ends[80] = 4.0, 2.0
    first, second = by_f0_alone(track, known=known)
    assert first.offset_s == second.onset_s == pytest.approx(0.8)


def test_evidence_of_a_rest_parts_two_notes() -> None:
    track = sung((0.3, None), (1.0, 60.0), (0.3, None))
    known = what_is_voiced_sounds(track.voiced)
    known.sounds[75:85] = -5.0  # a voiced consonant
    known.begins[85], known.ends[75] = 2.0, 2.0
    first, second = by_f0_alone(track, known=known)
    assert (first.offset_s, second.onset_s) == pytest.approx((0.75, 0.85))


@pytest.mark.parametrize(("hold_ms", "notes"), [(200.0, 1), (60.0, 1), (50.0, 2), (0.0, 2)])
def test_hold_carries_a_note_over_a_gap_of_at_most_its_length(hold_ms: float, notes: int) -> None:
    """However sure the evidence is that a note goes on."""
    track = sung((0.5, 60.0), (0.06, None), (0.5, 60.0))
    sure = Evidence(np.full(107, -6.0), np.full(107, -6.0), np.full(107, 5.0))
    found = by_f0_alone(track, NoteConfig(hold_ms=hold_ms), sure)
    assert len(found) == notes
    assert (found[0].onset_s, found[-1].offset_s) == pytest.approx((0.0, 1.06))


def test_a_short_gap_is_closed() -> None:
    track = sung((0.5, 60.0), (0.05, None), (0.5, 64.0))
    open_, _ = by_f0_alone(track, NoteConfig(shortest_gap_ms=40.0))
    closed, second = by_f0_alone(track, NoteConfig(shortest_gap_ms=60.0))
    assert open_.offset_s == pytest.approx(0.5)
    assert closed.offset_s == second.onset_s == pytest.approx(0.55)


def test_no_note_is_shorter_than_the_shortest() -> None:
    rng = np.random.default_rng(0)
    steps = np.repeat(rng.integers(55, 70, 60), rng.integers(3, 20, 60)).astype(float)
    track = sung((len(steps) * STEP_S, steps))
    for shortest_ms in (50.0, 120.0, 300.0):
        notes = found(track, NoteConfig(shortest_note_ms=shortest_ms))
        assert notes
        assert min(note.duration_s for note in notes) >= shortest_ms / 1000 - 1e-6


def cost_of(parts, frames: Frames, known: Evidence, costs: Costs, shortest: int) -> float:
    """What a way to cut costs, by the words of the module."""
    total, at, last_end = 0.0, 0, None
    grid = np.arange(40.0, 80.0, 0.2)
    rest = [
        costs.sounds * np.log1p(np.exp(odds)) * (1.0 if voiced else costs.silent)
        for odds, voiced in zip(known.sounds, frames.voiced)
    ]
    for first, stop in parts:
        assert stop - first >= shortest
        total += sum(rest[at:first])
        total += (costs.after_note if last_end == first else costs.after_rest) - costs.begins * known.begins[first]
        voiced = [t for t in range(first, stop) if frames.voiced[t]]
        if voiced:
            far = costs.semitone * np.abs(frames.pitch[voiced][:, None] - grid)
            total += np.minimum(far, costs.far).sum(axis=0).min()
        total += costs.gap * (stop - first - len(voiced))
        total += costs.sounds * np.log1p(np.exp(-known.sounds[first:stop])).sum()
        total -= costs.ends * known.ends[stop]
        at = last_end = stop
    return total + sum(rest[at : len(frames.voiced)])


def all_ways(n: int, shortest: int, at: int = 0):
    """Every way to choose notes [first, stop) in n frames."""
    yield []
    for first in range(at, n):
        for stop in range(first + shortest, n + 1):
            for rest in all_ways(n, shortest, stop):
                yield [(first, stop), *rest]


@pytest.mark.parametrize("seed", range(12))
def test_the_cheapest_way_of_all_is_found(seed: int) -> None:
    """Against every way to cut ten frames: the programme is exact."""
    rng = np.random.default_rng(seed)
    n, shortest = 10, 2
    voiced = rng.random(n) < 0.8
    voiced[4] = True
    pitch = np.where(voiced, 60 + 0.2 * rng.integers(-12, 13, n), 0.0)
    frames = Frames(0.0, pitch, voiced, rng.random(n))
    known = Evidence(*(rng.normal(0, 2, n + 1) for _ in range(3)))
    config = NoteConfig(shortest_note_ms=20.0, hold_ms=10_000.0)
    ways = [way for way in all_ways(n, shortest) if all(voiced[first:stop].any() for first, stop in way)]
    cheapest = min(cost_of(way, frames, known, PLAIN, shortest) for way in ways)
    chosen = segments(frames, known, config, PLAIN)
    assert cost_of(chosen, frames, known, PLAIN, shortest) <= cheapest + 1e-9


def test_a_track_at_another_hop_has_the_same_notes() -> None:
    track = sung((0.3, None), (0.4, 60.0), (0.2, None), (0.5, 64.0), (0.3, None))
    finer = track.resampled(0.005)
    for note, other in zip(found(track), found(finer), strict=True):
        assert (note.onset_s, note.offset_s) == pytest.approx((other.onset_s, other.offset_s), abs=0.011)
        assert note.pitch_midi == pytest.approx(other.pitch_midi, abs=1e-6)


def test_missing_times_are_silence_and_jumps_cut_the_track() -> None:
    track = sung((0.5, 60.0), (0.5, 60.0))
    kept = np.r_[0:40, 70:100]  # an editor deleted 300 ms
    notes = found(rmvpe.F0Track(*(getattr(track, name)[kept] for name in ("time_s", "f0_hz", "voiced", "confidence"))))
    assert [(note.onset_s, note.offset_s) for note in notes] == [
        (pytest.approx(0.0), pytest.approx(0.4, abs=0.011)),
        (pytest.approx(0.7, abs=0.011), pytest.approx(1.0)),
    ]
    assert sections(np.array([0.0, 0.01, 0.02, 1e6, 1e6 + 0.01])) == [slice(0, 3), slice(3, 5)]
    assert sections(np.zeros(0)) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [("hold_ms", -1.0), ("shortest_note_ms", 1e6), ("shortest_gap_ms", float("nan")), ("hold_ms", "8")],
)
def test_settings_out_of_range_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=setting):
        NoteConfig(**{setting: value})
