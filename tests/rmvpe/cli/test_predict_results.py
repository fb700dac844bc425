"""`rmvpe predict --notes --midi --plot --sonify`: all results of a recording, from one reading and one pass."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe import audio
from rmvpe.cli import predict as cli
from rmvpe.estimator import Estimator
from rmvpe.notes.notes import Notes
from rmvpe.sound.sonified import is_sonified
from rmvpe.track import F0Track
from tests.helpers.commands import command_with
from tests.helpers.settings import decoding
from tests.helpers.waves import waves

Predict = Callable[..., int]
ALL = ("--notes", "--midi", "--sonify")
PITCH_HZ = 319.5  # that of the network below, so that the level at its harmonics is that of the tone
RESULTS = ["a.csv", "a.mid", "a.notes.csv", "a.sonified.wav"]


@pytest.fixture
def predict() -> Predict:
    """`rmvpe predict` with a network that finds one pitch wherever it is loud."""
    return command_with(cli, lambda *_: waves(256, 64, decoding()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One recording of two tones with silence between them, in the folder `in`; the current folder."""
    pytest.importorskip("mido")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    tone = 0.3 * np.sin(2 * np.pi * PITCH_HZ * np.arange(16_000) / 16_000)
    soundfile.write("in/a.wav", np.concatenate([tone, np.zeros(16_000), tone]), 16_000)
    return tmp_path


def files_in(path: str) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file())


