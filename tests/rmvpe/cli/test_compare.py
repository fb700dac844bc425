"""`rmvpe compare`: tables, files, picture, what is reported, exit codes."""

import csv
import json
from pathlib import Path

import pytest

from rmvpe.cli.main import main
from rmvpe.evaluation.trackers import adapters
from rmvpe.ownership import MARK
from tests.helpers.simple_trackers import SPECS
from tests.helpers.voices import write_music, write_voice, write_voices_and_music

pytest.importorskip("mir_eval")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """voices/: two annotated glides; music/: noise; bare/: noise too, where a data set is wanted."""
    root = write_voices_and_music(tmp_path_factory.mktemp("data"))
    write_music(root / "bare")
    return root


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test trackers beside the real ones."""
    for name, spec in SPECS.items():
        monkeypatch.setitem(adapters.PEERS, name, spec)


def command(*arguments: object) -> int:
    """The exit code of `rmvpe compare` with these arguments."""
    return main(["compare", *map(str, arguments)])


def test_it_writes_tables_files_and_picture(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("matplotlib")
    outputs = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "markdown")} | {"plot": tmp_path / "out.png"}
    flags = [part for name, path in outputs.items() for part in (f"--{name}", path)]
    where = ("--data", data / "voices", "--music", data / "music", "--snr", "clean,0,music")
    assert command(*where, "--trackers", "autocorrelation,absent", *flags) == 0
    out = capsys.readouterr()
    text = outputs["markdown"].read_text()
    assert text == f"{out.out}\n{MARK}\n"
    assert "| Autocorrelation | clean |" in text
    assert "- Autocorrelation: 1 thread" in text
    assert "absent skipped: no_such_module is not installed: run pip install no-such-package" in out.err
    report = json.loads(outputs["json"].read_text())
    pooled = report["trackers"]["autocorrelation"]["pooled"]
    assert pooled["clean"]["RPA"] > pooled["0 dB"]["RPA"]
    assert pooled["music"]["RPA"] is None
    rows = list(csv.DictReader(outputs["csv"].read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 6
    assert {row["tracker"] for row in rows} == {"autocorrelation"}
    assert outputs["plot"].stat().st_size > 20_000


def test_annotations_that_differ_are_reported_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_voice(tmp_path, "coarse", 0, step=2)
    write_voice(tmp_path, "short", 1, keep_s=1.1)
    write_voice(tmp_path, "wrong", 2)
    (tmp_path / "wrong.csv").write_text("0.00,200\n9.00,200\n")
    write_voice(tmp_path, "bare", 3)
    (tmp_path / "bare.csv").unlink()
    assert command("--data", tmp_path, "--trackers", "autocorrelation", "--snr", "clean") == 1
    printed = capsys.readouterr()
    assert "1 of 2 files is not annotated every 10 ms (the first: coarse, every 20 ms)" in printed.err
    assert "1 of 2 files is longer than the annotation (the first: short, by 0.9" in printed.err
    assert "wrong.csv goes on until" in printed.err
    assert "1 recording has no annotation (the first: bare) and cannot be compared" in printed.err
    row = next(line for line in printed.out.splitlines() if line.startswith("| Autocorrelation | "))
    assert float(row.split("|")[2]) > 97


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--trackers", "sonar"), "'sonar' is not a tracker"),
        (("--trackers", "absent"), "no tracker is left: absent: no_such_module is not installed: run pip install"),
        (("--trackers", "rmvpe:nothing.safetensors"), "nothing.safetensors"),
        (("--trackers", "autocorrelation", "--snr", "loud"), "'loud' is no voice-to-music ratio"),
        (("--trackers", "autocorrelation", "--limit", 0), "--limit 0 leaves no file"),
        (("--trackers", "autocorrelation", "--threads", 0), "--threads must be a whole number above 0, not 0"),
        (("--trackers", "autocorrelation", "--threads", 9999), "--threads 9999 is too many for the"),
        (("--trackers", "autocorrelation", "--snr", "0"), "give music with --music"),
        (("--trackers", "autocorrelation", "--plot", "x.txt"), "x.txt is not a picture file"),
        (("--trackers", "autocorrelation", "--snr", "music", "--plot", "x.png"), "--plot has nothing to show"),
        (("--data", "BARE", "--trackers", "autocorrelation"), "holds recordings but no annotation"),
        (("--data", "nowhere", "--trackers", "autocorrelation"), "nowhere"),
    ],
)
def test_mistakes_are_reported_in_a_sentence(
    data: Path, capsys: pytest.CaptureFixture[str], flags: tuple[object, ...], message: str
):
    if "--plot" in flags:
        pytest.importorskip("matplotlib")
    given = [data / "bare" if flag == "BARE" else flag for flag in flags]
    assert command("--data", data / "voices", *given) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err.splitlines()[-1]
