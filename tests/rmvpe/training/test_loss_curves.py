"""Loss curves from every log format, the comparison of SDAA's model collection, and its command line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.errors import UserError
from rmvpe.processes import ONE_RANK
from rmvpe.training.loss_curves import LossCurve, compare, read_curve, relative_error
from rmvpe.training.plot import draw_comparison, in_words
from rmvpe.training.run_log import RunLog
from tests.helpers.paths import ROOT

pytest.importorskip("matplotlib")

SCRIPT = ROOT / "scripts" / "compare_losses.py"
FLOOR = 0.1733  # 0.25 ln 2, of dropout on the logits


def curve(loss: np.ndarray | list[float], first: int = 1) -> LossCurve:
    return LossCurve(np.arange(first, first + len(loss)), np.asarray(loss, dtype=float))


def falling(n: int = 100) -> np.ndarray:
    return 0.4 * np.exp(-np.arange(n) / 20) + 0.01


def write_run(folder: Path, net: np.ndarray) -> Path:
    """A run's log.jsonl, with a validation in the middle."""
    folder.mkdir(parents=True)
    rows = [{"step": step, "loss": FLOOR + loss, "loss_net": loss} for step, loss in enumerate(net.tolist(), 1)]
    rows.insert(len(rows) // 2, {"step": len(rows) // 2, "validation": {"clean": {"RPA": 0.5}}})
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tcap(step: tuple[int, ...], loss: float, rank: int = 0) -> str:
    """A line as tcap_dllogger's JSONStreamBackend writes it: the data is the text of a dict of texts."""
    data = str({"rank": str(rank), "train.loss": str(loss), "train.ips": "575.14", "data.shape": "[300, 300]"})
    about = {"timestamp": "1751610477.806828", "datetime": "2025-07-04 06:27:57.806828", "elapsedtime": "4.610982"}
    return "TCAPPDLL " + json.dumps({**about, "type": "LOG", "step": step, "data": data}) + "\n"


def printed(epoch: int, iteration: int, loss: float, rank: int = 0, end: str = "\n") -> str:
    """A line as tcap_dllogger's StdOutBackend prints it."""
    return (
        f"TCAPPDLL 2025-05-15 14:20:10.930385 - Epoch: {epoch} Iteration: {iteration}  "
        f"rank : {rank}  train.loss : {loss}  train.ips : 10415.77 imgs/s{end}"
    )


def test_a_run_has_the_same_curve_in_each_of_its_logs(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    with RunLog(tmp_path, TrainConfig(model=ModelConfig.small()), ONE_RANK, 0) as run_log:
        for step in range(1, 8):
            run_log.step({"step": step, "loss": FLOOR + 1 / step, "loss_net": 1 / step})
    logs = [read_curve(tmp_path), read_curve(tmp_path / "log.jsonl"), read_curve(str(tmp_path / "sdaa.jsonl"))]
    for log in logs:
        assert log.step.tolist() == list(range(1, 8))
        assert log.loss.tolist() == [FLOOR + 1 / step for step in range(1, 8)]
    assert logs[0].net is not None
    assert logs[0].net.tolist() == [1 / step for step in range(1, 8)]
    assert logs[2].net is None


def test_logs_of_tcap_dllogger(tmp_path: Path):
    metadata = 'TCAPPDLL {"type": "METADATA", "metric": "train.loss", "metadata": {"unit": ""}}\n'
    info = 'INFO {"local_rank": 0, "type": "INFO", "data": "start training"}\n'
    texts = {
        "tcap": metadata + info + "".join(tcap((0, k), 1 / (k + 1)) for k in range(5)),
        "from one": "".join(tcap((0, k), 1 / k) for k in range(1, 6)),
        "one number for all": "".join(tcap((0, 0), 1 / (k + 1)) for k in range(5)),
        "epochs of three": "".join(tcap((k // 3, k % 3), 1 / (k + 1)) for k in range(5)),
        "epochs, one count": "".join(tcap((k // 3, k), 1 / (k + 1)) for k in range(5)),
        "with validations": "".join(tcap((0, k), 1 / (k + 1)) + tcap((0, k, 1), 9.0) for k in range(5))
        + tcap((0,), 9.0),  # mean of an epoch
        "printed": "Host IP | 127.0.0.1\n{'loss': 2}\n" + "".join(printed(0, k, 1 / (k + 1)) for k in range(5)),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        read = read_curve(tmp_path / name)
        assert read.step.tolist() == [1, 2, 3, 4, 5], name
        assert read.loss.tolist() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], name


def test_ranks_are_averaged_also_where_they_print_into_each_others_line(tmp_path: Path):
    text = printed(0, 0, 1.0, 0, end="") + printed(0, 0, 3.0, 1) + "\n"
    text += printed(0, 1, 5.0, 1) + printed(0, 1, 3.0, 0) + printed(0, 2, 9.0, 0)  # cut off before rank 1's third
    (tmp_path / "log").write_text(text)
    assert read_curve(tmp_path / "log").loss.tolist() == [2.0, 4.0]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path):
    run = write_run(tmp_path / "run", falling(4))
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "lo')
    assert read_curve(run).step.tolist() == [1, 2, 3, 4]


def test_errors_of_known_curves():
    a = np.full(60, 0.5)
    b = a.copy()
    b[:10] = 99.0  # before the last 50: does not count
    b[10:35] *= 1.1
    b[35:] *= 0.9
    found = compare(curve(a), curve(b))
    assert found.step.tolist() == list(range(11, 61))
    assert found.relative == pytest.approx(0.1)
    assert found.absolute == pytest.approx(0.05)
    # As the collection's own script counts them the two halves cancel
    assert found.signed_relative == pytest.approx(0.0, abs=1e-12)
    assert found.signed_absolute == pytest.approx(0.0, abs=1e-12)
    assert found.net_relative is None
    assert not found.passed
    assert compare(curve(a), curve(a)).relative == 0.0


@pytest.mark.parametrize(
    ("a", "b", "passed"),
    [
        (1.0, 1.049, True),
        (1.0, 1.051, False),
        (1.0, 0.949, False),  # a lower loss is another loss as well
        (1e-3, 1.19e-3, True),  # the absolute error alone
        (1e-3, 1.21e-3, False),
        (0.0, 0.0, True),
        (0.0, 1e-4, True),
        (1.0, np.nan, False),
        (np.nan, np.nan, False),
        (np.inf, np.inf, False),
    ],
)
def test_either_error_may_pass(a: float, b: float, passed: bool):
    assert compare(curve([a] * 3), curve([b] * 3)).passed == passed


def test_only_common_steps_count():
    a, b = curve(np.arange(1.0, 11.0)), curve(np.arange(8.0, 14.0), first=8)
    found = compare(a, b, last=2)
    assert found.step.tolist() == [9, 10]
    assert found.relative == 0.0
    assert compare(a, b).step.tolist() == [8, 9, 10]  # fewer than asked for
    with pytest.raises(UserError, match=r"steps 1 to 3.*7 to 9"):
        compare(curve([1.0] * 3), curve([1.0] * 3, first=7))
    with pytest.raises(UserError, match="--last"):
        compare(a, b, last=0)


def test_the_net_loss_shows_what_the_floor_hides(tmp_path: Path):
    """Twice the net loss passes the collection's test under the dropout floor."""
    a, b = (read_curve(write_run(tmp_path / str(k), np.full(50, 0.005 * k))) for k in (1, 2))
    found = compare(a, b)
    assert found.passed
    assert found.net_relative == pytest.approx(1.0)


def test_relative_error_of_zero():
    np.testing.assert_array_equal(
        relative_error(np.array([0.0, 0.0, 2.0, -2.0]), np.array([0.0, 1.0, 1.0, -1.0])), [0.0, np.inf, -0.5, 0.5]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "log.jsonl.*give a run folder"),
        ("", "log.jsonl.*give a run folder"),
        ("\x89PNG\n\x00\x00\n", "log.jsonl.*give a run folder"),
        ('{"step": 1, "validation": {}}\n', "log.jsonl.*give a run folder"),
        ('{"step": 1, "loss": 1}\n{"step": 2,\n{"step": 3, "loss": 1}\n', "line 2.*delete that line"),
        ('{"step": 1, "loss": "high"}\n', "log.jsonl.*high"),
        ('{"step": 2, "loss": 1}\n{"step": 1, "loss": 1}\n', "log.jsonl.*more than one run"),
        ('TCAPPDLL {"type": "LOG", "step": [0, 1], "data": "nonsense("}\n', "log.jsonl.*line 1"),
        ('TCAPPDLL {"type": "LOG", "step": [0, 1]\n', "log.jsonl.*line 1"),
        (tcap((0, 1), 1.0).replace("1.0", "one"), "log.jsonl.*line 1.*one"),
        (tcap((0, 1), 1.0).replace("train.loss", "val.loss"), "log.jsonl.*give a run folder"),
    ],
)
def test_a_file_that_is_no_log_is_named(content: str | None, message: str, tmp_path: Path):
    if content is not None:
        (tmp_path / "log.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        read_curve(tmp_path)


def legend_of(axes: Any) -> list[str]:
    """The texts of the legend of a panel."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_picture_of_a_comparison():
    a, b = (LossCurve(np.arange(1, 101), net + FLOOR, net) for net in (falling(), 1.2 * falling()))
    found = compare(a, b)
    figure = draw_comparison(a, b, found, ("torch", "JAX"), "twins")
    upper, lower = figure.axes
    assert legend_of(upper) == ["torch", "JAX"]
    assert {text.get_text() for text in upper.texts} == {
        "loss",
        "loss net of the dropout floor",
        "compared: the last 50 common steps",
    }
    assert lower.get_xlabel() == "step (updates)"
    assert lower.get_ylabel() == "JAX − torch\n(% of torch)"
    per_cent = np.asarray(lower.lines[-1].get_ydata(), dtype=float)
    np.testing.assert_allclose(per_cent, 100 * (0.2 * falling()) / (falling() + FLOOR))
    assert lower.get_title(loc="left") == in_words(found)
    low, high = lower.get_ylim()
    assert low < per_cent.min() < per_cent.max() < high


@pytest.mark.parametrize("n", [1, 2, 2000])
def test_any_pair_of_curves_can_be_drawn(n: int):
    for loss in (np.ones(n), np.zeros(n), np.full(n, np.nan)):
        a, b = curve(np.linspace(1.0, 0.1, n)), curve(loss)
        draw_comparison(a, b, compare(a, b)).canvas.draw()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_the_command_line_passes_and_fails(tmp_path: Path):
    a = write_run(tmp_path / "a", falling())
    b = write_run(tmp_path / "b", 1.001 * falling())
    c = write_run(tmp_path / "c", 3 * falling())
    passed = run(a, b / "log.jsonl", "-o", tmp_path / "both.png", "--labels", "CUDA", "SDAA")
    assert passed.returncode == 0, passed.stderr
    assert passed.stdout.startswith("pass over the last 50 ")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    failed = run(a, c, "--last", "20")
    assert failed.returncode == 1
    assert failed.stdout.startswith("fail over the last 20 ")
    assert failed.stderr == ""


def test_the_command_line_names_what_it_cannot_read(tmp_path: Path):
    a = write_run(tmp_path / "a", falling())
    for arguments in ([a, tmp_path / "none"], [a, a, "-o", tmp_path / "x.doc"], [a, a, "--last", 0]):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("compare_losses: ")
        assert done.stderr.count("\n") == 1
