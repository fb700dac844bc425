"""The notes of synthetic singing: they sound where the voice does, and no one has to hear what cannot be heard."""

import numpy as np
import pytest

from rmvpe.data.synthesis.contours import Melody, melody
from rmvpe.data.synthesis.sung_notes import (
    notes_of_melody,
    notes_of_syllables,
    syllable_edges,
    syllables,
)
from rmvpe.data.synthesis.world_voice import Analysis

FRAME_S = 0.005


def drawn(edges: list[int], pitches: list[float]) -> Melody:
    return Melody(np.repeat(np.array(pitches, dtype=float), np.diff(edges)), np.array(edges), np.array(pitches, float))


def voicing(frames: int, *parts: tuple[int, int]) -> np.ndarray:
    voiced = np.zeros(frames, dtype=bool)
    for first, stop in parts:
        voiced[first:stop] = True
    return voiced


def rows(notes) -> list[tuple[float, float, float]]:
    return [(note.onset_s, note.offset_s, note.pitch_midi) for note in notes]


def test_a_note_sounds_from_the_first_to_the_last_voiced_frame() -> None:
    notes = notes_of_melody(drawn([0, 100, 200], [60.0, 62.0]), voicing(200, (10, 180)))
    assert rows(notes) == [(0.05, 0.5, 60.0), (0.5, 0.9, 62.0)]


def test_a_break_is_held_and_a_pause_ends_a_note() -> None:
    held = notes_of_melody(drawn([0, 200], [60.0]), voicing(200, (10, 80), (98, 180)))
    assert rows(held) == [(0.05, 0.9, 60.0)]
    parted = notes_of_melody(drawn([0, 200], [60.0]), voicing(200, (10, 80), (110, 180)))
    assert rows(parted) == [(0.05, 0.4, 60.0), (0.55, 0.9, 60.0)]


def test_a_repeat_without_any_pause_is_one_note() -> None:
    notes = notes_of_melody(drawn([0, 100, 200], [60.1, 59.9]), voicing(200, (0, 200)))
    assert rows(notes) == [(0.0, 1.0, pytest.approx(60.0))]
    assert len(notes_of_melody(drawn([0, 100, 200], [60.1, 59.9]), voicing(200, (0, 90), (100, 200)))) == 2


def test_a_remainder_too_short_to_be_a_note_is_none() -> None:
    assert rows(notes_of_melody(drawn([0, 95, 200], [60.0, 64.0]), voicing(200, (90, 200)))) == [(0.475, 1.0, 64.0)]


def spoken(*parts: tuple[int, float]) -> Analysis:
    """Frames of (number, level in dB or -inf for a voiceless sound)."""
    level = np.concatenate([np.full(n, db) for n, db in parts])
    voiced = np.isfinite(level)
    envelope = np.where(voiced, level, -60.0)[:, None] * np.log(10) / 10 * np.ones(513)
    return Analysis(np.zeros(len(level)), envelope.astype(np.float32), np.zeros((len(level), 513)), voiced)


def test_syllables_are_parted_by_dips_and_voiceless_sounds() -> None:
    frames = spoken((20, -np.inf), (60, -20.0), (14, -30.0), (60, -22.0), (10, -np.inf), (40, -20.0), (20, -np.inf))
    first, second, third = syllables(frames)
    assert first[0] == pytest.approx(20, abs=2)
    assert 78 <= first[1] <= 94  # in the dip
    assert 80 <= second[0] <= 96
    assert second[1] == pytest.approx(154, abs=2)
    assert third == pytest.approx((164, 204), abs=2)


def test_a_shallow_dip_parts_nothing() -> None:
    assert syllables(spoken((60, -20.0), (14, -23.0), (60, -20.0))) == [(0, 134)]


def test_a_scrap_joins_the_syllable_over_the_shallower_dip() -> None:
    found = syllables(spoken((60, -20.0), (10, -40.0), (8, -20.0), (10, -32.0), (60, -20.0)))
    assert len(found) == 2
    assert found[1][0] < 80


def test_notes_of_syllables_lie_inside_them() -> None:
    rng = np.random.default_rng(0)
    parts = [(10, 100), (120, 400), (420, 600)]
    edges = syllable_edges(parts, 620, rng)
    assert (edges[0], edges[-1]) == (0, 620)
    assert {110, 410} <= set(edges.tolist())
    sung = melody(voicing(620, *parts), 60.0, (50.0, 70.0), rng, edges)
    assert len(sung.pitches) == len(edges) - 1
    notes = notes_of_syllables(sung, parts)
    assert len(notes) >= 3
    for note in notes:
        inside = [
            first <= round(note.onset_s / FRAME_S) < round(note.offset_s / FRAME_S) <= stop for first, stop in parts
        ]
        assert sum(inside) == 1


def test_two_notes_on_one_syllable_and_a_repeat_on_two() -> None:
    sung = drawn([0, 50, 110, 220], [60.0, 62.0, 62.0])
    notes = notes_of_syllables(sung, [(10, 100), (120, 200)])
    assert rows(notes) == [(0.05, 0.25, 60.0), (0.25, 0.5, 62.0), (0.6, 1.0, 62.0)]
    one = notes_of_syllables(drawn([0, 50, 110], [60.0, 60.2]), [(10, 100)])
    assert rows(one) == [(0.05, 0.5, 60.0)]
