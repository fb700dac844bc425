"""`rmvpe evaluate --notes` with the bundled weights on tones whose notes are known: table, files, picture, messages."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.backends import installed_backends
from rmvpe.cli import main
from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.ownership import MARK
from rmvpe.pitch import midi_to_hz
from rmvpe.plot import is_our_picture

pytest.importorskip("mir_eval")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(not installed_backends(), reason="needs torch, jax or onnxruntime")
RATE_HZ = 16_000
MELODY = [(0.3, 0.8, 57.0), (1.1, 1.5, 60.3), (1.8, 2.6, 64.0), (2.9, 3.4, 55.2)]
HEADER = "onset_s,offset_s,pitch_midi\n"


def tones(notes: list[tuple[float, float, float]], seconds: float = 4.0) -> np.ndarray:
    """Harmonic tones with short fades [samples]."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    sound = np.zeros(len(time_s))
    for onset_s, offset_s, midi in notes:
        fade = np.clip(np.minimum(time_s - onset_s, offset_s - time_s) / 0.01, 0.0, 1.0)
        hz = float(midi_to_hz(np.array(midi)))
        sound += 0.15 * fade * sum(np.sin(2 * np.pi * hz * k * time_s) / k for k in range(1, 7))
    return sound.astype(np.float32)


def table(notes: list[tuple[float, float, float]]) -> str:
    return HEADER + "".join(f"{onset_s},{offset_s},{midi}\n" for onset_s, offset_s, midi in notes)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: `sung` with a melody and a silent file, `bare` without notes, `music`, and `Hybrid`."""
    root = tmp_path_factory.mktemp("data")
    for folder, name, notes in (("sung", "a", MELODY), ("sung", "quiet", []), ("bare", "a", MELODY)):
        (root / folder).mkdir(exist_ok=True)
        soundfile.write(root / folder / f"{name}.wav", tones(notes), RATE_HZ)
        if folder == "sung":
            (root / folder / f"{name}.notes.csv").write_text(table(notes))
    (root / "music").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * RATE_HZ).astype(np.float32)
    soundfile.write(root / "music" / "m.wav", noise, RATE_HZ)
    (root / "Hybrid" / "test").mkdir(parents=True)
    write_hybrid_pair(root / "Hybrid" / "test", "a", tones(MELODY), noise[: 4 * RATE_HZ], np.zeros(401))
    (root / "Hybrid" / "test" / "a.notes.csv").write_text(table(MELODY))
    return root


def evaluate(*arguments: object) -> int:
    return main.main(["evaluate", "--notes", "--device", "cpu", *map(str, arguments)])


def rows_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_everything_it_writes_says_the_same(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    outputs = {name: tmp_path / "out" / f"scores.{name}" for name in ("json", "csv", "md", "png")}
    flags = ["--json", outputs["json"], "--csv", outputs["csv"], "--markdown", outputs["md"], "--plot", outputs["png"]]
    music = ["--snr", "clean,20,music", "--music", data / "music"]
    for _ in range(2):  # a second time over its own results
        assert evaluate("--data", f"folder:{data / 'sung'}", *music, *flags) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
    assert printed.out.startswith("Notes of small by ")
    assert ": 2 files of sung (test) with music from music, threshold 0." in printed.out.splitlines()[0]
    assert "clean: 1 of 2 files have no note" in printed.out
    rows = rows_of(printed.out)
    assert rows[0][:5] == ["voice to music", "files", "notes", "found", "COnPOff F1 %"]
    assert [row[0] for row in rows] == ["voice to music", "---", "clean", "20 dB", "music"] * 2
    assert rows[2][:3] == ["clean", "2", "4"]
    # Tones with pauses between them are no test of the costs: each must be found, at its place and pitch
    assert rows[2][4:] == ["100.00"] * 9
    assert rows[4][1:3] == ["2", "0"]
    assert rows[4][4:] == ["-"] * 9
    assert outputs["md"].read_text().removesuffix(f"\n{MARK}\n") in printed.out

    scores = json.loads(outputs["json"].read_text())
    assert scores["note_settings"]["hold_ms"] > 0
    assert f"{100 * scores['means']['20 dB']['COnP F1']:.2f}" == rows[3][7]
    assert scores["counts"]["clean"] == {"files": 2, "without": 1, "reference": 4, "found": 4}
    assert scores["means"]["music"]["COn F1"] is None
    with outputs["csv"].open() as file:
        per_file = list(csv.DictReader(file))
    assert len(per_file) == len(scores["files"]) == 6
    for line, row in zip(per_file, scores["files"]):
        assert line == {name: "" if value is None else str(value) for name, value in row.items()}
    assert is_our_picture(outputs["png"])


def test_a_hybrid_folder_and_the_settings_of_notes(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "s.json"
    flags = ["--data", data / "Hybrid", "--snr", "clean", "--json", out]
    assert evaluate(*flags) == 0
    assert json.loads(out.read_text())["means"]["clean"]["COnPOff F1"] == 1.0
    capsys.readouterr()
    assert evaluate(*flags, "--shortest-note-ms", 700) == 0
    assert "shortest_note_ms 700" in capsys.readouterr().out.splitlines()[0]
    scores = json.loads(out.read_text())
    assert scores["note_settings"]["shortest_note_ms"] == 700
    assert scores["means"]["clean"]["COnPOff F1"] < 0.6  # one note of four is as long


def test_a_picture_without_any_note(data: Path, tmp_path: Path):
    flags = ["--data", f"folder:{data / 'sung'}", "--snr", "music", "--music", data / "music"]
    assert evaluate(*flags, "--plot", tmp_path / "a.svg") == 0
    assert b"no reference notes" in (tmp_path / "a.svg").read_bytes()


def test_a_bad_file_is_named_and_the_rest_scored(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes((data / "sung" / "a.wav").read_bytes())
        (tmp_path / f"{name}.notes.csv").write_text(table(MELODY))
    (tmp_path / "b.notes.csv").write_text(HEADER + "1,2,440\n")
    assert evaluate("--data", f"folder:{tmp_path}", "--snr", "clean") == 1
    printed = capsys.readouterr()
    assert rows_of(printed.out)[2][1:3] == ["1", "4"]
    first, last = printed.err.splitlines()
    assert "b.notes.csv, line 2" in first
    assert last == "rmvpe evaluate: 1 of 2 files could not be evaluated"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data", "folder:bare"], "holds recordings but no notes"),
        (["--data", "ikala:bare"], "ikala has no notes"),
        (["--data", "folder:sung", "--hold-ms", "-1"], "hold_ms must be from 0"),
        (["--data", "folder:sung", "--csv", "sung/a.notes.csv"], "sung/a.notes.csv"),  # never over an input
    ],
)
def test_mistakes(
    flags: list[str], words: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(data)
    assert evaluate(*flags, "--snr", "clean") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert words in printed.err.replace("\\", "/")
    assert (data / "sung" / "a.notes.csv").read_text() == table(MELODY)


def test_a_setting_of_notes_without_notes_is_refused(data: Path, capsys: pytest.CaptureFixture[str]):
    assert main.main(["evaluate", "--data", f"folder:{data / 'sung'}", "--hold-ms", "50"]) == 2
    assert "--hold-ms is a setting of notes: add --notes" in capsys.readouterr().err
