"""transcriptions.csv: notes fit the words of a row, and nothing else in the table changes."""

import csv
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmvpe.errors import UserError
from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes
from rmvpe.notes.transcriptions import check_transcriptions, note_columns, update_transcriptions
from rmvpe.track import F0Track
from tests.rmvpe.notes.test_timeline import melodies

SONG = Notes((Note(0.12, 0.68, 57.3), Note(0.68, 1.5, 60.0)))
WORDS = {"ph_seq": "SP l a SP", "ph_dur": "0.1 0.2 1.2 0.5", "ph_num": "1 2 1"}  # borders at 0.1, 1.5 and 2.0 s


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, header: str, *lines: str, end: str = "\n") -> None:
    path.write_text("".join(f"{line}{end}" for line in (header, *lines)), encoding="utf-8", newline="")


def total(durations: str) -> Decimal:
    return sum((Decimal(word) for word in durations.split()), Decimal(0))


def test_notes_are_fitted_to_the_words_of_their_row(tmp_path: Path):
    path = tmp_path / "transcriptions.csv"
    write_table(path, "name,ph_seq,ph_dur,ph_num", f"song,{','.join(WORDS.values())}")
    assert update_transcriptions(path, {"song": SONG}) == ()
    (row,) = rows(path)
    assert row["note_seq"] == "rest A3+30 C4 rest"
    assert row["note_dur"] == "0.100000 0.580000 0.820000 0.500000"  # the onset at 0.12 moved to the word's, 0.1
    assert list(row) == ["name", "ph_seq", "ph_dur", "ph_num", "note_seq", "note_dur"]


def test_a_note_over_a_border_is_cut_there():
    found = note_columns(Notes((Note(0.0, 1.0, 60.0),)), [400_000, 1_000_000])
    assert found == {"note_seq": "C4 C4", "note_dur": "0.400000 0.600000"}


def test_a_short_note_at_a_border_is_not_lost():
    found = note_columns(Notes((Note(0.46, 0.54, 60.0), Note(0.9, 1.0, 62.0))), [500_000, 1_000_000])
    assert found["note_seq"].split().count("C4") >= 1
    assert total(found["note_dur"]) == 1


def test_sound_beyond_the_last_word_is_left_out():
    found = note_columns(Notes((Note(0.0, 5.0, 60.0),)), [1_000_000])
    assert found == {"note_seq": "C4", "note_dur": "1.000000"}


def test_other_rows_columns_and_the_order_stay(tmp_path: Path):
    path = tmp_path / "transcriptions.csv"
    write_table(
        path,
        "note_dur,name,lang,note_seq,ph_seq,ph_dur,ph_num",
        '1.0,other,zh,E4,"a, ""b""",1.0,1',
        "9.0,song,ja,C9,SP l a SP,0.1 0.2 1.2 0.5,1 2 1",
        "short,without the rest of its fields",
        end="\r\n",
    )
    assert update_transcriptions(path, {"gone": SONG, "song": SONG}) == ("gone",)
    lines = path.read_bytes().split(b"\r\n")
    assert lines[0] == b"note_dur,name,lang,note_seq,ph_seq,ph_dur,ph_num"
    assert lines[1] == b'1.0,other,zh,E4,"a, ""b""",1.0,1'
    assert lines[2].endswith(b",song,ja,rest A3+30 C4 rest,SP l a SP,0.1 0.2 1.2 0.5,1 2 1")
    assert lines[3] == b"short,without the rest of its fields,,,,,"


def test_a_byte_order_mark_is_taken_away(tmp_path: Path):
    """DiffSinger would read it as a part of the first column's name."""
    path = tmp_path / "transcriptions.csv"
    path.write_bytes(b"\xef\xbb\xbfname,ph_dur,ph_num\nsong,2.0,1\n")
    update_transcriptions(path, {"song": SONG})
    assert path.read_bytes().startswith(b"name,")


