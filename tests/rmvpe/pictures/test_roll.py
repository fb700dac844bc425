"""Notes in a picture: each bar at its pitch and time, names that can be read, a keyboard that names its keys."""

import itertools

import numpy as np
import pytest

from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes
from rmvpe.pictures.roll import name_places, octave_of, pitch_range

pytest.importorskip("matplotlib")
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure


def scale(*names: float) -> tuple[Note, ...]:
    """Notes of half a second, one after the other, of these MIDI pitches."""
    return tuple(Note(0.5 * k, 0.5 * k + 0.45, pitch) for k, pitch in enumerate(names))


def axes_of(figure: Figure | None = None):
    return (figure or Figure(figsize=(10, 4))).subplots()


def test_each_note_is_a_bar_at_its_time_and_pitch_with_its_name() -> None:
    notes = scale(60, 62.2, 61, 70)
    axes = Notes(notes).plot(axes_of())
    assert [text.get_text() for text in axes.texts] == ["C4", "D4", "C#4", "A#4"]
    (bars,) = (found for found in axes.collections if isinstance(found, PatchCollection))
    boxes = [path.get_extents() for path in bars.get_paths()]
    for note, box in zip(notes, boxes):
        assert (box.x0, box.x1) == pytest.approx((note.onset_s, note.offset_s))
        assert (box.y0 + box.y1) / 2 == pytest.approx(np.log2(note.pitch_hz))
        assert box.height < 1 / 12


def test_the_keyboard_names_keys_at_their_pitch() -> None:
    axes = Notes(scale(60, 72)).plot(axes_of())
    named = {label.get_text(): float(place) for place, label in zip(axes.get_yticks(), axes.get_yticklabels())}
    assert named["C4"] == pytest.approx(np.log2(261.6256), abs=1e-4)
    assert named["G4"] == pytest.approx(np.log2(391.9954), abs=1e-4)
    assert "C#4" not in named
    low, high = axes.get_ylim()
    assert low < named["C4"] < named["C5"] < high


def test_a_theme_is_used() -> None:
    from rmvpe.pictures.theme import LIGHT

    axes = Notes(scale(60)).plot(axes_of(), theme="light")
    assert axes.texts[0].get_color() == LIGHT.note_name
    assert axes.get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_no_notes_are_an_empty_roll() -> None:
    axes = Notes().plot(axes_of())
    assert not axes.texts
    assert axes.get_xlim() == (0.0, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_names_touch_neither_each_other_nor_neighbouring_bars(seed: int) -> None:
    rng = np.random.default_rng(seed)
    onsets = np.cumsum(rng.uniform(0.05, 0.4, 60))
    boxes = [(float(t), float(rng.integers(60, 72)) / 12, 0.15) for t in onsets]
    names = [str(rng.choice(["C4", "A#3"])) for _ in boxes]
    places = name_places(names, boxes, 0.01, 0.008, 8.0, (0.0, 100.0))
    drawn = []
    for name, place in zip(names, places):
        if place is not None:
            x, y, above = place
            height = 1.25 * 8.0 * 0.008
            drawn.append((x, x + 0.01 * 8.0 * 0.68 * len(name), y if above else y - height, y + height if above else y))
    assert len(drawn) > 20
    for a, b in itertools.combinations(drawn, 2):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] + 1e-9 or b[3] <= a[2] + 1e-9


def test_a_name_is_within_the_times_that_are_shown() -> None:
    boxes = [(-0.5, 5.0, 1.0), (0.2, 6.0, 0.5), (0.95, 7.0, 0.5)]
    before, inside, late = name_places(["C4", "D4", "E4"], boxes, 0.01, 0.01, 8.0, (0.0, 1.0))
    assert before is None
    assert inside is not None
    assert inside[0] == 0.2
    assert late is not None
    assert late[0] + 2 * 0.68 * 8 * 0.01 == pytest.approx(1.0)


def test_the_range_holds_notes_and_voice_but_not_a_single_error() -> None:
    octaves = np.full(1000, octave_of(60))
    octaves[0] = octave_of(110)
    low, high = pitch_range(octaves, [Note(0, 1, 64)]) or (0.0, 0.0)
    assert low < octave_of(57) < octave_of(67) < high
    assert high - low == pytest.approx(2.0)
    assert pitch_range(np.zeros(0), ()) is None
