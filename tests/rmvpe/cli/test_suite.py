"""`rmvpe evaluate --suite` with the bundled weights: tables, files, pictures, comparison, messages, exit codes."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.backends import installed_backends
from rmvpe.checkpoint.store import locate
from rmvpe.cli import main
from rmvpe.plot import is_our_picture
from tests.helpers.voices import write_voices_and_music

pytest.importorskip("mir_eval")
pytest.importorskip("matplotlib")
BACKENDS = installed_backends()
pytestmark = pytest.mark.skipif(not BACKENDS, reason="needs torch, jax or onnxruntime")


def evaluate(*arguments: object) -> int:
    return main.main(["evaluate", "--device", "cpu", *map(str, arguments)])


def rows_of(text: str) -> dict[str, list[str]]:
    """The cells of the first table."""
    table = text.split("| condition ")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert evaluate(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_everything_it_writes_says_the_same_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = {name: tmp_path / f"s.{name}" for name in ("json", "csv", "md", "png")}
    flags = ["--json", outputs["json"], "--csv", outputs["csv"], "--markdown", outputs["md"], "--plot", outputs["png"]]
    asked = ["--suite", "--limit", 2, "--conditions", "voice,silence,tuned"]
    assert evaluate(*asked, *flags) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("Stress set, synthetic voices, 2 clips of each, seed 0\n\nsmall by ")
    rows = rows_of(printed.out)
    assert list(rows)[:3] == ["voice", "tuned: 150 ms, 1 semitone", "tuned: 150 ms, 2 to 4"]
    assert rows["silence: digital"] == ["2", "-", "-", "-", "100.0", "-", "0.0", "-", "-"]
    assert float(rows["voice"][1].split()[0]) > 97.0

    record = json.loads(outputs["json"].read_text())
    voice = record["weights"][0]["levels"][0]
    assert (voice["condition"], voice["level"], voice["clips"]) == ("voice", "", 2)
    assert f"{100 * voice['scores']['OA']['value']:.1f}" == rows["voice"][4].split()[0]
    assert voice["scores"]["OA"]["low"] <= voice["scores"]["OA"]["value"] <= voice["scores"]["OA"]["high"]
    assert record["weights"][0]["levels"][-1]["scores"]["RPA"]["value"] is None
    with outputs["csv"].open() as file:
        clips = list(csv.DictReader(file))
    assert len(clips) == 2 * len(rows)
    assert clips[0]["weights"] == "small"
    assert clips[0]["clip"] == "voice-00"
    pooled = [float(row["OA"]) for row in clips[:2]]  # of one length
    assert voice["scores"]["OA"]["value"] == pytest.approx(sum(pooled) / 2)
    assert is_our_picture(outputs["png"])

    before = {name: path.read_bytes() for name, path in outputs.items()}
    assert evaluate(*asked, *flags) == 0  # replaces its own files without --force
    again = json.loads(outputs["json"].read_text())
    assert again | {"seconds": 0} == record | {"seconds": 0}
    assert outputs["csv"].read_bytes() == before["csv"]
    capsys.readouterr()
    assert evaluate(*asked, "--seed", 1) == 0
    assert rows_of(capsys.readouterr().out)["voice"] != rows["voice"]


def test_two_weights_are_compared_on_the_same_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same weights twice, under two names, and once at another threshold: a difference where there is one."""
    with locate("small") as path:
        shutil.copyfile(path, tmp_path / "copy.safetensors")
    plot = tmp_path / "s.png"
    asked = ["--suite", "--limit", 3, "--conditions", "voice", "--plot", plot, "--json", tmp_path / "s.json"]
    assert evaluate(*asked, "--weights", "small", tmp_path / "copy.safetensors") == 0
    printed = capsys.readouterr().out
    assert "copy.safetensors against small: 0 numbers better and 0 worse beyond noise, of 8" in printed
    assert "| voice | 0.0 | 0.0 |" in printed
    assert all(is_our_picture(plot.with_name(name)) for name in ("s.png", "s-small.png", "s-copy.safetensors.png"))
    [level] = json.loads((tmp_path / "s.json").read_text())["differences"]["copy.safetensors"]
    assert all(score == {"value": 0.0, "low": 0.0, "high": 0.0} for score in level["scores"].values())


def test_your_own_voices_and_music(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_voices_and_music(tmp_path)
    data = f"folder:{tmp_path / 'voices'}"
    asked = ["--suite", "--data", data, "--split", "all", "--conditions", "voice,noise,music,whisper", "--snr", "20,0"]
    assert evaluate(*asked, "--limit", 3, "--music", tmp_path / "music") == 0
    printed = capsys.readouterr()
    assert "voices of voices (all), music from music, 3 clips of each" in printed.out
    rows = rows_of(printed.out)
    assert list(rows)[-3:] == ["music: 20 dB", "music: 0 dB", "music: alone"]
    assert [rows[name][0] for name in ("voice", "music: 20 dB", "whisper")] == ["2", "2", "3"]
    # Without music: the levels are named, the others scored. A recording that cannot be read is named: exit code 1
    (tmp_path / "voices" / "b.csv").write_text("0.0,abc\n")
    assert evaluate(*asked, "--limit", 3) == 1
    printed = capsys.readouterr()
    assert "- music: 20 dB left out: no recording has music beside the voice; give --music FOLDER" in printed.out
    assert rows_of(printed.out)["voice"][0] == "1"
    assert printed.err.startswith("rmvpe evaluate: ")
    assert "b.csv" in printed.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--suite", "--notes"], "--suite scores f0"),
        (["--suite", "--hold-ms", "50"], "--hold-ms is a setting of notes"),
        (["--suite", "--seed", "-1"], "--seed -1 must be 0 or more"),
        (
            ["--suite", "--conditions", "rooms"],
            "'rooms' is no condition of the stress set: give some of voice, register",
        ),
        (["--suite", "--conditions", "music"], "nothing to score: music left out: give --music FOLDER"),
        (["--suite", "--limit", "0"], "--limit 0 leaves no file"),
        (["--quick", "--data", "folder:x"], "--quick is a setting of the stress set: add --suite"),
        (["--conditions", "room", "--data", "folder:x"], "--conditions is a setting of the stress set"),
        (["--weights", "small", "other", "--data", "folder:x"], "several --weights are compared with --suite"),
        ([], "no recordings are given: add --data SPEC, or --suite"),
    ],
)
def test_wrong_flags_are_one_sentence(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(capsys, *flags)


def test_music_without_sound_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "music" / "m.wav", np.zeros(16_000), 16_000)
    asked = ["--suite", "--limit", 1, "--conditions", "voice,register,music", "--music", tmp_path / "music"]
    assert "holds no music but silence" in refused(capsys, *asked)


def test_a_file_of_yours_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also not by the pictures whose names come from the weights."""
    with locate("small") as path:
        shutil.copyfile(path, tmp_path / "b.safetensors")
    (tmp_path / "s-small.png").write_bytes(b"mine")
    asked = ["--suite", "--conditions", "voice", "--plot", tmp_path / "s.png", "--weights", "small"]
    assert "s-small.png" in refused(capsys, *asked, tmp_path / "b.safetensors")
    assert (tmp_path / "s-small.png").read_bytes() == b"mine"