def test_a_new_table_has_a_row_for_each_recording(tmp_path: Path):
    path = tmp_path / "transcriptions.csv"
    silent = F0Track(np.arange(101) * 0.01, np.zeros(101), np.zeros(101), np.zeros(101))
    assert update_transcriptions(path, {"song": SONG, "silence": silent.notes()}) == ()
    song, silence = rows(path)
    assert (song["name"], song["ph_seq"], song["ph_num"]) == ("song", "", "")
    assert song["note_seq"] == "rest A3+30 C4"
    assert song["note_dur"] == "0.120000 0.560000 0.820000"
    assert (silence["note_seq"], silence["note_dur"]) == ("rest", "1.000000")


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        ("file,ph_dur", "song,1.0", "must name the columns"),
        ("name,name", "song,1.0", "must name the columns"),
        ("name,ph_dur,ph_num", "song,1.0 2.0,1", "row 1, song, ph_num counts 1 phonemes and ph_dur has 2"),
        ("name,ph_dur,ph_num", "song,1.0,", "ph_num counts 0"),
        ("name,ph_dur,ph_num", "song,one,1", "something else than numbers"),
        ("name,ph_dur,ph_num", "song,1.0,1.5", "something else than numbers"),
        ("name,ph_dur,ph_num", "song,-1.0,1", "durations in seconds"),
        ("name,ph_dur,ph_num", "song,nan,1", "durations in seconds"),
        ("name,ph_dur,ph_num", "song,0,1", "durations in seconds"),
        ("name,ph_dur,ph_num", "song,1.0,1,more", "row 1 has 4 fields for 3 columns"),
        ("name,ph_dur,ph_num", 'song,"1.0,1', "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_right_stays(header: str, line: str, words: str, tmp_path: Path):
    path = tmp_path / "transcriptions.csv"
    write_table(path, header, line)
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"transcriptions\.csv.*{words}"):
        update_transcriptions(path, {"song": SONG})
    assert path.read_bytes() == before
    with pytest.raises(UserError, match=rf"transcriptions\.csv.*{words}"):
        check_transcriptions(path, ["song"])


def test_what_a_table_has_before_the_work(tmp_path: Path):
    path = tmp_path / "transcriptions.csv"
    assert check_transcriptions(path, ["song", "new"]) == {"song": False, "new": False}
    assert not path.exists()
    rows_before = ["done,1.0,1,C4,1.0", "song,1.0,1,,", "half,1.0,1,C4,", "bad,1.0,7,,"]
    write_table(path, "name,ph_dur,ph_num,note_seq,note_dur", *rows_before)
    names = ["new", "half", "song", "done"]
    assert check_transcriptions(path, names) == {"done": True, "song": False, "half": False}
    with pytest.raises(UserError, match=r"row 4, bad, ph_num counts 7"):
        check_transcriptions(path, [*names, "bad"])


def test_an_accent_is_the_same_in_both_ways_of_unicode(tmp_path: Path):
    path = tmp_path / "transcriptions.csv"
    write_table(path, "name", "\u00e9t\u00e9")
    apart = "e\u0301te\u0301"
    assert check_transcriptions(path, [apart]) == {apart: False}
    assert update_transcriptions(path, {apart: SONG}) == ()
    assert rows(path)[0]["note_seq"] == "rest A3+30 C4"
    assert rows(path)[0]["name"] == "\u00e9t\u00e9"


@pytest.mark.parametrize("content", [b"", b"\xff\xfen\0a\0m\0e\0"])
def test_a_file_of_another_kind_stays(content: bytes, tmp_path: Path):
    path = tmp_path / "transcriptions.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"transcriptions\.csv"):
        update_transcriptions(path, {})
    assert path.read_bytes() == content


def test_a_recording_with_a_pitch_that_diffsinger_does_not_have_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="the notes of song cannot be written: note 1 at"):
        update_transcriptions(tmp_path / "t.csv", {"song": Notes((Note(0.0, 1.0, 130.0),))})
    assert not list(tmp_path.iterdir())


@given(melodies(0.0, 127.0), st.lists(st.integers(1, 100_000_000), min_size=1, max_size=30, unique=True))
def test_durations_add_up_to_the_words_and_no_note_goes_over_a_border(notes: list[Note], ends: list[int]):
    borders = sorted(ends)
    found = note_columns(Notes(tuple(notes)), borders)
    durations = [round(Decimal(word) * 1_000_000) for word in found["note_dur"].split()]
    assert len(durations) == len(found["note_seq"].split())
    assert min(durations) > 0
    edges = np.cumsum(durations).tolist()
    assert edges[-1] == borders[-1]
    assert set(borders) <= set(edges)
