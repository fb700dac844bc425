"""The log files of a run: their content, also after a crash, a resume or a full disk."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.errors import UserError
from rmvpe.pictures.theme import theme_named
from rmvpe.processes import ONE_RANK, Ranks
from rmvpe.training import jsonl
from rmvpe.training.loss_curves import LossCurve
from rmvpe.training.plot import draw_run, running_median, thinned
from rmvpe.training.run_log import RunLog, best_so_far, read_log, results
from tests.helpers.paths import ROOT

pytest.importorskip("matplotlib")
pytest.importorskip("tensorboardX")

CONFIG = TrainConfig(model=ModelConfig.small())
FILES = {"log.jsonl", "validation.jsonl", "sdaa.jsonl", "tensorboard", "results.md", "result.txt", "loss.png"}


def record(step: int) -> dict[str, float]:
    """A line of the training loop; every value depends on the step."""
    return {
        "step": step,
        "loss": 0.1733 + 1 / step,
        "loss_net": 1 / step,
        "grad_norm": 10.0 + step,
        "param_norm": 20.0 + step,
        "update_norm": 30.0 + step,
        "learning_rate": 5e-4 / step,
        "seconds": 0.5,
        "examples_per_s": 64.0,
        "data_wait": 0.25,
    }


def evaluation(clean: float, mixed: float) -> Any:
    """The attributes of `rmvpe.evaluation.evaluate.Evaluation` that a log needs."""
    row = {"RCA": 0.9, "OA": 0.8, "VR": 0.7, "VFA": 0.1, "octave": 0.01, "lag": 0.0}
    pooled = {"clean": {"RPA": clean, **row}, "0 dB": {"RPA": mixed, **row}}
    files = [{"file": f"{n}.wav", "ratio": ratio, **scores} for n in (1, 2) for ratio, scores in pooled.items()]
    return SimpleNamespace(threshold=0.1, pooled=pooled, files=files)


def write_run(folder: Path, first: int = 0, last: int = 6, ranks: Ranks = ONE_RANK) -> None:
    """A run with a validation every second update; those at steps 4 and 6 are the best."""
    with RunLog(folder, CONFIG, ranks, first) as log:
        for step in range(first + 1, last + 1):
            log.step(record(step))
            if step % 2 == 0:
                log.validation(step, evaluation(0.8 if step == 2 else 0.9, 0.5))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_run_writes_each_of_its_files(tmp_path: Path):
    write_run(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    rows = read_log(tmp_path / "run")
    assert [row for row in rows if "loss" in row] == [record(step) for step in range(1, 7)]
    assert rows[2] == {"step": 2, "validation": evaluation(0.8, 0.5).pooled}
    per_file = [json.loads(line) for line in lines(tmp_path / "run" / "validation.jsonl")]
    assert len(per_file) == 3 * 2 * 2  # validations, files, ratios
    assert per_file[4] == {"step": 4, **evaluation(0.9, 0.5).files[0]}
    # As the SDAA port writes it: step, RPA, RCA, OA, VR, VFA
    assert lines(tmp_path / "run" / "result.txt")[0] == "2\t0.800000\t0.900000\t0.800000\t0.700000\t0.100000"
    assert (tmp_path / "run" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_best_so_far_is_the_first_of_the_highest_mean(tmp_path: Path):
    assert best_so_far(tmp_path) == (-1.0, None)
    write_run(tmp_path)
    mean, step = best_so_far(tmp_path)
    assert step == 4
    assert mean == pytest.approx(0.7)
    write_run(tmp_path, first=2, last=2)
    assert best_so_far(tmp_path) == (pytest.approx(0.65), 2)


def test_the_sdaa_log_is_what_the_collection_reads(tmp_path: Path):
    """Read as a loss.py of Tecorigin's model collection does: strip the prefix, parse, evaluate the data's text."""
    write_run(tmp_path)
    rows = []
    for line in lines(tmp_path / "sdaa.jsonl"):
        assert line.startswith("TCAPPDLL ")
        rows.append(json.loads(line.split("TCAPPDLL")[1].strip()))
    declared = {row["metric"]: row["metadata"] for row in rows if row["type"] == "METADATA"}
    assert declared["train.loss"] == {"unit": "", "GOAL": "MINIMIZE", "STAGE": "TRAIN"}
    assert declared["train.ips"] == {"unit": "examples/s", "format": ":.3f", "GOAL": "MAXIMIZE", "STAGE": "TRAIN"}
    logged = [row for row in rows if row["type"] == "LOG"]
    for step, row in enumerate(logged, 1):
        assert list(row) == ["timestamp", "datetime", "elapsedtime", "type", "step", "data"]
        assert all(isinstance(row[name], str) for name in ("timestamp", "datetime", "elapsedtime", "data"))
        assert row["step"] == [0, step]
        data = eval(row["data"])
        assert data["rank"] == "0"
        assert float(data["train.loss"]) == record(step)["loss"]
        assert float(data["train.ips"]) == 64.0
        assert float(data["train.data_time"]) == 0.125  # a quarter of half a second
    assert len(logged) == 6


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_every_value(tmp_path: Path):
    write_run(tmp_path)
    shown = scalars(tmp_path)
    assert {tag.split("/")[0] for tag in shown} == {"train", "norm", "speed", "validation_clean", "validation_0dB"}
    tags = {"train/loss_net": "loss_net", "norm/update": "update_norm", "speed/data_wait": "data_wait"}
    for tag, name in tags.items():
        # An event holds float32
        assert shown[tag] == [(step, pytest.approx(record(step)[name], rel=1e-6)) for step in range(1, 7)]
    assert shown["validation_clean/RPA"] == [(step, pytest.approx(rpa)) for step, rpa in [(2, 0.8), (4, 0.9), (6, 0.9)]]


def test_a_resumed_run_drops_what_it_will_compute_again(tmp_path: Path):
    write_run(tmp_path)
    with RunLog(tmp_path, CONFIG, ONE_RANK, 4) as log:
        assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 2, 3, 4, 4]
        log.step({**record(5), "loss": 9.0})
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 2, 3, 4, 4, 5]
    assert {json.loads(line)["step"] for line in lines(tmp_path / "validation.jsonl")} == {2, 4}
    assert [line.split("\t")[0] for line in lines(tmp_path / "result.txt")] == ["2", "4"]
    sdaa = lines(tmp_path / "sdaa.jsonl")
    assert sum('"METADATA"' in line for line in sdaa) == 5  # declared once
    assert [json.loads(line[9:])["step"][1] for line in sdaa if '"LOG"' in line] == [1, 2, 3, 4, 5]
    assert "**4**" in (tmp_path / "results.md").read_text()
    assert "| 6 |" not in (tmp_path / "results.md").read_text()
    shown = scalars(tmp_path)
    assert [step for step, _ in shown["train/loss"]] == [1, 2, 3, 4, 5]
    assert shown["train/loss"][-1][1] == 9.0
    assert [step for step, _ in shown["validation_clean/RPA"]] == [2, 4]


def test_a_resumed_run_ends_with_the_files_of_one_that_was_not_stopped(tmp_path: Path):
    write_run(tmp_path / "run")
    write_run(tmp_path / "resumed" / "run", last=5)
    write_run(tmp_path / "resumed" / "run", first=3)
    for name in ("log.jsonl", "validation.jsonl", "results.md", "result.txt", "loss.png"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "resumed" / "run" / name).read_bytes(), name


def test_wherever_a_crash_cuts_a_log_whole_lines_remain(tmp_path: Path):
    write_run(tmp_path / "run", last=3)
    for name in ("log.jsonl", "validation.jsonl", "sdaa.jsonl", "result.txt"):
        whole = (tmp_path / "run" / name).read_bytes()
        for cut in range(len(whole) - len(whole.splitlines()[-1]) - 3, len(whole) + 1):
            (tmp_path / name).write_bytes(whole[:cut])
            jsonl.keep(tmp_path / name, lambda line, number: True)
            assert (tmp_path / name).read_bytes() == whole[: whole[:cut].rfind(b"\n") + 1]
        (tmp_path / "run" / name).write_bytes(whole[:-7])
    RunLog(tmp_path / "run", CONFIG, ONE_RANK, 3).close()
    assert [row["step"] for row in read_log(tmp_path / "run")] == [1, 2, 2]
    assert len(lines(tmp_path / "run" / "sdaa.jsonl")) == 5 + 2


def test_only_the_main_process_writes(tmp_path: Path):
    write_run(tmp_path / "run", ranks=Ranks(processes=2, process=1))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX matter")
def test_a_full_disk_names_the_file_and_keeps_the_lines_before(tmp_path: Path):
    """A limit on the size of files stands for a full disk: the write that crosses it fails half-way."""
    code = f"""
