"""`rmvpe evaluate` with the bundled weights: table, files, picture, messages, exit codes."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.backends import installed_backends
from rmvpe.cli import main
from rmvpe.evaluation.evaluate import Evaluation
from rmvpe.ownership import MARK
from rmvpe.plot import is_our_picture
from tests.helpers.hybrid import glide, make_hybrid

pytest.importorskip("mir_eval")
pytest.importorskip("matplotlib")
BACKENDS = installed_backends()
pytestmark = pytest.mark.skipif(not BACKENDS, reason="needs torch, jax or onnxruntime")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hybrid folder of two glides with noise, a folder of two annotated ones without, and one of music."""
    root = tmp_path_factory.mktemp("data")
    make_hybrid(root / "Hybrid", train=1, valid=2)
    for folder in ("bare", "music"):
        (root / folder).mkdir()
    for index in range(2):
        voice, f0_hz = glide(index)
        soundfile.write(root / "bare" / f"{index}.wav", voice, 16000)
        rows = (f"{0.01 * frame:.2f},{hz:.3f}\n" for frame, hz in enumerate(f0_hz))
        (root / "bare" / f"{index}.csv").write_text("time,Hz\n" + "".join(rows))
    soundfile.write(root / "music" / "m.wav", np.random.default_rng(0).normal(0, 0.1, 160000), 16000)
    return root


def evaluate(*arguments: object) -> int:
    return main.main(["evaluate", "--device", "cpu", *map(str, arguments)])


