"""`rmvpe notes` as its users meet it: sound files, f0 files, folders, formats, flags, bad input, exit codes."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.cli import notes as cli
from rmvpe.estimator import Estimator
from rmvpe.files import write_json
from rmvpe.notes.files import SUFFIXES, WRITERS
from rmvpe.notes.notes import Notes
from rmvpe.track import F0Track
from tests.helpers.commands import command_with
from tests.helpers.settings import decoding
from tests.helpers.waves import waves

Command = Callable[..., int]


@pytest.fixture
def loads() -> list[tuple]:
    """What the command was asked to load."""
    return []


@pytest.fixture
def notes(loads: list[tuple]) -> Command:
    """`rmvpe notes` with a network that finds one pitch wherever it is loud."""

    def load(*given: str) -> Estimator:
        loads.append(given)
        return waves(256, 64, decoding())

    return command_with(cli, load)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording of two tones in the folder `in`, two f0 files in the folder `f0`; the current folder."""
    pytest.importorskip("mido")
    monkeypatch.chdir(tmp_path)
    for name in ("in", "f0"):
        (tmp_path / name).mkdir()
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000)
    soundfile.write("in/a.wav", np.concatenate([tone, np.zeros(16_000), tone]), 16_000)
    track().write("f0/x.csv")
    track().write("f0/y.npz")
    return tmp_path


def track(n: int = 300, hz: float = 220.0) -> F0Track:
    """One second sung, one second silent, one second sung."""
    voiced = np.arange(n) // 100 != 1
    return F0Track(np.arange(n) * 0.01, np.where(voiced, hz, 0.0), voiced, np.where(voiced, 0.9, 0.0))


def files_in(path: str) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file())


