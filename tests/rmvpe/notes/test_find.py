"""Notes from curves drawn by hand: what splits a note, what does not, where it begins and ends."""

from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.config_check import ConfigError
from rmvpe.notes.find import Costs, Frames, find_notes, on_grid, sections, segments
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


def found(track, config=None, level_db=None):
    frames = on_grid(track.time_s, track.f0_hz, track.voiced, track.confidence, level_db, level_db)
    return find_notes(frames, config or NoteConfig())


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


def level_with_dip(n: int, at: int, depth_db: float, width: int = 4) -> np.ndarray:
    return -20.0 - depth_db * np.exp(-np.square((np.arange(n) - at) / width))


def test_a_repeated_note_is_found_by_its_dip_of_loudness() -> None:
    track = sung((0.3, None), (1.0, 60.0), (0.3, None))
    steady = np.where(track.voiced, -20.0, -70.0)
    assert len(found(track, level_db=steady)) == 1
    dip = np.where(track.voiced, level_with_dip(len(track), 80, 15.0), -70.0)
    first, second = found(track, level_db=dip)
    assert first.offset_s == pytest.approx(0.8, abs=0.06)
    assert second.onset_s == pytest.approx(0.82, abs=0.06)
    shallow = np.where(track.voiced, level_with_dip(len(track), 80, 2.0), -70.0)
    assert len(found(track, level_db=shallow)) == 1


def test_hold_carries_a_note_over_a_gap_of_at_most_its_length() -> None:
    track = sung((0.5, 60.0), (0.06, None), (0.5, 60.0))
    (whole,) = found(track, NoteConfig(hold_ms=80.0))
    assert (whole.onset_s, whole.offset_s) == pytest.approx((0.0, 1.06))
    assert len(found(track, NoteConfig(hold_ms=40.0))) == 2
    assert len(found(track, NoteConfig(hold_ms=0.0))) == 2


def test_a_short_gap_is_closed() -> None:
    track = sung((0.5, 60.0), (0.05, None), (0.5, 64.0))
    open_, _ = found(track, NoteConfig(shortest_gap_ms=40.0))
    closed, second = found(track, NoteConfig(shortest_gap_ms=60.0))
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


def cost_of(parts, frames: Frames, costs: Costs, shortest: int) -> float:
    """What a way to cut costs, by the words of the module; without levels."""
    gap = costs.after_rest / 8  # hold of 80 ms
    total, at = 0.0, 0
    grid = np.arange(40.0, 80.0, 0.2)
    last_end = None
    for first, stop in parts:
        assert stop - first >= shortest
        total += sum(costs.rest * frames.confidence[t] for t in range(at, first) if frames.voiced[t])
        total += costs.after_note if last_end == first else costs.after_rest
        voiced = [t for t in range(first, stop) if frames.voiced[t]]
        far = np.minimum(np.abs(frames.pitch[voiced][:, None] - grid), costs.far).sum(axis=0).min() if voiced else 0.0
        total += far + gap * (stop - first - len(voiced))
        at = last_end = stop
    return total + sum(costs.rest * frames.confidence[t] for t in range(at, len(frames.voiced)) if frames.voiced[t])


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
    costs = Costs(after_rest=1.0, after_note=1.2, far=1.5, rest=1.0)
    config = NoteConfig(shortest_note_ms=20.0, hold_ms=80.0)
    cheapest = min(cost_of(way, frames, costs, shortest) for way in all_ways(n, shortest))
    assert cost_of(segments(frames, config, costs), frames, costs, shortest) == pytest.approx(cheapest, abs=1e-9)


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
