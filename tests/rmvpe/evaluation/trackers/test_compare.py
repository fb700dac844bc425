"""Comparing trackers: our figures are those of `rmvpe evaluate`, all hear the same, nothing foreign stops the rest."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.backends import choose_backend
from rmvpe.cli import compare as compare_command
from rmvpe.data.mixing import find_music
from rmvpe.data.readers.folder import Annotated
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import UserError, cli_errors
from rmvpe.estimator import load
from rmvpe.evaluation.evaluate import CLEAN, MUSIC, evaluate
from rmvpe.evaluation.trackers import adapters
from rmvpe.evaluation.trackers.adapters import Kind, find_trackers
from rmvpe.evaluation.trackers.compare import compare, open_data
from rmvpe.evaluation.trackers.process import TrackerError, TrackerProcess
from tests.helpers.hybrid import glide, make_hybrid
from tests.helpers.simple_trackers import open_autocorrelation, open_broken, open_fragile, open_mortal

pytest.importorskip("mir_eval")
RATE_HZ = 16_000
KINDS = {
    "autocorrelation": Kind("Autocorrelation", open_autocorrelation),
    "fragile": Kind("Fragile", open_fragile),
    "broken": Kind("Broken", open_broken),
    "mortal": Kind("Mortal", open_mortal),
    "absent": Kind("Absent", open_autocorrelation, ("no_such_module",), "no-such-package"),
}


def write_voice(folder: Path, name: str, seed: int, seconds: float = 2.0, step: int = 1, keep_s: float = 99.0) -> None:
    """A glide and its annotation, of which every `step`-th point up to `keep_s` is kept."""
    voice, f0_hz = glide(seed, seconds)
    soundfile.write(folder / f"{name}.wav", voice, RATE_HZ)
    rows = [f"{0.01 * frame:.2f},{hz:.4f}\n" for frame, hz in enumerate(f0_hz) if 0.01 * frame <= keep_s]
    (folder / f"{name}.csv").write_text("".join(rows[::step]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """voices/: two glides, one of them longer; music/: noise; Hybrid/."""
    root = tmp_path_factory.mktemp("data")
    for name in ("voices", "music", "bare"):
        (root / name).mkdir()
    write_voice(root / "voices", "a", 0)
    write_voice(root / "voices", "b", 1, seconds=3.0)
    noise = np.random.default_rng(0).normal(0, 0.1, 6 * RATE_HZ)
    for name in ("music", "bare"):
        soundfile.write(root / name / "m.wav", noise, RATE_HZ)
    make_hybrid(root / "Hybrid", train=1, valid=1)
    return root


def script(*arguments: object) -> int:
    """What the script does with a command line."""
    parser = argparse.ArgumentParser()
    compare_command.add_arguments(parser)
    with cli_errors("compare_trackers"):
        return compare_command.run(parser.parse_args(list(map(str, arguments))))
    raise AssertionError("unreachable")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trackers of this file beside the real ones."""
    for name, kind in KINDS.items():
        monkeypatch.setitem(adapters.PEERS, name, kind)


def test_our_figures_are_those_of_evaluate(data: Path):
    try:
        backend = choose_backend()
    except UserError as error:
        pytest.skip(str(error))
    source, music, ratios = Annotated(data / "voices"), find_music(data / "music"), (CLEAN, 0.0, MUSIC)
    found = compare(find_trackers(["rmvpe"], backend), source, snr_db=ratios, indices=[0, 1], music=music)
    estimator = load(backend=backend, device="cpu")
    own = evaluate(estimator, source, snr_db=ratios, music=music)
    result = found.results["rmvpe"]
    assert repr(result.pooled) == repr(own.pooled)  # repr: nan is nan
    assert repr(result.files) == repr(own.files)
    assert result.pooled["clean"]["RPA"] > 0.9
    assert result.peak_memory is None or result.peak_memory > 50e6  # a framework is loaded there
    assert f"voiced from {estimator.config.threshold:g}" in result.settings


