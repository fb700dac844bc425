"""Label files as people write them: read as what they mean, or refused by line; never a pitch that nobody sang."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmvpe.data.readers.folder import read_annotation
from rmvpe.data.readers.labels import last_time_s, read_label, read_notes_json, read_notes_text, read_time_f0
from rmvpe.errors import UserError

Points = Callable[[Path], tuple[np.ndarray, np.ndarray]]
TIME_F0: list[Points] = [read_time_f0, read_annotation]


def written(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("read", TIME_F0)
@pytest.mark.parametrize("unvoiced", ["0", "0.0", "-0.0", "-220.5", "nan", "NaN", "", " ", "-1"])
def test_every_way_to_write_unvoiced_is_0(tmp_path: Path, read: Points, unvoiced: str) -> None:
    path = written(tmp_path, f"0.00,220.5\n0.01,{unvoiced}\n0.02,110\n")
    time_s, f0_hz = read(path)
    np.testing.assert_array_equal(time_s, [0.0, 0.01, 0.02])
    np.testing.assert_array_equal(f0_hz, np.array([220.5, 0.0, 110.0], np.float32))
    assert last_time_s(path) == 0.02


def test_the_last_time_is_found_where_its_f0_is_empty(tmp_path: Path) -> None:
    assert last_time_s(written(tmp_path, "0.00,220\n0.01,\n")) == 0.01


@pytest.mark.parametrize("read", TIME_F0)
@pytest.mark.parametrize("encode", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n\n"])
def test_encodings_and_line_ends_change_nothing(tmp_path: Path, read: Points, encode: str, end: str) -> None:
    text = f"0.00,220.5\n0.01,0{end}".replace("\n", end if end == "\r\n" else "\n").replace("\r\r", "\r")
    time_s, f0_hz = read(written(tmp_path, text.encode(encode)))
    np.testing.assert_array_equal(time_s, [0.0, 0.01])
    np.testing.assert_array_equal(f0_hz, np.array([220.5, 0.0], np.float32))


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", ", "])
def test_a_folders_annotations_may_have_other_separators_and_a_header(tmp_path: Path, separator: str) -> None:
    header = "Zeit für f0\n".encode("latin-1")
    rows = f"0.00{separator}220.5{separator}1\n0.01{separator}-220.5{separator}0\n".encode()
    time_s, f0_hz = read_annotation(written(tmp_path, header + rows))
    np.testing.assert_array_equal(time_s, [0.0, 0.01])
    np.testing.assert_array_equal(f0_hz, np.array([220.5, 0.0], np.float32))


@pytest.mark.parametrize("read", TIME_F0)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0.01,0.08", "outside 1 to 10000 Hz"),
        ("0.01,9e11", "outside 1 to 10000 Hz"),
        ("0.01,10000.1", "outside 1 to 10000 Hz"),
        ("0.01,inf", "outside 1 to 10000 Hz"),
        ("0.01,-inf", "outside 1 to 10000 Hz"),
        ("-0.01,220", "time outside"),
        ("1e300,220", "time outside"),
        ("inf,220", "time outside"),
        ("nan,220", "is not"),
        (",220", "is not"),
        ("0.01,high", "is not"),
        ("0.01", "is not"),
        ("0.00,220", "sort the times"),
        ("0,01;220,5", "decimal commas"),
        ("0,01\t220,5", "decimal commas"),
        ("0,01 220", "decimal commas"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_line(tmp_path: Path, read: Points, line: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"a\.csv, line 2: .*{reason}"):
        read(written(tmp_path, f"0.00,220\n{line}\n0.02,220\n"))


@pytest.mark.parametrize("read", TIME_F0)
def test_decimal_commas_between_commas_are_the_reason_and_not_the_times(tmp_path: Path, read: Points) -> None:
    with pytest.raises(UserError, match=r"line \d: .* has decimal commas"):
        read(written(tmp_path, "0,00,220,5\n0,01,221,5\n0,02,222,5\n"))


def test_a_pitch_line_holds_midi_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "69\n0\nnan\n\n57.0\n", "a.pv")
    np.testing.assert_allclose(read_label(path), [440.0, 0.0, 0.0, 0.0, 220.0], rtol=1e-6)
    np.testing.assert_allclose(read_label(written(tmp_path, "69\r\n57\r\n\r\n", "a.pv")), [440.0, 220.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("220.0", "above 127.* not Hz"),
        ("127.5", "above 127"),
        ("1e300", "above 127"),
        ("inf", "not a MIDI"),
        ("-60", "not a MIDI"),
        ("57,5", "decimal comma"),
        ("A4", "not a MIDI"),
    ],
)
def test_a_pitch_line_that_is_no_midi_number_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"a\.pv, line 2: .*{reason}"):
        read_label(written(tmp_path, f"60\n{line}\n", "a.pv"))


@pytest.mark.parametrize(
    "note",
    ["[0, 1, 440]", "[0, 1, 0]", "[2, 1, 60]", "[0, 1e300, 60]", "[0, 1, NaN]", "[0, 1, 1" + "0" * 4000 + "]", "{}"],
)
def test_a_note_that_cannot_be_right_is_refused(tmp_path: Path, note: str) -> None:
    with pytest.raises(UserError, match=r"a\.json, song 1, note 2: .* is not a note"):
        read_notes_json(written(tmp_path, f'{{"1": [[0, 1, 60], {note}]}}', "a.json"))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", "{}".encode("utf-16"), b"\xff{}", b'{"1": 3}', b"3"])
def test_notes_that_are_no_json_of_ours_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"a\.json .*data set again"):
        read_notes_json(written(tmp_path, content, "a.json"))


def test_notes_with_decimal_commas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.txt, line 2: .* decimal commas"):
        read_notes_text(written(tmp_path, "0 1 60\n1,5 2,5 60\n", "a.txt"))
    np.testing.assert_array_equal(read_notes_text(written(tmp_path, "0,1,60\n1.5 2.5 62\n\n", "a.txt")).shape, (2, 3))


VALUES = st.one_of(st.floats(1, 2000), st.floats(-2000, 0), st.just(math.nan), st.just(0.0))


@settings(max_examples=60, deadline=None)
@given(f0=st.lists(VALUES, min_size=1, max_size=20), crlf=st.booleans(), bom=st.booleans())
def test_every_reader_of_time_and_f0_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, f0: list[float], crlf: bool, bom: bool
) -> None:
    end = "\r\n" if crlf else "\n"
    text = ("\ufeff" if bom else "") + "".join(f"{0.01 * k!r},{value!r}{end}" for k, value in enumerate(f0))
    path = written(tmp_path_factory.mktemp("labels"), text)
    wanted = np.array([value if value > 0 else 0.0 for value in f0], dtype=np.float32)
    for read in TIME_F0:
        time_s, f0_hz = read(path)
        np.testing.assert_array_equal(f0_hz, wanted)
        np.testing.assert_array_equal(time_s, [0.01 * k for k in range(len(f0))])
    assert last_time_s(path) == 0.01 * (len(f0) - 1)


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(st.binary(max_size=60), st.text("0123456789.,;-+einfa \n\r\t\x00", max_size=60).map(str.encode))
)
def test_any_bytes_give_a_pitch_in_range_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = written(tmp_path_factory.mktemp("labels"), content)
    for read in (*TIME_F0, lambda path: (np.zeros(1), read_label(path))):
        try:
            time_s, f0_hz = read(path)
        except UserError as error:
            message = str(error)
        else:
            message = str(path)
            assert np.isfinite(time_s).all()
            assert ((f0_hz >= 0) & (f0_hz <= 12_544)).all()  # MIDI 127 is 12543.9 Hz
        assert str(path) in message


def test_a_fifo_is_no_label_and_nothing_waits(tmp_path: Path) -> None:
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo(tmp_path / "a.pv")
    with pytest.raises(UserError, match="not a regular file"):
        read_label(tmp_path / "a.pv")
