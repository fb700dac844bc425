"""Notes as csv and json come back as they were; what is wrong with a file is one sentence that names it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.errors import UserError
from rmvpe.notes.files import READERS, WRITERS, format_of, write
from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes
from rmvpe.notes.options import NoteFileOptions
from rmvpe.ownership import Output, check_outputs, is_complete, is_ours
from rmvpe.track import F0Track

NOTES = Notes(
    (Note(0.5, 1.0, 60.25, 100, 0.9), Note(1.0, 1.2505, 61.9, None, 0.5), Note(2.0, 3.0, 55.0, 1, None)),
    tuning_cents=-12.5,
    missing=("nothing was heard",),
)
HEADER = "onset_s,offset_s,pitch_midi,name,velocity,confidence\n"
KINDS = {
    name: {"csv": "notes csv", "json": "notes json"}.get(name, name) for name in WRITERS
}  # format -> what `rmvpe.ownership` calls it


@st.composite
def note_lists(draw: st.DrawFn) -> tuple[Note, ...]:
    """Notes of one voice, some after a pause, at whole microseconds."""
    now_us, notes = 0, []
    for _ in range(draw(st.integers(0, 8))):
        onset_us = now_us + draw(st.sampled_from([0, 1, 50_000, 3_000_000]))
        now_us = onset_us + draw(st.integers(1, 5_000_000))
        pitch = draw(st.floats(-36.0, 138.0))
        velocity = draw(st.none() | st.integers(1, 127))
        notes.append(Note(onset_us / 1e6, now_us / 1e6, pitch, velocity, draw(st.none() | st.floats(0.0, 1.0))))
    return tuple(notes)


@given(note_lists(), st.floats(-50.0, 50.0), st.lists(st.text(max_size=20), max_size=3))
def test_json_brings_back_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, notes: tuple[Note, ...], tuning_cents: float, missing: list[str]
):
    path = tmp_path_factory.mktemp("json") / "a.json"
    written = Notes(notes, tuning_cents, tuple(missing))
    written.write(path)
    assert Notes.read(path) == written


@given(note_lists())
def test_csv_brings_back_the_notes_as_they_were_rounded(
    tmp_path_factory: pytest.TempPathFactory, notes: tuple[Note, ...]
):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    Notes(notes).write(path)
    found = Notes.read(path)
    assert len(found) == len(notes)
    for note, read in zip(notes, found):
        assert (read.onset_s, read.offset_s, read.velocity) == (note.onset_s, note.offset_s, note.velocity)
        assert read.pitch_midi == pytest.approx(note.pitch_midi, abs=0.5e-4 + 1e-9)  # four decimals
        assert (read.confidence is None) == (note.confidence is None)
        if note.confidence is not None:
            assert read.confidence == pytest.approx(note.confidence, abs=0.5e-4 + 1e-9)
    found.write(path)
    assert Notes.read(path) == found


def test_the_columns_of_a_csv(tmp_path: Path):
    NOTES.write(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().decode() == (
        f"{HEADER}0.500000,1.000000,60.2500,C4,100,0.9000\n1.000000,1.250500,61.9000,D4,,0.5000\n"
        "2.000000,3.000000,55.0000,G3,1,\n"
    )


def test_a_csv_of_a_spreadsheet_is_read(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.encode().replace(b"\n", b"\r\n") + b"0.5,1,60,,64.0,\r\n\r\n")
    assert Notes.read(path).notes == (Note(0.5, 1.0, 60.0, 64, None),)


def test_json_tells_who_made_it_first(tmp_path: Path):
    NOTES.write(tmp_path / "a.json")
    table = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert list(table) == ["made_by", "tuning_cents", "missing", "notes"]
    assert {key: table[key] for key in table if key != "made_by"} == NOTES.to_dict()
    assert table["notes"][1]["velocity"] is None


def test_numbers_of_numpy_are_written(tmp_path: Path):
    values: list[Any] = [np.float64(0.5), np.float64(1.0), np.float32(60.25), np.int64(90), np.float32(0.5)]
    note = Note(*values)
    for name in ("a.csv", "a.json", "a.mid"):
        Notes((note,)).write(tmp_path / name)
        assert Notes.read(tmp_path / name)[0].velocity == 90


@pytest.mark.parametrize("name", WRITERS)
def test_no_notes_are_a_whole_file_of_ours_without_notes(name: str, tmp_path: Path):
    path = tmp_path / f"silence.{name}"
    track = F0Track(np.arange(5) * 0.01, np.zeros(5), np.zeros(5), np.zeros(5))
    track.notes().write(path)
    assert is_ours(path, KINDS[name])
    assert is_complete(path, KINDS[name])
    if name in READERS:
        assert len(Notes.read(path)) == 0
    else:
        with pytest.raises(UserError, match=f"silence.{name} is a {name} file, which is only written"):
            Notes.read(path)


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_ours_and_whole_but_not_if_its_end_is_lost(name: str, tmp_path: Path):
    path, kind = tmp_path / f"a.{name}", KINDS[name]
    NOTES.write(path)
    assert is_ours(path, kind)
    check_outputs([Output(path, kind)])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        lines = whole[:length].splitlines()
        if (kind == "notes csv" and whole[:length].endswith(b"\n")) or (
            kind == "labels" and whole[:length][-1:] in b"\n"
        ):
            continue  # cut at the end of a line it looks whole, as every csv; no label at all is a file without notes
        assert not is_complete(path, kind), lines
    path.write_bytes(whole)
    assert is_complete(path, kind)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mid", b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk\0\0\0\x04\0\xff/\0"),
        ("a.csv", b"onset_s,offset_s\n"),
        ("b.csv", b"time_s,f0_hz,voiced,confidence\n"),
        ("a.json", b'{"notes": []}'),
    ],
)
def test_a_file_of_somebody_else_is_kept(name: str, content: bytes, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content)
    kind = KINDS[path.suffix[1:]]
    assert not is_ours(path, kind)
    with pytest.raises(UserError, match=f"{name} exists .* --force"):
        check_outputs([Output(path, kind)])


def test_a_csv_of_f0_and_one_of_notes_are_different_things(tmp_path: Path):
    NOTES.write(tmp_path / "notes.csv")
    F0Track(np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1)).write(tmp_path / "f0.csv")
    assert not is_ours(tmp_path / "notes.csv", "csv")
    assert not is_ours(tmp_path / "f0.csv", "notes csv")
    with pytest.raises(UserError, match=r"f0\.csv .* F0Track\.read"):
        Notes.read(tmp_path / "f0.csv")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "first line"),
        ("onset,offset\n", "first line"),
        (HEADER + "0.5,1,60,C4,,\n1,2,60\n", "line 3 has 3 columns"),
        (HEADER + "0.5,1,sixty,C4,,\n", "line 2, pitch_midi is 'sixty'"),
        (HEADER + "0.5,,60,C4,,\n", "line 2, offset_s is ''"),
        (HEADER + "0.5,1,60,C4,64.5,\n", "line 2, velocity is 64.5"),
        (HEADER + "0.5,1,60,C4,nan,\n", "velocity is nan"),
        (HEADER + "0.5,1,60,C4,0,\n", "note 1 .*velocity 0"),
        (HEADER + "0.5,1,60,C4,128,\n", "note 1 .*velocity 128"),
        (HEADER + "0.5,1,60,C4,,1.5\n", "confidence 1.5"),
        (HEADER + "0.5,1,440,A4,,\n", "pitch 440.*Hz"),
        (HEADER + "0.5,1,-40,A4,,\n", "pitch -40"),
        (HEADER + "nan,1,60,A4,,\n", "onset_s nan"),
        (HEADER + "0.5,inf,60,A4,,\n", "offset_s inf"),
        (HEADER + "-0.5,1,60,A4,,\n", "-0.5 s, before the sound"),
        (HEADER + "0.5,0.5,60,A4,,\n", "an end comes after"),
        (HEADER + "0,500000,60,A4,,\n", "in seconds"),
        (HEADER + "0.5,1,60,C4,,\n0.9,2,62,D4,,\n", "note 2 begins at 0.9 s.*sort the notes"),
        (HEADER + "2,3,60,C4,,\n0,1,62,D4,,\n", "note 2 begins at 0 s.*sort the notes"),
    ],
)
def test_a_csv_that_no_notes_can_have_written_is_refused(lines: str, words: str, tmp_path: Path):
    path = tmp_path / "edited.csv"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(UserError, match=rf"edited\.csv .*{words}"):
        Notes.read(path)


NOTE = {"onset_s": 0.5, "offset_s": 1.0, "pitch_midi": 60.0, "velocity": None, "confidence": None}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "the file is list"),
        ({}, 'no list "notes"'),
        ({"notes": {}}, 'no list "notes"'),
        ({"notes": [], "tempo": 3}, "unknown key 'tempo'"),
        ({"notes": [], "tuning_cents": "flat"}, "tuning_cents is 'flat'"),
        ({"notes": [], "tuning_cents": None}, "tuning_cents is None"),
        ({"notes": [], "missing": "sound"}, "missing is not a list"),
        ({"notes": [3]}, "note 1 is int"),
        ({"notes": [NOTE, {**NOTE, "lyric": "la"}]}, "note 2 has the unknown key 'lyric'"),
        ({"notes": [{"onset_s": 0.5, "pitch_midi": 60}]}, "note 1 has no offset_s"),
        ({"notes": [{**NOTE, "pitch_midi": "C4"}]}, "in note 1, pitch_midi is 'C4'"),
        ({"notes": [{**NOTE, "pitch_midi": None}]}, "in note 1, pitch_midi is None"),
        ({"notes": [{**NOTE, "velocity": True}]}, "in note 1, velocity is True"),
        ({"notes": [{**NOTE, "velocity": 1.5}]}, "in note 1, velocity is 1.5"),
        ({"notes": [NOTE, NOTE]}, "note 2 begins"),
    ],
)
def test_a_json_that_no_notes_can_have_written_is_refused(value: object, words: str, tmp_path: Path):
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(UserError, match=rf"edited\.json .*{words}"):
        Notes.read(path)


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.mid"])
@pytest.mark.parametrize(
    "content", [b"", b"\0\xff\xfe", b"{", b"\xff\xfeo\0n\0", bytes(range(256)) * 40, b"[" * 9999], ids=len
)
def test_whatever_a_file_holds_it_is_one_sentence(name: str, content: bytes, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name} cannot be read as notes: .") as caught:
        Notes.read(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path):
    (tmp_path / "folder.csv").mkdir()
    for path, words in ((tmp_path / "no.csv", "does not exist"), (tmp_path / "folder.csv", "is a folder")):
        with pytest.raises(UserError, match=f"{path.name} {words}"):
            Notes.read(path)
    for path in (tmp_path / "a.pdf", tmp_path / "a"):
        with pytest.raises(UserError, match="no known suffix: choose one of mid, csv, json"):
            NOTES.write(path)
    with pytest.raises(UserError, match="unknown format 'midi2'"):
        NOTES.write(tmp_path / "a.mid", "midi2")


def test_the_suffix_names_the_format():
    for name, expected in (("a.mid", "mid"), ("A.MIDI", "mid"), ("a.notes.csv", "csv"), ("a.json", "json")):
        assert format_of(name) == expected
    assert format_of("a.txt", "csv") == "csv"


@pytest.mark.parametrize("name", WRITERS)
def test_notes_that_could_not_be_read_back_are_not_written(name: str, tmp_path: Path):
    path = tmp_path / f"a.{name}"
    NOTES.write(path)
    before = path.read_bytes()
    for wrong in (Note(0.5, 0.4, 60.0), Note(0.5, 1.0, float("nan")), Note(-1.0, 1.0, 60.0)):
        with pytest.raises(UserError, match=rf"a\.{name}: note 1"):
            write([wrong], None, path)
    with pytest.raises(UserError, match=rf"a\.{name}: note 2 begins"):
        write([Note(0.0, 2.0, 60.0), Note(1.0, 3.0, 62.0)], None, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tempo_bpm": 10}, "tempo_bpm must be from 20 to 300"),
        ({"tempo_bpm": 301.0}, "tempo_bpm"),
        ({"tempo_bpm": float("nan")}, "tempo_bpm"),
        ({"tempo_bpm": "fast"}, "tempo_bpm must be a number"),
        ({"bends": 1}, "bends must be True or False"),
        ({"bend_range": 0}, "bend_range must be a whole number of semitones from 1 to 24"),
        ({"bend_range": 25}, "bend_range"),
        ({"bend_range": 2.0}, "bend_range"),
        ({"bend_range": True}, "bend_range"),
        ({"title": 3}, "title must be a text"),
    ],
)
def test_options_are_checked_before_anything_is_written(options: dict[str, object], words: str, tmp_path: Path):
    with pytest.raises(UserError, match=words):
        NoteFileOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words):
        NOTES.write(tmp_path / "a.csv", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "a.csv").exists()


def test_notes_to_look_at():
    assert repr(NOTES) == "Notes(3 notes, 0.50 to 3.00 s, G3 to D4)"
    assert repr(Notes(NOTES.notes[:1])) == "Notes(1 note, 0.50 to 1.00 s, C4)"
    assert repr(Notes()) == "Notes(0 notes)"
    page = Notes(NOTES.notes)._repr_html_()
    assert page.count("<tr>") == 4
    assert "<td>C4</td><td>+25</td><td>100</td>" in page
    assert "no notes" in Notes()._repr_html_()
    long = Notes(tuple(Note(k, k + 0.5, 60.0) for k in range(20)))._repr_html_()
    assert long.count("<tr>") == 13
    assert "and 8 more" in long


def test_notes_as_a_table_of_pandas():
    pytest.importorskip("pandas")
    table = NOTES.to_dataframe()
    assert list(table.columns) == HEADER.strip().split(",")
    assert table["name"].tolist() == ["C4", "D4", "G3"]
    assert table["velocity"].isna().tolist() == [False, True, False]
    assert table["onset_s"].tolist() == [0.5, 1.0, 2.0]
    assert len(Notes().to_dataframe()) == 0