def table_rows(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows[2:]}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must be refused: exit code 2, one line on stderr, nothing on stdout."""
    assert evaluate(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_everything_it_writes_says_the_same(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    outputs = {name: tmp_path / "out" / f"scores.{name}" for name in ("json", "csv", "md", "png")}
    flags = ["--json", outputs["json"], "--csv", outputs["csv"], "--markdown", outputs["md"], "--plot", outputs["png"]]
    assert evaluate("--data", data / "Hybrid", "--split", "valid", "--snr", "clean,30,music,clean", *flags) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # the bar is for terminals
    assert printed.out.startswith("small by ")
    assert ": 2 files of Hybrid (valid), threshold 0." in printed.out.splitlines()[0]
    rows = table_rows(printed.out)
    assert list(rows) == ["clean", "30 dB", "music"]
    assert rows["music"][:3] == ["2", "-", "-"]
    # Steady harmonic glides are no test of the network: only the last frames of the voice may be missed
    assert float(rows["clean"][1]) > 95
    assert rows["clean"][7] == "0"
    assert outputs["md"].read_text().removesuffix(f"\n{MARK}\n") in printed.out

    scores = json.loads(outputs["json"].read_text())
    assert scores["threshold"] == pytest.approx(float(printed.out.split("threshold ")[1].split("\n")[0]))
    assert f"{100 * scores['pooled']['clean']['OA']:.2f}" == rows["clean"][3]
    assert scores["pooled"]["music"]["RPA"] is None
    assert scores["failures"] == []
    with outputs["csv"].open() as file:
        per_file = list(csv.DictReader(file))
    assert len(per_file) == len(scores["files"]) == 6
    for line, row in zip(per_file, scores["files"]):
        assert line == {name: "" if value is None else str(value) for name, value in row.items()}

    from matplotlib.image import imread

    height, width = imread(outputs["png"]).shape[:2]
    assert width > height > 500
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"scores.{end}" for end in outputs)


def test_limit_and_threshold(data: Path, tmp_path: Path):
    out = tmp_path / "s.json"
    flags = ["--data", data / "Hybrid", "--split", "valid", "--snr", "clean", "--json", out]
    assert evaluate(*flags, "--limit", 1, "--threshold", 1) == 0
    scores = json.loads(out.read_text())
    assert [row["file"] for row in scores["files"]] == ["glide-0"]
    assert scores["threshold"] == 1.0
    assert scores["pooled"]["clean"]["VR"] == 0.0
    assert scores["pooled"]["clean"]["RPA"] > 0.95  # whatever the voicing


def test_an_annotated_folder_alone_and_in_other_music(data: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate("--data", f"folder:{data / 'bare'}", "--snr", "clean,10,music") == 0
    printed = capsys.readouterr()
    alone = table_rows(printed.out)
    assert list(alone) == ["clean"]
    assert printed.err.startswith("rmvpe evaluate: 10 dB, music skipped")
    assert "--music FOLDER" in printed.err
    flags = ["--music", data / "music", "--snr", "clean,10,music"]
    assert evaluate("--data", f"folder:{data / 'bare'}", *flags) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    mixed = table_rows(printed.out)
    assert list(mixed) == ["clean", "10 dB", "music"]
    assert mixed["clean"] == alone["clean"]
    assert "with music from music" in printed.out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_are_shown_with_escapes(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "\x1b[2J $x$"
    shutil.copytree(data / "bare", folder)
    assert evaluate("--data", f"folder:{folder}", "--snr", "clean,10", "--plot", tmp_path / "a.png") == 0
    printed = capsys.readouterr()
    assert r"\x1b[2J $x$" in printed.out
    assert "\x1b" not in printed.out + printed.err
    assert is_our_picture(tmp_path / "a.png")


def test_a_bad_file_is_named_and_the_rest_evaluated(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for path in (data / "bare").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "0.csv").write_text("0.0,0\n9.0,0\n")
    assert evaluate("--data", f"folder:{tmp_path}", "--snr", "clean") == 1
    printed = capsys.readouterr()
    assert table_rows(printed.out)["clean"][0] == "1"
    first, last = printed.err.splitlines()
    assert "0.csv goes on until" in first
    assert last == "rmvpe evaluate: 1 of 2 files could not be evaluated"
    (tmp_path / "1.csv").write_text("0.0,x\n")
    assert "none of 2 files can be evaluated" in refused(capsys, "--data", f"folder:{tmp_path}", "--snr", "clean")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data", "gone"], "gone/test is not a folder"),
        (["--data", "Hybrid", "--split", "test"], "Hybrid/test is not a folder"),
        (["--data", "folder:music"], "holds recordings but no annotation"),
        (["--data", "folder:bare", "--split", "train"], "has no folder train"),
        (["--data", "opera:bare"], "'opera' in 'opera:bare' is no data set"),
        (["--data", "folder:bare", "--snr", "clean,loud"], "'loud' is no voice-to-music ratio"),
        (["--data", "folder:bare", "--music", "gone"], "gone does not exist"),
        (["--data", "folder:bare", "--weights", "gigantic"], "'gigantic'"),
        (["--data", "folder:bare", "--weights", "other.safetensors"], "other.safetensors"),
        (["--data", "folder:bare", "--threshold", "2"], "threshold 2.0 is not between 0 and 1"),
        (["--data", "folder:bare", "--limit", "0"], "--limit 0 leaves no file"),
        (["--data", "folder:bare", "--plot", "a.txt"], "a.txt is not a picture file"),
        (["--data", "folder:bare", "--json", "bare"], "cannot write bare: it is a folder"),
        (["--data", "folder:bare", "--csv", "music/m.wav/x.csv"], "cannot write to music/m.wav"),
        (["--data", "folder:bare", "--backend", "numpy"], "argument --backend: invalid choice"),
        ([], "no recordings are given: add --data SPEC, or --suite"),
    ],
)
def test_mistakes(
    flags: list[str], words: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(data)
    from safetensors.numpy import save_file

    save_file({"conv.weight": np.zeros((3, 3), dtype=np.float32)}, "other.safetensors")
    before = sorted(Path().rglob("*"))
    assert words in refused(capsys, *flags)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("missing", ["mir_eval", "matplotlib"])
def test_a_missing_library_is_named(
    missing: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, missing, None)
    message = refused(capsys, "--data", f"folder:{data / 'bare'}", "--plot", "a.png")
    assert f"pip install {missing}" in message


def test_a_picture_of_music_alone_and_of_one_file(tmp_path: Path):
    from rmvpe.evaluation.plot import plot_scores

    nan = float("nan")
    row = {"RPA": nan, "RCA": nan, "OA": 0.9, "VR": nan, "VFA": 0.1, "octave": nan, "lag": nan}
    evaluation = Evaluation(0.2, {"music": row}, [{"file": "a", "ratio": "music", **row}])
    plot_scores(evaluation, tmp_path / "music.png", title="music")
    sung = row | {"RPA": 0.5, "RCA": 0.5, "VR": 0.5}
    files = [{"file": "a", "ratio": "clean", **sung}, {"file": "b", "ratio": "clean", **row}]
    plot_scores(Evaluation(0.2, {"clean": sung}, files), tmp_path / "clean.svg")
    assert (tmp_path / "music.png").stat().st_size > 5000
    assert b"raw pitch accuracy of each file" in (tmp_path / "clean.svg").read_bytes()


def test_a_picture_for_white_paper(data: Path, tmp_path: Path):
    from matplotlib.image import imread

    flags = [
        "--data",
        data / "Hybrid",
        "--split",
        "valid",
        "--snr",
        "clean",
        "--limit",
        1,
        "--plot",
        tmp_path / "a.png",
    ]
    assert evaluate(*flags, "--theme", "light") == 0
    np.testing.assert_allclose(imread(tmp_path / "a.png")[0, 0, :3], 1.0)
