"""`rmvpe notes --transcriptions`: the table gets the notes of all inputs at the end, and keeps everything else."""

import csv
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.cli import notes as cli
from rmvpe.config import ModelConfig
from rmvpe.estimator import Estimator
from rmvpe.signals import Stopped
from rmvpe.track import F0Track
from tests.helpers.commands import command_with
from tests.helpers.settings import decoding
from tests.helpers.waves import Waves, waves

Command = Callable[..., int]
HEADER = "name,ph_seq,ph_dur,ph_num,note_seq,note_dur,lang"
A = "a,SP l a SP l a,0.1 0.2 0.7 1.0 0.2 0.8,1 2 1 2,C9 C9,1.0 1.0,de"
OTHER = "other,SP,1.0,1,C4,1.0,fr"


def load(*given: str) -> Estimator:
    """A network that finds one pitch wherever it is loud."""
    return waves(256, 64, decoding())


@pytest.fixture
def notes() -> Command:
    return command_with(cli, load)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recordings `a` (two tones) and `b` (one) in the folder `wavs`; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wavs").mkdir()
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000)
    soundfile.write("wavs/a.wav", np.concatenate([tone, np.zeros(16_000), tone]), 16_000)
    soundfile.write("wavs/b.wav", np.concatenate([np.zeros(16_000), tone]), 16_000)
    return tmp_path


def write_table(*lines: str, path: str = "t.csv") -> None:
    Path(path).write_text("".join(f"{line}\n" for line in (HEADER, *lines)), encoding="utf-8", newline="")


