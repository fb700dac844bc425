"""The voicing probe: what the regression learns, equal false alarms, the interval, and a whole run."""

import re

import numpy as np
import pytest

import rmvpe
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.evaluation.evaluate import evaluate
from tests.helpers.hybrid import make_hybrid
from tests.helpers.paths import ROOT
from tests.scripts.test_scripts import loaded


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("scipy")
    return loaded(ROOT / "scripts" / "probe_voicing.py")


def frames(script, seed: int, informative: bool):
    """A file whose confidence is noise; one of its GRU outputs shows the voicing if `informative`."""
    rng = np.random.default_rng(seed)
    sung = rng.random(2000) < 0.5
    hidden = rng.normal(size=(2000, 6)).astype(np.float32)
    if informative:
        hidden[:, 3] += 3.0 * sung
    return script.Frames(hidden, rng.random(2000).astype(np.float32), sung, sung & (rng.random(2000) < 0.9))


def accuracy_at(script, files, scores, vfa):
    return script.accuracy(files, scores, script.threshold_at(files, scores, vfa))


@pytest.mark.parametrize(("informative", "least", "most"), [(True, 0.30, 0.40), (False, -0.02, 0.02)])
def test_the_probe_finds_what_the_confidence_lacks(script, informative, least, most) -> None:
    weights, offset = script.fit([frames(script, seed, informative) for seed in range(3)], penalty=1e-3)
    other = [frames(script, seed, informative) for seed in (10, 11)]
    plain, total = accuracy_at(script, other, [file.confidence for file in other], 0.2)
    probed, _ = accuracy_at(script, other, [file.probed(weights, offset) for file in other], 0.2)
    # Found: 0.9 right pitches of 98.5 % of the voiced frames instead of 20 %, half of all frames
    assert least < (probed - plain).sum() / total.sum() < most


def test_a_large_penalty_leaves_the_confidence_alone(script) -> None:
    weights, _ = script.fit([frames(script, seed, informative=True) for seed in range(3)], penalty=1e6)
    assert np.abs(weights[:-1]).max() < 1e-3


def test_all_ratios_come_equally_often(script) -> None:
    work = script.several_ratios(range(7))
    assert sorted(ratio for _, ratio in work) == sorted(3 * script.RATIOS)
    assert sorted({index for index, _ in work}) == list(range(7))
    assert len(set(work)) == 21


def test_both_have_the_same_false_alarms(script) -> None:
    files = [frames(script, seed, informative=True) for seed in range(4)]
    for scores in ([file.confidence for file in files], [file.hidden[:, 3] for file in files]):
        never_right = [script.Frames(f.hidden, f.confidence, f.sung, np.zeros_like(f.sung)) for f in files]
        good, _ = accuracy_at(script, never_right, scores, 0.1)
        unvoiced = sum((~file.sung).sum() for file in files)
        assert good.sum() / unvoiced == pytest.approx(0.9, abs=0.001)


def test_the_interval_covers_what_chance_does(script) -> None:
    lengths = np.full(50, 1000.0)
    assert script.interval(np.full(50, 20.0), lengths) == pytest.approx((2.0, 2.0))
    low, high = script.interval(np.random.default_rng(1).normal(0, 20, 50), lengths)
    assert low < 0 < high
    assert high - low == pytest.approx(2 * 1.96 * 2.0 / np.sqrt(50), rel=0.25)


def test_frames_of_one_kind_are_refused(script) -> None:
    file = frames(script, 0, informative=True)
    silent = script.Frames(file.hidden, file.confidence, np.zeros(2000, bool), np.zeros(2000, bool))
    with pytest.raises(rmvpe.errors.UserError, match="voiced and unvoiced"):
        script.fit([silent], penalty=1.0)


def test_a_whole_run_has_the_scores_of_evaluate(script, tmp_path, capsys) -> None:
    data = make_hybrid(tmp_path, train=7, valid=3)
    assert script.main(["small", "--data", str(data), "--files", "7"]) == 0
    rows = {
        cells[1]: cells[2:4] for cells in (re.split(r" *\| *", line) for line in capsys.readouterr().out.splitlines())
    }
    assert list(rows)[2:] == ["clean", "20 dB", "10 dB", "5 dB", "0 dB", "-5 dB"]
    pooled = evaluate(rmvpe.load("small"), Hybrid(data, "valid"), snr_db=(np.inf, 0.0)).pooled
    for ratio, scores in pooled.items():
        vfa, accuracy = map(float, rows[ratio])
        assert vfa == pytest.approx(100 * scores["VFA"], abs=0.06)
        assert accuracy == pytest.approx(100 * scores["OA"], abs=0.006)
