"""`.ds` files by what DiffSinger's readers ask of a segment: equal lengths, exact sums, a curve without gaps."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.errors import UserError
from rmvpe.notes.diffsinger import write_ds
from rmvpe.notes.note import Note
from rmvpe.notes.options import NoteFileOptions
from rmvpe.track import F0Track
from tests.rmvpe.notes.test_timeline import melodies

PHRASE = [Note(0.1, 0.7, 57.3), Note(0.7, 1.0, 60.0), Note(1.2, 1.5, 61.88)]


def glide(n: int = 200, hop_s: float = 0.01, start_s: float = 0.0) -> F0Track:
    """Unvoiced at both ends and in the middle."""
    time_s = start_s + np.arange(n) * hop_s
    voiced = np.ones(n, dtype=bool)
    voiced[:10] = voiced[n // 2 : n // 2 + 20] = voiced[-20:] = False
    return F0Track(time_s, np.where(voiced, 220.0 * 2**time_s, 0.0), voiced, np.where(voiced, 0.9, 0.1))


def segment(notes: list[Note], track: F0Track | None, path: Path) -> dict[str, Any]:
    write_ds(notes, track, path, NoteFileOptions())
    segments = json.loads(path.read_text(encoding="utf-8"))
    assert len(segments) == 1
    return dict(segments[0])


def numbers(text: str) -> list[Decimal]:
    return [Decimal(word) for word in text.split()]


def test_a_segment(tmp_path: Path):
    found = segment(PHRASE, glide(), tmp_path / "a.ds")
    assert found["offset"] == 0.0
    assert found["note_seq"] == "rest A3+30 C4 rest D4-12 rest"
    assert numbers(found["note_dur"]) == numbers("0.1 0.6 0.3 0.2 0.3 0.49")
    assert found["note_slur"] == "0 0 0 0 0 0"
    assert found["ph_seq"] == found["text"] == "SP AP AP SP AP SP"
    assert found["ph_num"] == "1 1 1 1 1 1"
    assert found["ph_dur"] == found["note_dur"]


def test_the_curve_has_the_f0_and_no_gap(tmp_path: Path):
    track = glide()
    found = segment(PHRASE, track, tmp_path / "a.ds")
    curve, timestep = np.array(numbers(found["f0_seq"]), dtype=float), float(found["f0_timestep"])
    assert timestep == 0.01
    assert len(curve) == len(track)
    np.testing.assert_allclose(curve[track.voiced], track.f0_hz[track.voiced], atol=5.1e-4)  # three digits
    gap = slice(100, 120)
    assert np.diff(np.log2(curve[gap])) == pytest.approx(0.01, abs=1e-4)  # straight in octaves, at the glide's speed
    assert (curve[:10] == curve[10]).all()
    assert (curve[-20:] == curve[-21]).all()


@pytest.mark.parametrize("hop_s", [0.005, 512 / 44100])
def test_another_hop_keeps_its_time(hop_s: float, tmp_path: Path):
    track = glide(3000, hop_s)
    found = segment([], track, tmp_path / "a.ds")
    curve, timestep = np.array(numbers(found["f0_seq"]), dtype=float), float(found["f0_timestep"])
    at = np.interp(track.time_s, timestep * np.arange(len(curve)), curve)  # as DiffSinger resamples it
    np.testing.assert_allclose(at[track.voiced], track.f0_hz[track.voiced], rtol=1e-5)


def test_a_part_of_a_track_stays_at_its_time(tmp_path: Path):
    found = segment([], glide(200, start_s=2.0), tmp_path / "a.ds")
    curve = numbers(found["f0_seq"])
    assert len(curve) == 400
    assert float(curve[250]) == pytest.approx(220.0 * 2**2.5, abs=1e-3)
    assert sum(numbers(found["note_dur"])) == Decimal("3.99")


@pytest.mark.parametrize("n", [0, 1, 5])
def test_no_voice_is_one_rest_without_a_curve(n: int, tmp_path: Path):
    silent = F0Track(np.arange(n) * 0.01, np.zeros(n), np.zeros(n), np.zeros(n))
    for track in (silent, None):
        found = segment([], track, tmp_path / "a.ds")
        assert (found["note_seq"], found["ph_seq"], found["ph_num"]) == ("rest", "SP", "1")
        assert numbers(found["note_dur"])[0] > 0
        assert "f0_seq" not in found
        assert "f0_timestep" not in found


def test_one_voiced_frame_gives_a_curve_that_can_be_resampled(tmp_path: Path):
    one = F0Track(np.zeros(1), np.full(1, 220.0), np.ones(1), np.ones(1))
    assert segment([], one, tmp_path / "a.ds")["f0_seq"] == "220.000 220.000"


@pytest.mark.parametrize("pitch_midi", [-0.4, 127.3])
def test_a_pitch_that_diffsinger_takes_for_a_rest_or_does_not_have_is_refused(pitch_midi: float, tmp_path: Path):
    """It reads a MIDI number below 0 as a rest, and its tables end at 127."""
    notes = [Note(0.2, 0.4, 60.0), Note(0.5, 0.6, pitch_midi)]
    with pytest.raises(UserError, match=r"note 2 at 0\.50 s has the pitch .* and DiffSinger has 0 to 127"):
        segment(notes, None, tmp_path / "a.ds")


@given(notes=melodies(0.0, 127.0), frames=st.integers(0, 30))
def test_every_list_has_a_value_per_note_and_the_sum_is_the_length(
    notes: list[Note], frames: int, tmp_path_factory: pytest.TempPathFactory
):
    track = F0Track(np.arange(frames) * 0.01, np.full(frames, 220.0), np.ones(frames), np.ones(frames))
    found = segment(notes, track, tmp_path_factory.getbasetemp() / "a.ds")
    count = len(found["note_seq"].split())
    assert all(len(found[key].split()) == count for key in ("note_dur", "note_slur", "ph_seq", "ph_dur", "ph_num"))
    end = max([0.01, (frames - 1) * 0.01, *(note.offset_s for note in notes)])
    assert float(sum(numbers(found["note_dur"]))) == pytest.approx(end, abs=5.1e-7)
    assert all(duration > 0 for duration in numbers(found["note_dur"]))
    assert all(re.fullmatch(r"rest|[A-G]#?-?\d+([+-]\d{1,2})?", name) for name in found["note_seq"].split())
