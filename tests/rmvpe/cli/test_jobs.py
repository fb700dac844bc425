"""`--jobs`: several processes write what one writes, to the byte, whatever becomes of the processes."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.backends import is_installed
from rmvpe.cli import notes as notes_command
from rmvpe.cli import predict as predict_command
from rmvpe.cli.main import main
from tests.helpers.commands import command_with
from tests.helpers.tasks import load_deadly, load_loud, load_nothing

Command = Callable[..., int]
HEAD = "name,ph_seq,ph_dur,ph_num,note_seq,note_dur\n"
needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="a process there cannot kill itself with SIGKILL")


@pytest.fixture
def predict() -> Command:
    return command_with(predict_command, load_loud)


@pytest.fixture
def notes() -> Command:
    return command_with(notes_command, load_loud)


@pytest.fixture
def songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five recordings, one of them loud, one cut off and one in a folder of its own; and a file that is none."""
    monkeypatch.chdir(tmp_path)
    folder = Path("songs")
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.wav", "b.wav", "deep/c.wav", "loud.wav", "cut.wav")):
        tone = np.sin(np.arange(3000 + 1000 * number) * 0.08) * np.linspace(0.01, 0.1, 3000 + 1000 * number)
        soundfile.write(folder / name, tone * (9 if name == "loud.wav" else 1), 16_000)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:8000])
    (folder / "bad.wav").write_text("not a sound\n")
    return folder


