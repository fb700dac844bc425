"""Notes and rests cover the whole length, whatever the notes are; labels are read back by another reader's rules."""

import itertools
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.notes.note import NAMES, Note
from rmvpe.notes.timeline import SHORTEST_US, length_us, pitch_label, seconds_text, spans
from rmvpe.track import F0Track

TIMES = st.lists(st.floats(0.0, 500.0), max_size=40).map(sorted)


@st.composite
def melodies(draw: st.DrawFn, lowest: float = -36.0, highest: float = 138.0) -> list[Note]:
    """Notes by onset without overlap; some touch, some have no length."""
    times = draw(TIMES)
    pitches = st.floats(lowest, highest)
    return [Note(a, b, draw(pitches)) for a, b in zip(times[::2], times[1::2])]


@given(melodies())
def test_spans_cover_everything_once_and_add_up_exactly(notes: list[Note]):
    end_us = length_us(notes, None)
    found = spans(notes, end_us)
    assert found[0].start_us == 0
    assert found[-1].end_us == end_us
    assert all(before.end_us == after.start_us for before, after in itertools.pairwise(found))
    assert all(span.start_us < span.end_us for span in found)
    durations = [Decimal(seconds_text(span.end_us - span.start_us)) for span in found]
    assert sum(durations) == Decimal(seconds_text(end_us))
    assert not any(before.note is None and after.note is None for before, after in itertools.pairwise(found))


@given(melodies())
def test_every_note_of_a_microsecond_or_more_is_there(notes: list[Note]):
    end_us = length_us(notes, None)
    kept = [span.note for span in spans(notes, end_us) if span.note is not None]
    lengths = [round(1e6 * note.offset_s) - round(1e6 * note.onset_s) for note in notes]
    assert kept == [note for note, length in zip(notes, lengths) if length > 0]


def test_what_lies_outside_or_overlaps_is_cut():
    notes = [Note(-1.0, 0.5, 60.0), Note(0.4, 1.0, 62.0), Note(0.6, 0.7, 64.0), Note(1.5, 9.0, 65.0)]
    found = [(span.start_us, span.end_us, span.note and span.note.pitch_midi) for span in spans(notes, 2_000_000)]
    assert found == [
        (0, 500_000, 60.0),
        (500_000, 1_000_000, 62.0),
        (1_000_000, 1_500_000, None),
        (1_500_000, 2_000_000, 65.0),
    ]


def test_the_length_is_the_tracks_or_that_of_a_later_note():
    track = F0Track(np.arange(101) * 0.01, np.zeros(101), np.zeros(101), np.zeros(101))
    assert length_us([], track) == 1_000_000
    assert length_us([Note(0.5, 1.01, 60.0)], track) == 1_010_000
    assert length_us([Note(0.5, 0.9, 60.0)], None) == 900_000
    assert length_us([], None) == length_us([], F0Track(*np.zeros((4, 0)))) == SHORTEST_US


@pytest.mark.parametrize(
    ("pitch_midi", "label"),
    [(60.0, "C4"), (60.12, "C4+12"), (57.93, "A#3-7"), (69.499, "A4+50")],
)
def test_labels(pitch_midi: float, label: str):
    assert pitch_label(pitch_midi) == label


@given(st.floats(-36.0, 138.0))
def test_a_label_is_read_back_to_half_a_cent(pitch_midi: float):
    """By the rules of note names with an octave and cents, written here anew."""
    found = re.fullmatch(r"([A-G]#?)(-?\d+)([+-]\d+)?", pitch_label(pitch_midi))
    assert found
    name, octave, cents = found.groups()
    back = NAMES.index(name) + 12 * (int(octave) + 1) + int(cents or 0) / 100
    assert back == pytest.approx(pitch_midi, abs=0.005 + 1e-9)  # labels have whole cents
