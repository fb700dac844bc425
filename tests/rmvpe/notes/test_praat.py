"""TextGrid files, read by Praat itself (parselmouth) and by the package textgrid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.praat import write_textgrid
from rmvpe.notes.timeline import length_us, pitch_label, spans
from rmvpe.track import F0Track
from tests.rmvpe.notes.test_timeline import melodies

PHRASE = [Note(0.1, 0.7, 57.3), Note(0.7, 1.0, 60.0), Note(1.2, 1.5, 61.88)]
INTERVALS = [
    (0.0, 0.1, ""),
    (0.1, 0.7, "A3+30"),
    (0.7, 1.0, "C4"),
    (1.0, 1.2, ""),
    (1.2, 1.5, "D4-12"),
    (1.5, 2.0, ""),
]
TRACK = F0Track(np.arange(201) * 0.01, np.zeros(201), np.zeros(201), np.zeros(201))


def by_praat(path: Path) -> list[tuple[float, float, str]]:
    parselmouth = pytest.importorskip("parselmouth")
    call: Any = parselmouth.praat.call
    grid = parselmouth.read(str(path))
    assert call(grid, "Get number of tiers") == 1
    assert call(grid, "Get tier name", 1) == "notes"
    assert call(grid, "Get start time") == 0.0
    numbers = range(1, call(grid, "Get number of intervals", 1) + 1)
    return [
        (
            call(grid, "Get start time of interval", 1, k),
            call(grid, "Get end time of interval", 1, k),
            call(grid, "Get label of interval", 1, k),
        )
        for k in numbers
    ]


def by_textgrid(path: Path) -> list[tuple[float, float, str]]:
    textgrid = pytest.importorskip("textgrid")
    grid = textgrid.TextGrid()
    grid.read(str(path), round_digits=6)  # its default is 10 microseconds
    assert [tier.name for tier in grid] == ["notes"]
    return [(interval.minTime, interval.maxTime, interval.mark) for interval in grid[0]]


@pytest.mark.parametrize("read", [by_praat, by_textgrid])
def test_the_intervals(read: Any, tmp_path: Path):
    write_textgrid(PHRASE, TRACK, tmp_path / "a.TextGrid", NoteFileOptions())
    found = read(tmp_path / "a.TextGrid")
    assert [text for *_, text in found] == [text for *_, text in INTERVALS]
    np.testing.assert_allclose([row[:2] for row in found], [row[:2] for row in INTERVALS], atol=1e-9)


@pytest.mark.parametrize("read", [by_praat, by_textgrid])
@pytest.mark.parametrize("track", [TRACK, F0Track(*np.zeros((4, 1))), F0Track(*np.zeros((4, 0))), None])
def test_without_notes_it_is_one_empty_interval(track: F0Track | None, read: Any, tmp_path: Path):
    write_textgrid([], track, tmp_path / "a.TextGrid", NoteFileOptions())
    ((start, end, text),) = read(tmp_path / "a.TextGrid")
    assert (start, end, text) == (0.0, 2.0 if track is TRACK else 0.01, "")


@given(melodies())
def test_any_melody_is_read_back_without_a_gap(tmp_path_factory: pytest.TempPathFactory, notes: list[Note]):
    path = tmp_path_factory.getbasetemp() / "any.TextGrid"
    write_textgrid(notes, None, path, NoteFileOptions())
    found = by_textgrid(path)
    expected = spans(notes, length_us(notes, None))
    labels = ["" if span.note is None else pitch_label(span.note.pitch_midi) for span in expected]
    assert [text for *_, text in found] == labels
    assert [round(end * 1e6) for _, end, _ in found] == [span.end_us for span in expected]
    assert [start for start, *_ in found[1:]] == [end for _, end, _ in found[:-1]]