def rows(path: str = "t.csv") -> dict[str, dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def n_notes(row: dict[str, str]) -> int:
    """Notes of a row; the pitch that the network finds is the same in all."""
    assert len(row["note_seq"].split()) == len(row["note_dur"].split())
    return sum(word != "rest" for word in row["note_seq"].split())


def everything() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def refused(notes: Command, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused: exit code 2, one line on stderr, no file changed."""
    before = everything()
    assert notes(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert everything() == before
    return error


def test_the_table_alone(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    write_table(A, OTHER)
    assert notes("wavs", "--transcriptions", "t.csv") == 0
    lines = Path("t.csv").read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[2]) == (HEADER, OTHER)
    found = rows()["a"]
    assert (found["ph_seq"], found["lang"]) == ("SP l a SP l a", "de")
    assert "C9" not in found["note_seq"]
    assert n_notes(found) >= 2
    assert sum(map(float, found["note_dur"].split())) == pytest.approx(3.0)  # as long as the phonemes
    said = capsys.readouterr()
    assert said.out.startswith("wavs/a.wav -> t.csv: 301 frames, ")
    assert "b.wav" not in said.out  # without a row there is nothing to write
    assert "t.csv has the notes of 1 recording\n" in said.err
    assert "t.csv has no row for b: " in said.err
    assert sorted(everything()) == ["t.csv", "wavs/a.wav", "wavs/b.wav"]


def test_the_table_and_files(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    write_table(A)
    assert notes("wavs", "-o", "out", "--format", "ds", "--transcriptions", "t.csv") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.ds", "b.ds"]
    assert n_notes(rows()["a"]) >= 2
    said = capsys.readouterr()
    assert "wavs/b.wav -> out/b.ds: " in said.out
    assert "t.csv has no row for b: " in said.err


def test_a_table_that_does_not_exist_is_made(folder: Path, notes: Command):
    assert notes("wavs", "--transcriptions", "new/t.csv") == 0
    found = rows("new/t.csv")
    assert {name: (n_notes(row), row["ph_seq"]) for name, row in found.items()} == {"a": (2, ""), "b": (1, "")}


def test_a_table_in_the_folder_of_the_f0_files_is_no_f0_file(folder: Path, notes: Command):
    Path("set").mkdir()
    voiced = np.arange(100) > 30
    F0Track(np.arange(100) * 0.01, np.where(voiced, 220.0, 0.0), voiced, np.where(voiced, 0.9, 0.0)).write("set/a.csv")
    for _ in range(2):
        assert notes("set", "--transcriptions", "set/transcriptions.csv") == 0
        assert n_notes(rows("set/transcriptions.csv")["a"]) == 1


def test_a_bad_file_does_not_keep_the_others_from_the_table(
    folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]
):
    Path("wavs/bad.wav").write_bytes(b"RIFF no sound")
    high = np.ones(300, dtype=bool)
    F0Track(np.arange(300) * 0.01, np.full(300, 15_000.0), high, np.full(300, 0.9)).write("high.csv")
    write_table(A, "bad,,,,,,", "high,,,,,,")
    assert notes("wavs", "high.csv", "--transcriptions", "t.csv") == 1
    assert n_notes(rows()["a"]) >= 2
    assert rows()["bad"]["note_seq"] == rows()["high"]["note_seq"] == ""
    error = capsys.readouterr().err
    assert "bad.wav" in error
    assert "the notes of high cannot be written" in error
    assert "2 of 3 files failed" in error
    before = everything()
    assert notes("wavs/bad.wav", "high.csv", "--transcriptions", "t.csv") == 1
    assert notes("wavs/bad.wav", "high.csv", "--transcriptions", "new.csv") == 1
    assert everything() == before  # a table without any notes is not made


class Interrupted(Waves):
    """A network during whose work on a long file Ctrl-C is pressed."""

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        if log_mel.shape[0] > 1:
            return super().features(log_mel, lengths)
        raise Stopped(2)


def test_an_interrupted_run_writes_what_it_has(folder: Path, capsys: pytest.CaptureFixture[str]):
    def load_interrupted(*given: str) -> Estimator:
        network, model = Interrupted(), ModelConfig.small()
        return Estimator(network, model, decoding(), window_frames=256, overlap_frames=64, block_frames=256)

    write_table(A, "b,,,,,,")
    notes = command_with(cli, load_interrupted)
    assert notes("wavs", "--transcriptions", "t.csv") == 130
    assert n_notes(rows()["a"]) >= 2
    assert rows()["b"]["note_seq"] == ""
    error = capsys.readouterr().err
    assert "t.csv has the notes of 1 recording\n" in error
    assert error.endswith("interrupted\n")


def test_going_on_with_a_run_that_was_stopped(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    """A row without notes is still to do, and so is a missing file."""
    write_table(A, "b,,,,,,")
    assert notes("wavs", "--transcriptions", "t.csv", "--skip-existing") == 0
    assert rows()["a"]["note_seq"] == "C9 C9"
    assert n_notes(rows()["b"]) == 1
    assert "1 of 2 files skipped" in capsys.readouterr().err
    assert notes("wavs/a.wav", "-o", "out", "--format", "csv", "--transcriptions", "t.csv", "--skip-existing") == 0
    assert n_notes(rows()["a"]) >= 2
    before = everything()
    assert notes("wavs", "-o", "out", "--format", "csv", "--transcriptions", "t.csv", "--skip-existing") == 0
    assert set(everything()) - set(before) == {"out/b.notes.csv"}
    capsys.readouterr()
    assert notes("wavs", "--transcriptions", "t.csv", "--skip-existing") == 0
    assert capsys.readouterr().err == "rmvpe notes: 2 of 2 files skipped: their results are complete\n"


def test_names_with_accents_as_macos_writes_them(folder: Path, notes: Command):
    Path("wavs/a.wav").rename(f"wavs/{unicodedata.normalize('NFD', 'été')}.wav")
    write_table("été,,,,,,")
    assert notes("wavs", "--transcriptions", "t.csv") == 0
    assert n_notes(rows()["été"]) == 2


@pytest.mark.parametrize("flags", [[], ["--force"], ["-o", "out", "--format", "csv"]])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,ph_dur\na,1.0\n", "t.csv is no table of transcriptions: its first line must name the columns"),
        ("", "t.csv is no table of transcriptions"),
        ('name\n"a\n', "t.csv cannot be read as a table of transcriptions"),
        ("name,ph_dur,ph_num\na,1.0,2\n", "t.csv: in row 1, a, ph_num counts 2 phonemes and ph_dur has 1"),
        ("name,ph_dur\nc,1.0\n", "t.csv has a row for none of the inputs, such as a: "),
    ],
)
def test_a_wrong_table_is_refused_before_any_work(
    content: str, words: str, flags: list[str], folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]
):
    Path("t.csv").write_text(content, encoding="utf-8")
    assert words in refused(notes, capsys, "wavs", "--transcriptions", "t.csv", *flags)


@pytest.mark.parametrize("flags", [[], ["--force"]])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wavs"], "no place for the notes is given: give -o OUT, or --transcriptions CSV"),
        (["wavs", "--transcriptions", "wavs"], "cannot write wavs: it is a folder"),
        (["wavs", "--transcriptions", "link.csv"], "cannot write link.csv: it is a "),
        (["wavs/a.wav", "-o", "t.csv", "--transcriptions", "t.csv"], "t.csv and t.csv are one file"),
        (["wavs/a.wav", "-o", "t.csv", "--transcriptions", "wavs/../t.csv"], "are one file"),
        (["wavs/a.wav", "t.csv", "--transcriptions", "t.csv"], "t.csv is an input and would be replaced"),
        (["wavs", "more/a.wav", "--transcriptions", "t.csv"], "wavs/a.wav have one row in t.csv"),
        (["-", "--transcriptions", "t.csv"], "standard input has none"),
        (["wavs", "--transcriptions", "t.csv", "--format", "csv"], "--format is about files of notes"),
        (["wavs", "--transcriptions", "t.csv", "--plot"], "--plot is about files of notes"),
        (["wavs", "--transcriptions", "t.csv", "--plain"], "--plain is about MIDI files"),
    ],
)
def test_wrong_requests(
    arguments: list[str],
    words: str,
    flags: list[str],
    folder: Path,
    notes: Command,
    capsys: pytest.CaptureFixture[str],
):
    Path("more").mkdir()
    Path("more/a.wav").write_bytes(Path("wavs/a.wav").read_bytes())
    write_table(A, "t,,,,,,")
    Path("link.csv").symlink_to("t.csv")
    assert words in refused(notes, capsys, *arguments, *flags)


def test_a_table_is_no_output_of_its_own(folder: Path, notes: Command, capsys: pytest.CaptureFixture[str]):
    """Only --transcriptions may write into it."""
    write_table(A)
    assert "t.csv exists and is not known as a result" in refused(notes, capsys, "wavs/a.wav", "-o", "t.csv")