def contents(folder: str) -> dict[str, bytes]:
    """The name and content of each file in a folder, temporary ones included."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def lines(text: str) -> list[str]:
    """What was printed, in any order, with one name for the folder of the results."""
    return sorted(text.replace("first", "out").replace("second", "out").splitlines())


@pytest.mark.parametrize(
    "flags",
    [[], ["--notes", "--midi", "--plot", "--sonify", "--hop-ms", "20"]],
    ids=["f0", "all results"],
)
def test_predict_writes_and_says_the_same(
    flags: list[str], songs: Path, predict: Command, capsys: pytest.CaptureFixture[str]
):
    if flags and not (is_installed("mido") and is_installed("matplotlib")):
        pytest.skip("needs mido and matplotlib")
    assert predict(songs, "-o", "first", *flags) == 1
    one = capsys.readouterr()
    assert predict(songs, "-o", "second", "--jobs", "2", *flags) == 1
    two = capsys.readouterr()
    assert len(contents("first")) == 5 * (5 if flags else 1)
    assert contents("second") == contents("first")
    assert lines(two.out) == lines(one.out)
    assert lines(two.err.replace(" in each of 2 processes", "", 1)) == lines(one.err)
    assert two.err.splitlines()[0] == "rmvpe predict: numpy on here, 1 threads in each of 2 processes"
    assert two.err.splitlines()[-1] == "rmvpe predict: 1 of 6 files failed"


def test_notes_writes_the_same_table(songs: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    for table in ("first.csv", "second.csv"):
        Path(table).write_text(HEAD + "".join(f"{name},,,,,\n" for name in ("a", "c", "loud", "x")))
    assert notes(songs, "--transcriptions", "first.csv", "-o", "first", "--format", "csv") == 1
    one = capsys.readouterr()
    assert notes(songs, "--transcriptions", "second.csv", "-o", "second", "--format", "csv", "--jobs", "3") == 1
    two = capsys.readouterr()
    assert Path("second.csv").read_bytes() == Path("first.csv").read_bytes()
    filled = [row for row in Path("first.csv").read_text().splitlines()[1:] if not row.endswith(",,")]
    assert len(filled) == 3
    assert contents("second") == contents("first")
    assert lines(two.out) == lines(one.out)
    assert lines(two.err.replace(" in each of 3 processes", "", 1)) == lines(one.err)


def test_notes_of_f0_files_load_no_network(songs: Path, predict: Command, capsys: pytest.CaptureFixture[str]):
    assert predict(songs, "-o", "f0") == 1
    notes = command_with(notes_command, load_nothing)
    assert notes("f0", "-o", "first", "--format", "csv") == 0
    capsys.readouterr()
    assert notes("f0", "-o", "second", "--format", "csv", "--jobs", "2") == 0
    assert capsys.readouterr().err.count("\n") == 1  # what the notes were found without
    assert contents("second") == contents("first")
    assert len(contents("second")) == 5


def test_skip_existing_goes_on(songs: Path, predict: Command, capsys: pytest.CaptureFixture[str]):
    assert predict(songs, "-o", "out", "--jobs", "2") == 1
    Path("out/b.csv").unlink()
    capsys.readouterr()
    assert predict(songs, "-o", "out", "--jobs", "2", "--skip-existing") == 1
    said = capsys.readouterr()
    assert said.out.startswith("songs/b.wav -> out/b.csv")
    assert said.out.count("\n") == 1
    assert "4 of 6 files skipped" in said.err


@needs_kill
def test_a_killed_worker_costs_nothing(
    songs: Path, predict: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert predict(songs, "-o", "first") == 1
    deadly = command_with(predict_command, load_deadly(Path("second/loud.csv"), tmp_path / "marker"))
    capsys.readouterr()
    assert deadly(songs, "-o", "second", "--jobs", "2") == 1
    assert contents("second") == contents("first")  # and nothing half written
    errors = capsys.readouterr().err
    assert "rmvpe predict: songs/loud.wav is done again: its worker process was ended by SIGKILL" in errors
    assert errors.splitlines()[-1] == "rmvpe predict: 1 of 6 files failed"


@needs_kill
def test_a_file_that_kills_every_worker_is_named(songs: Path, predict: Command, capsys: pytest.CaptureFixture[str]):
    assert predict(songs, "-o", "first") == 1
    deadly = command_with(predict_command, load_deadly(Path("second/loud.csv")))
    capsys.readouterr()
    assert deadly(songs, "-o", "second", "--jobs", "2") == 1
    expected = contents("first")
    del expected["loud.csv"]
    assert contents("second") == expected
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1] == "rmvpe predict: 2 of 6 files failed"
    assert sum(line.startswith("rmvpe predict: songs/loud.wav ended 2 worker processes") for line in errors) == 1


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ("0", "jobs must be a whole number from 1, or auto, not 0"),
        ("-2", "jobs must be a whole number from 1"),
        ("two", "'two' is no number"),
        ("1.5", "'1.5' is no number"),
        ("100000", "100000 jobs are too many for"),
    ],
)
def test_wrong_numbers(
    jobs: str, words: str, songs: Path, predict: Command, notes: Command, capsys: pytest.CaptureFixture[str]
):
    for command in (predict, notes):
        assert command(songs, "-o", "out", f"--jobs={jobs}") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"argument --jobs: {words}" in error
    assert not Path("out").exists()


def test_one_file_needs_no_other_process(songs: Path, predict: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert predict(songs / "a.wav", "-o", "-", "--jobs", "2") == 0
    assert predict(songs / "a.wav", "-o", "a.csv", "--jobs", "auto") == 0


def test_auto_is_one_process_for_each_cpu(
    songs: Path, predict: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("rmvpe.workers.cpus_of_this_process", lambda: 3)
    monkeypatch.setattr("rmvpe.workers.physical_cores", lambda: 3)
    assert predict(songs, "-o", "out", "--jobs", "auto", "--device", "cpu") == 1
    assert "in each of 3 processes" in capsys.readouterr().err
    assert predict(songs, "-o", "out", "--jobs", "auto", "--device", "cuda") == 1  # which processes would have to share
    assert "processes" not in capsys.readouterr().err


def test_what_no_worker_can_load_is_one_sentence(songs: Path, capsys: pytest.CaptureFixture[str]):
    arguments = [str(songs), "-o", "out", "--jobs", "2", "--device", "cpu", "--weights"]
    assert main(["predict", *arguments, "nowhere.safetensors"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nowhere.safetensors does not exist" in error
    predict = command_with(predict_command, load_loud)
    assert predict(songs, "-o", "out", "--jobs", "2", "--format", "pv", "--hop-ms", "20") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "20 ms" in error
    assert not Path("out").exists()


def test_weights_on_the_hub_are_fetched_once(songs: Path, predict: Command, monkeypatch: pytest.MonkeyPatch):
    """Here, before the workers load them all at once."""
    fetched: list[str] = []

    def locate(weights: str) -> AbstractContextManager[None]:
        fetched.append(weights)
        return nullcontext()

    monkeypatch.setattr("rmvpe.cli.options.locate", locate)
    assert predict(songs, "-o", "out", "--jobs", "2", "--weights", "hf:somebody/voices") == 1
    assert fetched == ["hf:somebody/voices"]


def test_the_bar_shows_all_files(
    songs: Path, predict: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert predict(songs, "-o", "out", "--jobs", "2") == 1
    error = capsys.readouterr().err
    assert error.index("0/6 files") < error.index("numpy on here")  # before a network is loaded
    assert "6/6 files" in error
    assert "100%" in error


def test_with_debug_the_traceback_of_a_worker_is_printed(
    songs: Path, predict: Command, capsys: pytest.CaptureFixture[str]
):
    assert predict(songs, "-o", "out", "--jobs", "2", "--debug") == 1
    error = capsys.readouterr().err
    assert error.count("UserError: songs/bad.wav") == 2  # here, and where it was raised
    assert "in run_job" in error