import resource, sys
from tests.rmvpe.training.test_run_log import *
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    with RunLog(Path({str(tmp_path)!r}), CONFIG, ONE_RANK, 0) as log:
        for step in range(1, 100):
            log.step(record(step))
except UserError as error:
    print(error)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write {tmp_path}")
    assert "choose another" in done.stdout
    rows = read_log(tmp_path)
    assert rows == [record(step) for step in range(1, len(rows) + 1)]
    assert len(rows) > 3
    RunLog(tmp_path, CONFIG, ONE_RANK, len(rows)).close()  # with room again the run goes on


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize("name", ["log.jsonl", "sdaa.jsonl", "validation.jsonl"])
def test_each_log_names_itself_when_the_disk_is_full(name: str, tmp_path: Path):
    with RunLog(tmp_path, CONFIG, ONE_RANK, 0) as log:
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to("/dev/full")
        with pytest.raises(UserError, match=rf"{name}.*make room"):
            log.step(record(1)) if name != "validation.jsonl" else log.validation(1, evaluation(0.5, 0.5))
        (tmp_path / name).unlink()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/run.*choose another --logdir"):
        RunLog(tmp_path / "file" / "run", CONFIG, ONE_RANK, 0)


def test_a_damaged_line_is_named(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, \n{"step": 3}\n')
    for damaged in (lambda: read_log(tmp_path), lambda: RunLog(tmp_path, CONFIG, ONE_RANK, 3)):
        with pytest.raises(UserError, match=r"log\.jsonl.*line 2.*delete"):
            damaged()
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "sdaa.jsonl").write_text('TCAPPDLL {"type": "LOG", \n')
    with pytest.raises(UserError, match=r"sdaa\.jsonl.*line 1.*delete"):
        RunLog(tmp_path, CONFIG, ONE_RANK, 3)