def test_an_honest_tracker_scores_on_its_own_frames(data: Path):
    said: list[str] = []
    kinds = {"autocorrelation": KINDS["autocorrelation"]}
    found = compare(kinds, Annotated(data / "voices"), snr_db=(CLEAN, 20.0), indices=[0, 1], threads=2, say=said.append)
    result = found.results["autocorrelation"]
    assert list(result.pooled) == ["clean"]  # without music there is no ratio
    scores = result.pooled["clean"]
    assert scores["RPA"] > 0.97
    assert scores["OA"] > 0.9
    assert scores["lag"] == 0
    assert result.settings == "2 thread"
    assert 0 < result.cpu_seconds < 1
    assert 0 < result.seconds < 5
    assert found.audio_s == pytest.approx(5.0, abs=0.05)
    assert "processor seconds" in said[0]


def test_what_fails_stops_nothing_and_all_are_judged_on_the_same(data: Path):
    said: list[str] = []
    found = compare(KINDS, Annotated(data / "voices"), snr_db=(CLEAN,), indices=[0, 1], say=said.append)
    assert list(found.results) == ["autocorrelation", "fragile"]
    assert [row["file"] for row in found.results["autocorrelation"].files] == ["a"]
    assert found.results["autocorrelation"].pooled == found.results["fragile"].pooled
    assert any("fragile fails on b, clean: RuntimeError: too long for me, which" in text for text in said)
    assert set(found.left_out) == {"broken", "mortal", "absent"}
    assert found.left_out["broken"] == "OSError: libfoo.so: cannot open shared object file"
    assert found.left_out["mortal"] == "at b, clean, its process ended with exit code 3"
    assert "pip install no-such-package" in found.left_out["absent"]


def test_a_tracker_that_fails_on_everything_is_left_out(data: Path):
    with pytest.raises(UserError, match="no tracker is left: fragile: it fails on everything, last on b, clean"):
        compare({"fragile": KINDS["fragile"]}, Annotated(data / "voices"), snr_db=(CLEAN,), indices=[1])


def test_a_process_of_its_own_counts_its_own_memory():
    block = np.ones(40_000_000)  # 320 MB here are none of the tracker's
    with TrackerProcess(KINDS["autocorrelation"]) as process:
        answer = process.hear(np.zeros(RATE_HZ, dtype=np.float32))
        peak = process.peak_memory()
    assert len(block)
    assert not answer.track.voiced.any()
    assert peak is None or 10e6 < peak < 250e6
    with pytest.raises(TrackerError, match="ended"):
        process.hear(np.zeros(RATE_HZ, dtype=np.float32))


def test_a_folder_is_read_for_what_it_is(data: Path):
    assert isinstance(open_data(str(data / "voices"), "test"), Annotated)
    assert isinstance(open_data(f"folder:{data / 'voices'}", "test"), Annotated)
    hybrid = open_data(str(data / "Hybrid"), "valid")
    assert isinstance(hybrid, Hybrid)
    assert open_data(str(data / "Hybrid" / "valid"), "test").name(0) == hybrid.name(0)