def refused(notes: Command, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused: exit code 2, one line on stderr, nothing written."""
    before = files_in(".")
    assert notes(*arguments) == 2
    error = capsys.readouterr().err.removeprefix("rmvpe notes: numpy on here\n")
    assert error.count("\n") == 1
    assert files_in(".") == before
    return error


def test_the_notes_of_a_sound_file(folder: Path, notes: Command, loads: list, capsys: pytest.CaptureFixture[str]):
    assert notes("in/a.wav", "-o", "a.mid") == 0
    assert loads == [("small", "auto", "auto")]
    said = capsys.readouterr()
    assert said.out.startswith("in/a.wav -> a.mid: 301 frames, ")
    assert said.out.endswith(", 2 notes\n")
    assert said.err == "rmvpe notes: numpy on here\n"  # nothing is missing
    found = Notes.read("a.mid")
    assert [round(note.onset_s) for note in found] == [0, 2]
    assert all(note.velocity for note in found)


def test_f0_files_need_no_network(folder: Path, notes: Command, loads: list, capsys: pytest.CaptureFixture[str]):
    track().write("f0/z.npy")
    track().write("f0/w.pv")
    assert notes("f0", "-o", "out", "--format", "csv") == 0
    assert loads == []
    assert files_in("out") == ["w.notes.csv", "x.notes.csv", "y.notes.csv", "z.notes.csv"]
    for name in files_in("out"):
        first, second = Notes.read(Path("out", name))
        assert (first.velocity, second.velocity) == (None, None)
        assert (first.onset_s, second.onset_s) == pytest.approx((0.0, 2.0), abs=0.02)
        assert first.pitch_midi == pytest.approx(57.0, abs=1e-3)
    error = capsys.readouterr().err
    (sentence,) = track().notes().missing
    assert error == f"rmvpe notes: {sentence}\n"  # once for four files


def test_the_sound_of_an_f0_file(folder: Path, notes: Command, loads: list, capsys: pytest.CaptureFixture[str]):
    assert notes("f0/x.csv", "--sound", "in/a.wav", "-o", "x.json") == 0
    assert loads == []
    assert capsys.readouterr().err == ""
    expected = track().notes(soundfile.read("in/a.wav")[0])
    assert [note.velocity for note in Notes.read("x.json")] == [note.velocity for note in expected]
    assert all(note.velocity for note in expected)


def test_sounds_and_f0_files_in_one_run(folder: Path, notes: Command, loads: list):
    assert notes("in/a.wav", "f0/x.csv", "-o", "out") == 0
    assert len(loads) == 1
    assert files_in("out") == ["a.mid", "x.mid"]


def test_a_folder_with_sounds_gives_these(folder: Path, notes: Command):
    track().write("in/a.csv")
    Path("in/labels.csv").write_text("0,220\n")
    assert notes("in", "-o", "in") == 0
    assert files_in("in") == ["a.csv", "a.mid", "a.wav", "labels.csv"]


def test_again_into_the_folder_of_the_f0_files(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    """The notes that were written there are no new f0 files."""
    for _ in range(2):
        assert notes("f0", "-o", "f0", "--format", "csv") == 0
        assert files_in("f0") == ["x.csv", "x.notes.csv", "y.notes.csv", "y.npz"]
    Path("f0/y.notes.csv").write_text("cut")
    capsys.readouterr()
    assert "y.notes.csv exists" in refused(notes, capsys, "f0", "-o", "f0", "--format", "csv")
    assert notes("f0", "-o", "f0", "--format", "csv", "--force") == 0
    assert notes("f0", "-o", "f0", "--format", "csv", "--skip-existing") == 0
    assert "2 of 2 files skipped" in capsys.readouterr().err


def test_a_report_of_ours_is_not_replaced(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    write_json(Path("report.json"), {"made_by": "rmvpe 0.1.0", "scores": []})
    before = Path("report.json").read_bytes()
    assert "report.json exists" in refused(notes, capsys, "f0/x.csv", "-o", "report.json")
    assert Path("report.json").read_bytes() == before
    assert notes("f0/x.csv", "-o", "report.json", "--force") == 0
    assert len(Notes.read("report.json")) == 2


@pytest.mark.parametrize("file_format", WRITERS)
def test_each_format_twice_and_without_voice(
    file_format: str, folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]
):
    """Each is written, replaced as ours, passed over when complete, and valid for a recording without voice."""
    F0Track(np.arange(50) * 0.01, *np.zeros((3, 50))).write("f0/silent.csv")
    for _ in range(2):
        assert notes("f0", "-o", "out", "--format", file_format) == 0
        assert len(files_in("out")) == 3
    assert notes("f0", "-o", "out", "--format", file_format, "--skip-existing") == 0
    said = capsys.readouterr()
    assert said.out.count("50 frames, no voice found, no notes") == 2
    assert "3 of 3 files skipped" in said.err
    names = files_in("out")
    assert {SUFFIXES[Path(name).suffix[1:].lower()] for name in names} <= {file_format, "csv"}


def test_to_standard_output(folder: Path, notes: Command, capfdbinary: pytest.CaptureFixture[bytes]):
    assert notes("f0/x.csv", "-o", "x.csv") == 0
    capfdbinary.readouterr()
    assert notes("f0/x.csv", "-o", "-", "--format", "csv") == 0
    said = capfdbinary.readouterr()
    assert said.out == Path("x.csv").read_bytes()
    assert b"f0/x.csv -> -: " in said.err


def test_a_bad_file_does_not_stop_a_folder(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    Path("f0/labels.csv").write_text("0.00,220\n0.01,221\n")
    np.savez("f0/other.npz", weights=np.zeros(3))
    assert notes("f0", "-o", "out") == 1
    assert files_in("out") == ["x.mid", "y.mid"]
    error = capsys.readouterr().err
    assert "labels.csv is no csv file of an f0 track: " in error
    assert "other.npz is no npz file of an f0 track: it has no time_s" in error
    assert "2 of 4 files failed" in error


def test_a_gap_in_the_times_is_silence(folder: Path, notes: Command):
    whole = track()
    keep = whole.voiced
    F0Track(whole.time_s[keep], whole.f0_hz[keep], whole.voiced[keep], whole.confidence[keep]).write("gap.csv")
    assert notes("gap.csv", "-o", "gap.json") == 0
    first, second = Notes.read("gap.json")
    assert (first.offset_s, second.onset_s) == pytest.approx((1.0, 2.0), abs=0.02)


def test_pitches_outside_midi_are_named(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    track(hz=15_000.0).write("high.csv")
    error = refused(notes, capsys, "high.csv", "-o", "high.mid")
    assert "high.mid" in error
    assert "127" in error
    assert notes("high.csv", "-o", "high.json") == 0
    assert len(Notes.read("high.json")) == 2
    assert notes("high.csv", "f0/x.csv", "-o", "out") == 1
    assert files_in("out") == ["x.mid"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["f0/x.csv", "-o", "f0/x.csv"], "x.csv is an input and would be replaced"),
        (["f0/x.csv", "-o", "x.mid", "--format", "csv"], "x.mid ends in .mid but --format says csv: drop one"),
        (["f0/x.csv", "-o", "x.xml"], "x.xml has no known suffix: choose one of mid, csv"),
        (["f0/x.csv", "-o", "x", "--format", "xml"], "argument --format: invalid choice"),
        (["f0", "-o", "x.mid"], "give a folder and --format mid"),
        (["f0", "-o", "-"], "is one stream but the input is not one file"),
        (["f0", "--sound", "in/a.wav", "-o", "out"], "--sound in/a.wav belongs to one f0 file"),
        (["in/a.wav", "--sound", "in/a.wav", "-o", "out"], "--sound in/a.wav belongs to one f0 file"),
        (["f0/x.csv", "--sound", "in/no.wav", "-o", "out"], "in/no.wav does not exist"),
        (["f0/x.csv", "--threshold", "0.1", "-o", "out"], "--threshold decides the f0 of sound files"),
        (["f0/x.csv", "--f0-min", "100", "-o", "out"], "--f0-min decides the f0 of sound files"),
        (["f0/no.csv", "-o", "out"], "f0/no.csv does not exist"),
        (["f0/x.csv", "-o", "x.csv", "--bend-range", "2"], "--bend-range is about MIDI files"),
        (["f0/x.csv", "-o", "x.csv", "--tempo", "90"], "--tempo is about MIDI files"),
        (["f0/x.csv", "-o", "out", "--shortest-gap-ms", "nan"], "shortest_gap_ms"),
        (["f0/x.csv", "-o", "out", "--hop-ms", "0"], "0 ms"),
        (["ms.csv", "-o", "out"], "ms.csv has a frame every 10 s: give its times in seconds"),
        (["empty", "-o", "out"], "empty holds no sound file and no f0 file (csv, npz, npy, pv"),
    ],
)
def test_wrong_requests(
    arguments: list[str], words: str, folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]
):
    Path("empty").mkdir()
    whole = track()
    F0Track(1000 * whole.time_s, whole.f0_hz, whole.voiced, whole.confidence).write("ms.csv")
    assert words in refused(notes, capsys, *arguments)


def test_without_mido_nothing_begins(
    folder: Path, notes: Command, loads: list, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "mido", None)
    assert "pip install mido" in refused(notes, capsys, "in/a.wav", "-o", "out")
    assert loads == []
    assert notes("in/a.wav", "-o", "out", "--format", "csv") == 0


def test_flags_reach_the_notes(folder: Path, notes: Command):
    mido = pytest.importorskip("mido")
    track(hz=225.0).write("f0/x.csv")
    assert notes("f0/x.csv", "-o", "x.mid", "--tempo", "90", "--title", "Aria") == 0
    events = [event for part in mido.MidiFile("x.mid").tracks for event in part]
    assert any(event.type == "pitchwheel" and event.pitch for event in events)
    assert {event.name for event in events if event.type == "track_name"} == {"Aria"}
    assert [event.tempo for event in events if event.type == "set_tempo"] == [mido.bpm2tempo(90)]
    for flags in (["--plain"], ["--round"], ["--quantize", "1/8", "--tempo", "90"]):
        assert notes("f0/x.csv", "-o", "x.mid", *flags) == 0
        assert not any(event.type == "pitchwheel" for part in mido.MidiFile("x.mid").tracks for event in part)
    assert notes("f0/x.csv", "-o", "x.json", "--round", "tuned") == 0
    assert [note.pitch_midi for note in Notes.read("x.json")] == [57.0, 57.0]
    assert notes("f0/x.csv", "-o", "x.json", "--shortest-note-ms", "5000") == 0
    assert len(Notes.read("x.json")) == 0


def test_the_hop_of_an_npy_file(folder: Path, notes: Command):
    track().write("f0/x.npy")
    assert notes("f0/x.npy", "-o", "x.json", "--hop-ms", "20") == 0
    assert Notes.read("x.json")[1].onset_s == pytest.approx(4.0, abs=0.04)


def test_a_picture_with_and_without_sound(folder: Path, notes: Command):
    pytest.importorskip("matplotlib")
    assert notes("in/a.wav", "f0", "-o", "out", "--format", "csv", "--plot") == 0
    assert files_in("out") == ["a.notes.csv", "a.png", "x.notes.csv", "x.png", "y.notes.csv", "y.png"]