def refused(predict: Predict, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused before any work: exit code 2, one line on stderr, nothing written."""
    before = files_in(".")
    assert predict(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert files_in(".") == before
    return error


def test_all_results_of_one_pass(
    folder: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("matplotlib")
    calls: list[str] = []

    def counted(name: str, function: Callable) -> Callable:
        def call(*given: object, **more: object) -> object:
            calls.append(name)
            return function(*given, **more)

        return call

    monkeypatch.setattr(audio, "read", counted("read", audio.read))
    monkeypatch.setattr(Estimator, "from_recording", counted("predict", Estimator.from_recording))
    monkeypatch.setattr(F0Track, "notes", counted("notes", F0Track.notes))
    assert predict("in", "-o", "out", *ALL, "--plot") == 0
    assert calls == ["read", "predict", "notes"]
    assert files_in("out") == sorted([*RESULTS, "a.png"])
    line = capsys.readouterr().out
    assert line.startswith("in/a.wav -> out/a.csv, a.png, a.notes.csv, a.mid, a.sonified.wav: 301 frames, ")
    assert line.endswith(", 2 notes\n")
    table, midi = Notes.read("out/a.notes.csv"), Notes.read("out/a.mid")
    assert len(table) == len(midi) == 2
    assert [note.velocity for note in table] == [note.velocity for note in midi]
    np.testing.assert_allclose([note.onset_s for note in table], [note.onset_s for note in midi], atol=0.001)


def test_the_results_are_those_of_the_interface(folder: Path, predict: Predict):
    assert predict("in/a.wav", "-o", "x.npz", *ALL) == 0
    recording = audio.read("in/a.wav")
    track = waves(256, 64, decoding()).from_recording(recording)
    assert F0Track.read("x.npz") == track
    track.notes(recording).write("y.csv")
    assert Path("x.notes.csv").read_bytes() == Path("y.csv").read_bytes()
    track.notes(recording).write("y.mid", title="a")
    assert Path("x.mid").read_bytes() == Path("y.mid").read_bytes()


@pytest.mark.parametrize("what", ["f0", "notes"])
def test_the_sound_has_the_recording_left(what: str, folder: Path, predict: Predict):
    assert predict("in/a.wav", "-o", "out/", "--sonify", what) == 0
    assert files_in("out") == ["a.csv", "a.sonified.wav"]
    sound, rate = soundfile.read("out/a.sonified.wav")
    assert rate == 16_000
    np.testing.assert_allclose(sound[:, 0], soundfile.read("in/a.wav")[0], atol=1e-4)
    assert sound[4000:12_000, 1].std() == pytest.approx(sound[4000:12_000, 0].std(), rel=0.1)
    assert not sound[20_000:28_000, 1].any()


def test_without_voice_all_results_are_valid_and_empty(
    folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
):
    soundfile.write("silence.wav", np.zeros(16_000), 16_000)
    assert predict("silence.wav", "-o", "out/", *ALL) == 0
    assert capsys.readouterr().out.endswith(": 101 frames, no voice found, no notes\n")
    assert len(Notes.read("out/silence.notes.csv")) == len(Notes.read("out/silence.mid")) == 0
    assert not soundfile.read("out/silence.sonified.wav")[0].any()


def test_again_into_the_folder_of_the_inputs(folder: Path, predict: Predict):
    """The sound that was made is no new input, and all results are replaced as ours."""
    for _ in range(2):
        assert predict("in", "-o", "in", *ALL) == 0
        assert files_in("in") == sorted([*RESULTS, "a.wav"])
    assert not is_sonified("in/a.wav")


@pytest.mark.parametrize("name", RESULTS)
def test_skip_existing_looks_at_each_result(
    name: str, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
):
    assert predict("in", "-o", "out", *ALL) == 0
    damaged, whole = Path("out", name), Path("out", name).read_bytes()
    capsys.readouterr()
    assert predict("in", "-o", "out", *ALL, "--skip-existing") == 0
    assert "1 of 1 files skipped" in capsys.readouterr().err
    damaged.write_bytes(whole[: len(whole) - 10])
    assert predict("in", "-o", "out", *ALL, "--skip-existing") == 0
    assert damaged.read_bytes() == whole
    damaged.unlink()
    assert predict("in", "-o", "out", *ALL, "--skip-existing") == 0
    assert damaged.read_bytes() == whole


@pytest.mark.parametrize("name", RESULTS)
def test_what_we_did_not_write_stays(name: str, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    Path("out").mkdir()
    shutil.copy("in/a.wav", Path("out", name))
    before = Path("out", name).read_bytes()
    assert f"{name} exists and is not known as a result" in refused(predict, capsys, "in", "-o", "out", *ALL)
    assert Path("out", name).read_bytes() == before
    assert predict("in", "-o", "out", *ALL, "--force") == 0
    assert files_in("out") == RESULTS


def test_one_result_that_fails_does_not_take_the_others(
    folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    Path("out/a.mid").mkdir(parents=True)
    assert "a.mid" in refused(predict, capsys, "in", "-o", "out", *ALL)  # seen before any work
    Path("out/a.mid").rmdir()
    monkeypatch.setattr(Notes, "rounded", lambda notes, tuned: Notes((notes[0].__class__(0.0, 1.0, 130.0),)))
    assert predict("in", "-o", "out", *ALL, "--round") == 2
    error = capsys.readouterr().err
    assert "a.mid" in error
    assert "130" in error
    assert files_in("out") == ["a.csv", "a.notes.csv", "a.sonified.wav"]


def test_without_mido_nothing_begins(
    folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "mido", None)
    assert "pip install mido" in refused(predict, capsys, "in", "-o", "out", "--midi")
    assert predict("in", "-o", "out", "--notes") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in/a.wav", "-o", "-", "--notes"], "--notes writes a file beside the result, which goes to stdout"),
        (["in/a.wav", "-o", "-", "--sonify"], "--sonify writes a file"),
        (["in/a.wav", "-o", "out", "--tempo", "90"], "--tempo is about notes, and none are written"),
        (["in/a.wav", "-o", "out", "--sonify", "--hold-ms", "9"], "--hold-ms is about notes"),
        (["in/a.wav", "-o", "out", "--notes", "--plain"], "--plain is about MIDI files"),
        (["in/a.wav", "-o", "out", "--midi", "--plain", "--bend-range", "2"], "--bend-range is of pitch bends"),
        (["in/a.wav", "-o", "out", "--midi", "--round", "--bend-range", "2"], "--round writes MIDI without them"),
        (["in/a.wav", "-o", "out", "--midi", "--quantize", "1/16"], "add --tempo"),
        (["in/a.wav", "-o", "out", "--midi", "--quantize", "16", "--tempo", "90"], "'16' is no grid"),
        (["in/a.wav", "-o", "out", "--midi", "--tempo", "0"], "tempo_bpm"),
        (["in/a.wav", "-o", "out", "--midi", "--bend-range", "99"], "bend_range"),
        (["in/a.wav", "-o", "out", "--notes", "--shortest-note-ms", "-1"], "shortest_note_ms"),
        (["in/a.wav", "-o", "out", "--sonify", "in/a.wav"], "argument --sonify: invalid choice"),
        (["in/a.wav", "-o", "a.mid", "--format", "csv", "--midi"], "a.mid and a.mid are one file"),
    ],
)
def test_wrong_flags(
    arguments: list[str], words: str, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
):
    assert words in refused(predict, capsys, *arguments)


def test_note_flags_reach_the_notes(folder: Path, predict: Predict):
    assert predict("in/a.wav", "-o", "out/", "--notes", "--round", "--quantize", "1/4", "--tempo", "60") == 0
    notes = Notes.read("out/a.notes.csv")
    assert [(note.onset_s, note.offset_s) for note in notes] == [(0.0, 1.0), (2.0, 3.0)]
    assert all(note.pitch_midi == round(note.pitch_midi) for note in notes)
    assert predict("in/a.wav", "-o", "out/", "--notes", "--shortest-note-ms", "5000") == 0
    assert len(Notes.read("out/a.notes.csv")) == 0


def test_the_theme_and_the_notes_change_the_picture(folder: Path, predict: Predict):
    pytest.importorskip("matplotlib")
    pictures = set()
    for flags in ([], ["--theme", "light"], ["--notes"]):
        assert predict("in/a.wav", "-o", "out/", "--plot", *flags) == 0
        pictures.add(Path("out/a.png").read_bytes())
    assert len(pictures) == 3