def test_the_script_writes_tables_files_and_picture(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("matplotlib")
    outputs = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "markdown")} | {"plot": tmp_path / "out.png"}
    flags = [part for name, path in outputs.items() for part in (f"--{name}", path)]
    where = ("--data", data / "voices", "--music", data / "music", "--snr", "clean,0,music")
    assert script(*where, "--trackers", "autocorrelation,absent", *flags) == 0
    out = capsys.readouterr()
    text = outputs["markdown"].read_text()
    assert out.out == text
    assert "| Autocorrelation | clean |" in text
    assert "- Autocorrelation: 1 thread" in text
    assert "absent left out: no_such_module is not installed: run pip install no-such-package" in out.err
    report = json.loads(outputs["json"].read_text())
    pooled = report["trackers"]["autocorrelation"]["pooled"]
    assert pooled["clean"]["RPA"] > pooled["0 dB"]["RPA"]
    assert pooled["music"]["RPA"] is None
    rows = list(csv.DictReader(outputs["csv"].read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 6
    assert {row["tracker"] for row in rows} == {"autocorrelation"}
    assert outputs["plot"].stat().st_size > 20_000


def test_annotations_that_differ_are_told_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_voice(tmp_path, "coarse", 0, step=2)
    write_voice(tmp_path, "short", 1, keep_s=1.1)
    write_voice(tmp_path, "wrong", 2)
    (tmp_path / "wrong.csv").write_text("0.00,200\n9.00,200\n")
    write_voice(tmp_path, "bare", 3)
    (tmp_path / "bare.csv").unlink()
    assert script("--data", tmp_path, "--trackers", "autocorrelation", "--snr", "clean") == 1
    said = capsys.readouterr()
    assert "1 of 2 files is annotated on another grid than 10 ms (the first: coarse, every 20 ms)" in said.err
    assert "1 of 2 files is longer than the annotation (the first: short, by 0.9" in said.err
    assert "wrong.csv goes on until" in said.err
    assert "1 recording has no annotation (the first: bare) and cannot be compared" in said.err
    row = next(line for line in said.out.splitlines() if line.startswith("| Autocorrelation | "))
    assert float(row.split("|")[2]) > 97


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--trackers", "sonar"), "'sonar' is no tracker"),
        (("--trackers", "absent"), "no tracker is left: absent: no_such_module is not installed: run pip install"),
        (("--trackers", "rmvpe:nothing.safetensors"), "nothing.safetensors"),
        (("--trackers", "autocorrelation", "--snr", "loud"), "'loud' is no voice-to-music ratio"),
        (("--trackers", "autocorrelation", "--limit", 0), "--limit 0 leaves no file"),
        (("--trackers", "autocorrelation", "--threads", 0), "--threads 0 cannot work"),
        (("--trackers", "autocorrelation", "--snr", "0"), "give music with --music"),
        (("--trackers", "autocorrelation", "--plot", "x.txt"), "x.txt is no name for a picture"),
        (("--trackers", "autocorrelation", "--snr", "music", "--plot", "x.png"), "--plot has nothing to show"),
        (("--data", "BARE", "--trackers", "autocorrelation"), "holds recordings but no annotation"),
        (("--data", "nowhere", "--trackers", "autocorrelation"), "nowhere"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    data: Path, capsys: pytest.CaptureFixture[str], flags: tuple[object, ...], message: str
):
    if "--plot" in flags:
        pytest.importorskip("matplotlib")
    given = [data / "bare" if flag == "BARE" else flag for flag in flags]
    with pytest.raises(SystemExit) as exit_:
        script("--data", data / "voices", *given)
    assert exit_.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err.splitlines()[-1]


def test_names_beside_lines_keep_apart():
    pytest.importorskip("matplotlib")
    from rmvpe.evaluation.trackers.plot import spread_apart

    places = [50.0, 51.0, 49.5, 90.0, 10.0]
    apart = spread_apart(places, 5.0, 0.0, 100.0)
    assert np.argsort(apart).tolist() == np.argsort(places).tolist()
    assert np.diff(sorted(apart)).min() >= 5.0 - 1e-9
    assert apart[3:] == [90.0, 10.0]  # what is free stays
    assert spread_apart([99.0, 100.0], 10.0, 0.0, 100.0) == [90.0, 100.0]
    assert sorted(spread_apart([1.0] * 5, 50.0, 0.0, 100.0)) == pytest.approx([0, 25, 50, 75, 100])
    assert spread_apart([], 5.0, 0.0, 100.0) == []


def test_names_beside_marks_avoid_each_other():
    pytest.importorskip("matplotlib")
    from rmvpe.evaluation.trackers.plot import free_sides

    assert free_sides([(0.2, 0.5), (0.8, 0.5)], [5, 5]) == ["above", "above"]
    assert free_sides([(0.5, 0.5), (0.55, 0.5)], [5, 5]) == ["above", "below"]
    # A mark right above leaves no room there; where nothing is free the name stays above
    assert free_sides([(0.5, 0.5), (0.5, 0.54)], [5, 5]) == ["below", "above"]
    assert free_sides([(0.5, 0.5)] * 6, [5] * 6)[-1] == "above"