def test_an_error_in_the_run_still_leaves_table_and_picture(tmp_path: Path):
    def diverge() -> None:
        with RunLog(tmp_path, CONFIG, ONE_RANK, 0) as log:
            log.step(record(1))
            raise UserError("the loss became nan")

    with pytest.raises(UserError, match="became nan"):
        diverge()
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_a_closed_log_stays_closed(tmp_path: Path):
    log = RunLog(tmp_path, CONFIG, ONE_RANK, 0)
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.step(record(1))
    assert read_log(tmp_path) == []


def test_a_missing_library_is_reported_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match="pip install tensorboardX"):
        RunLog(tmp_path / "run", CONFIG, ONE_RANK, 0)
    assert not (tmp_path / "run").exists()


def test_the_table_has_a_row_per_validation_and_ratio():
    curve = LossCurve(np.arange(1, 5), np.full(4, 0.5), np.array([0.4, 0.2, 0.3, 0.2]))
    tables = {2: evaluation(0.9, 0.8).pooled, 4: evaluation(0.5, math.nan).pooled}
    head, rule, *rows = [line for line in results(CONFIG, curve, tables).splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert names[:5] == ["step", "loss net", "voice to music", "RPA (%)", "RCA (%)"]
    assert names[-1] == "lag (frames of 10 ms)"
    assert {line.count("|") for line in (head, rule, *rows)} == {len(names) + 1}
    assert rows[0].startswith("| **2** | **0.30000** | **clean** | **90.00** | **90.00** | **80.00** |")
    assert rows[3].startswith("| 4 | 0.25000 | 0 dB | – | 90.00 |")


def test_the_picture_shows_the_run(tmp_path: Path):
    step = np.arange(1, 101)
    net = 1.0 / step
    figure = draw_run(LossCurve(step, net + 0.1733, net), {"clean": ([50, 100], [0.5, 0.75])}, "a run")
    upper, lower = figure.axes
    shown = {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in upper.lines}
    assert {name for name in shown if not name.startswith("_")} == {"loss", "loss net of the dropout floor"}
    # 1 / step falls, so the median of five is the middle one
    middle = slice(10, 90)
    np.testing.assert_allclose(shown["loss net of the dropout floor"][middle], net[middle])
    np.testing.assert_allclose(shown["loss"][middle], net[middle] + 0.1733)
    assert upper.get_yscale() == "log"
    np.testing.assert_allclose(np.asarray(lower.lines[0].get_xydata(), dtype=float), [[50, 50], [100, 75]])
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("step (updates)", "validation: raw\npitch accuracy (%)")


@pytest.mark.parametrize("loss", [[], [0.5], [0.5, math.nan], [math.nan] * 3, [0.0, 0.0], [0.3, -0.1, math.inf]])
def test_any_curve_can_be_drawn(loss: list[float]):
    values = np.array(loss)
    for net in (None, values, values - 0.2):
        draw_run(LossCurve(np.arange(1, len(values) + 1), values, net), {"0 dB": ([1], [math.nan])}).canvas.draw()


def test_without_dropout_there_is_one_curve_and_without_validation_one_panel():
    (axes,) = draw_run(LossCurve(np.arange(3), np.ones(3), np.ones(3)), {}).axes
    legend: Any = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["loss"]


def test_running_median_and_thinning_against_plain_loops():
    values = np.random.default_rng(0).normal(size=103)
    values[[5, 50]] = np.nan
    for half in (1, 2, 10):
        expected = [np.nanmedian(values[max(0, i - half) : i + half + 1]) for i in range(103)]
        np.testing.assert_allclose(running_median(values, 2 * half + 1), expected)
    np.testing.assert_array_equal(running_median(values, 1), values)
    step, median, least, greatest = thinned(np.arange(1, 104), values, most=20)
    assert step.tolist() == [*range(6, 103, 6), 103]
    np.testing.assert_allclose(median[1], np.median(values[6:12]))
    assert (least[2], greatest[2]) == (values[12:18].min(), values[12:18].max())
    assert np.isfinite(median).all()


def test_a_long_run_is_drawn_from_few_points():
    step = np.arange(1, 100_001)
    assert len(thinned(step, np.ones(len(step)))[0]) <= 600


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_picture_of_a_run_has_the_theme_that_was_asked_for(theme: str, tmp_path: Path):
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    with RunLog(tmp_path, CONFIG, ONE_RANK, 0, theme) as run_log:
        run_log.step({"step": 1, "loss": 0.5, "loss_net": 0.3})
    np.testing.assert_allclose(imread(tmp_path / "loss.png")[0, 0, :3], to_rgb(theme_named(theme).paper), atol=0.002)
