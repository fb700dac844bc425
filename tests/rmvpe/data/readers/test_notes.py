"""Data sets with notes: the same notes from every layout, at their times, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.data.readers.note_tables import read_notes_table, read_onset_hz_duration
from rmvpe.data.readers.registry import NOTE_KINDS, files_of, open_note_source, open_source
from rmvpe.errors import UserError
from rmvpe.pitch import midi_to_hz

SECONDS = 2.0
NOTES = np.array([[0.25, 0.5, 57.0], [0.5, 0.75, 60.25], [1.0, 1.9, 69.0]])
TABLE = "onset_s,offset_s,pitch_midi,name,velocity,confidence\n" + "".join(
    f"{onset},{offset},{midi},A3,64,0.9\n" for onset, offset, midi in NOTES
)
TEXT = "".join(f"{onset} {offset} {midi}\n" for onset, offset, midi in NOTES)


def silence(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(SECONDS * 16_000)), 16_000)
    return path


def make_songs(root: Path, table: str) -> None:
    silence(root / "train" / "1" / "Mixture.wav")
    (root / table).write_text(json.dumps({"1": NOTES.tolist()}))


def make_vocadito(root: Path) -> None:
    silence(root / "Audio" / "vocadito_1.wav")
    for folder in ("F0", "Notes"):
        (root / "Annotations" / folder).mkdir(parents=True)
    (root / "Annotations" / "F0" / "vocadito_1_f0.csv").write_text("0,0\n1,0\n2,0\n")
    rows = (f"{onset},{float(midi_to_hz(midi)):.8f},{offset - onset}\n" for onset, offset, midi in NOTES)
    (root / "Annotations" / "Notes" / "vocadito_1_notesA1.csv").write_text("".join(rows))


def make_folder(root: Path) -> None:
    silence(root / "take.wav").with_suffix(".notes.csv").write_text(TABLE)


def make_hybrid(root: Path) -> None:
    samples = np.zeros(int(SECONDS * 16_000), dtype=np.float32)
    (root / "all").mkdir(parents=True)
    write_hybrid_pair(root / "all", "take", samples, samples, np.zeros(201))
    (root / "all" / "take.notes.csv").write_text(TABLE)


MAKERS: dict[str, Callable[[Path], None]] = {
    "mir-st500": lambda root: make_songs(root, "MIR-ST500_corrected.json"),
    "cmedia": lambda root: make_songs(root, "Cmedia_train_gt.json"),
    "vocadito": make_vocadito,
    "folder": make_folder,
    "hybrid": make_hybrid,
}


def test_every_kind_is_tried():
    assert set(MAKERS) == {*NOTE_KINDS, "hybrid"}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_notes_are_read_as_they_are_written(kind: str, tmp_path: Path):
    MAKERS[kind](tmp_path)
    source = open_note_source(f"{kind}:{tmp_path}", "all")
    found = source.notes(0)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, NOTES, atol=1e-7)  # eight decimals of a frequency
    assert len(source[0].voice) == SECONDS * 16_000


def test_several_sources_are_one(tmp_path: Path):
    make_folder(tmp_path / "a")
    make_hybrid(tmp_path / "b")
    (tmp_path / "b" / "all" / "take.notes.csv").write_text(TABLE.splitlines()[0])
    source = open_note_source(f"folder:{tmp_path / 'a'},hybrid:{tmp_path / 'b'}", "all")
    assert [len(source.notes(index)) for index in range(len(source))] == [3, 0]
    assert tmp_path / "b" / "all" / "take.notes.csv" in files_of(source)
    assert tmp_path / "a" / "take.notes.csv" in files_of(source)


def test_a_folder_of_text_files_tables_and_others(tmp_path: Path):
    silence(tmp_path / "a.wav").with_suffix(".txt").write_text(TEXT)
    silence(tmp_path / "b.flac").with_suffix(".notes.csv").write_text("onset_s,offset_s,pitch_midi\n")
    silence(tmp_path / "c.wav")
    source = open_note_source(f"folder:{tmp_path}", "test")
    assert [source.name(index) for index in range(len(source))] == ["a", "b"]
    np.testing.assert_array_equal(source.notes(0), NOTES)
    assert source.notes(1).shape == (0, 3)
    item = source[0]  # mixed by where the notes are
    assert item.f0_hz[30] == pytest.approx(220.0)
    assert item.f0_hz[80] == 0.0
    with pytest.raises(UserError, match="recordings but no annotation"):
        open_source(f"folder:{tmp_path}", "test")  # for f0 a text file is no annotation


def test_notes_are_sorted_and_the_order_of_a_table_is_free(tmp_path: Path):
    path = tmp_path / "a.notes.csv"
    path.write_text("onset_s,offset_s,pitch_midi\n\n2,3,60\n1,1.5,61.5\n")
    np.testing.assert_array_equal(read_notes_table(path), [[1, 1.5, 61.5], [2, 3, 60]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "its first line must be onset_s,offset_s,pitch_midi"),
        ("0.5,1,60\n", "its first line must be"),
        ("onset_s,offset_s,pitch_midi\n\n1,0.5,60\n", "line 3: .* is not a note"),
        ("onset_s,offset_s,pitch_midi\n1,2\n", "line 2: .* is not a note"),
        ("onset_s,offset_s,pitch_midi\n1,2,440\n", "line 2: .* is not a note"),
        ("onset_s,offset_s,pitch_midi\n1,2,nan\n", "line 2: .* is not a note"),
    ],
)
def test_a_faulty_table_names_its_line(text: str, words: str, tmp_path: Path):
    (path := tmp_path / "a.notes.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_notes_table(path)


@pytest.mark.parametrize("line", ["0.5,440", "0.5,0,1", "0.5,-220,1", "a,440,1", "0.5,nan,1"])
def test_a_faulty_line_of_vocadito_is_named(line: str, tmp_path: Path):
    (path := tmp_path / "a.csv").write_text(f"0,440,1\n{line}\n")
    with pytest.raises(UserError, match=r"a\.csv, line 2"):
        read_onset_hz_duration(path)


def test_what_has_no_notes_is_said(tmp_path: Path):
    with pytest.raises(UserError, match="ikala has no notes: choose one of mir-st500, cmedia, vocadito, folder"):
        open_note_source(f"ikala:{tmp_path}", "all")
    silence(tmp_path / "folder" / "a.wav").with_suffix(".csv").write_text("0,0\n1,0\n")
    with pytest.raises(UserError, match=r"holds recordings but no notes: put NAME\.notes\.csv"):
        open_note_source(f"folder:{tmp_path / 'folder'}", "all")
    make_hybrid(tmp_path / "h")
    (tmp_path / "h" / "all" / "take.notes.csv").unlink()
    with pytest.raises(UserError, match=r"has no notes: put NAME\.notes\.csv beside each"):
        open_note_source(str(tmp_path / "h"), "all")
    write_hybrid_pair(tmp_path / "h" / "all", "b", np.zeros(32_000), None, np.zeros(201))
    (tmp_path / "h" / "all" / "b.notes.csv").write_text(TABLE)
    source = open_note_source(str(tmp_path / "h"), "all")  # take.wav, without notes, is left out
    assert [source.name(index) for index in range(len(source))] == ["b"]
    np.testing.assert_allclose(source.notes(0), NOTES)


@pytest.mark.parametrize("kind", ["folder", "hybrid"])
def test_notes_are_cut_at_the_end_and_those_of_another_recording_are_refused(kind: str, tmp_path: Path):
    MAKERS[kind](tmp_path)
    (path,) = tmp_path.rglob("*.notes.csv")
    path.write_text(TABLE + "1.95,2.8,60\n2.2,2.45,61\n")  # the end of an excerpt
    source = open_note_source(f"{kind}:{tmp_path}", "all")
    np.testing.assert_allclose(source.notes(0), [*NOTES, [1.95, 2.0, 60.0]])
    path.write_text(TABLE + "9,10,60\n")
    with pytest.raises(UserError, match=r"take\.notes\.csv has a note at 9\.00 s but .*take\.wav lasts 2\.00 s"):
        source.notes(0)
