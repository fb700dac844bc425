"""What is evaluated is what the estimator decides: every setting of `DecodeConfig`, by the API and the command line."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.cli import evaluate, main
from rmvpe.cli.options import SETTINGS, describe_settings
from rmvpe.config import DecodeConfig
from rmvpe.data.readers.folder import Annotated
from rmvpe.evaluation.evaluate import evaluate as evaluate_source
from rmvpe.evaluation.evaluate import predictions
from rmvpe.evaluation.metrics import melody_scores, tally
from rmvpe.evaluation.trackers.adapters import track_everywhere
from rmvpe.pitch import bins_to_hz
from rmvpe.program import whole_parser
from tests.helpers.commands import command_with
from tests.helpers.waves import swelling, waves

pytest.importorskip("mir_eval")
HEARD_HZ = float(bins_to_hz(np.array(200)))
CONFIGS = {
    "threshold": DecodeConfig(threshold=0.4),
    "hysteresis": DecodeConfig(threshold=0.4, hysteresis=0.25),
    "gate": DecodeConfig(threshold=0.2, silence_gate_db=-30.0),
    "all": DecodeConfig("viterbi", threshold=0.4, hysteresis=0.3, silence_gate_db=-40.0, f0_max_hz=1000.0, pad="zero"),
    "another pitch": DecodeConfig(threshold=0.0, f0_max_hz=300.0),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tone of wandering level, annotated as sung (a little flat) where it is above -50 dBFS or so."""
    folder = tmp_path_factory.mktemp("data")
    sound = swelling(20.0)
    soundfile.write(folder / "a.wav", sound, 16000, subtype="FLOAT")
    level = np.sqrt(np.convolve(sound**2, np.ones(800) / 800, mode="same"))[::160]
    rows = (f"{0.01 * k:.2f},{HEARD_HZ * 0.99 if rms > 0.003 else 0:.3f}\n" for k, rms in enumerate(level))
    (folder / "a.csv").write_text("".join(rows))
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_the_scores_are_those_of_the_track(name: str, data: Path):
    estimator, source = waves(64, 32, CONFIGS[name]), Annotated(data)
    item = source[0]
    track = estimator.from_audio(item.voice, 16000)
    everywhere = estimator.from_audio(item.voice, 16000, threshold=0.0, hysteresis=0.0, silence_gate_db=-np.inf)
    expected = tally(item.time_s, item.f0_hz, track.time_s, everywhere.f0_hz, track.voiced).scores()
    found = evaluate_source(estimator, source, snr_db=[np.inf]).pooled["clean"]
    assert repr(found) == repr(expected)
    assert (found["RPA"] == 1.0) == (name != "another pitch")  # whatever is voiced
    ((prediction,),) = predictions(estimator, source, [np.inf]).values()
    np.testing.assert_array_equal(prediction.curve.voiced(estimator.config), track.voiced)
    aligned = melody_scores(prediction.aligned(estimator.config))  # what a threshold is chosen by
    assert aligned == pytest.approx({score: found[score] for score in aligned})


def test_every_setting_counts(data: Path):
    """Otherwise the test above would compare nothing."""
    rows = [
        evaluate_source(waves(64, 32, config), Annotated(data), snr_db=[np.inf]).pooled["clean"]
        for config in CONFIGS.values()
    ]
    assert len({(row["VR"], row["VFA"], row["OA"]) for row in rows}) == len(rows)
    plain, held, gated, _, elsewhere = rows
    assert held["VR"] > plain["VR"]
    assert gated["VR"] < 0.9
    assert elsewhere["RPA"] == 0.0


@pytest.mark.parametrize("name", CONFIGS)
def test_the_compared_tracker_decides_as_the_estimator(name: str):
    estimator, sound = waves(64, 32, CONFIGS[name]), swelling(10.0)
    compared, track = track_everywhere(estimator, sound), estimator.from_audio(sound, 16000)
    np.testing.assert_array_equal(compared.voiced, track.voiced)
    np.testing.assert_array_equal(np.where(compared.voiced, compared.f0_hz, 0.0), track.f0_hz)
    np.testing.assert_array_equal(compared.confidence, track.confidence)
    assert not compared.voiced.all()
    assert (compared.f0_hz > 0).any() == (name != "another pitch")


@pytest.fixture
def command(data: Path, tmp_path: Path):
    """`rmvpe evaluate` with a stand-in network; returns what it wrote as JSON."""
    run_evaluate = command_with(evaluate, lambda *_: waves(64, 32, DecodeConfig(threshold=0.4)))

    def run(*flags: str, code: int = 0) -> dict:
        out = tmp_path / "scores.json"
        assert run_evaluate("--data", f"folder:{data}", "--snr", "clean", "--json", out, *flags) == code
        return json.loads(out.read_text()) if out.exists() else {}

    return run


def test_flags_are_settings(command, data: Path, capsys: pytest.CaptureFixture[str]):
    plain = command()
    assert plain["threshold"] == plain["decoding"]["threshold"] == 0.4
    assert capsys.readouterr().out.splitlines()[0].endswith(", threshold 0.4")
    flags = "--threshold 0.7 --hysteresis 0.2 --silence-gate-db=-40 --f0-min 100 --f0-max 900"
    found = command(*flags.split())
    said = capsys.readouterr().out.splitlines()[0]
    assert said.endswith(", threshold 0.7, hysteresis 0.2, silence gate -40 dBFS, f0 from 100 Hz, f0 up to 900 Hz")
    config = DecodeConfig("local-average", 0.7, 100.0, 900.0, "silence", 0.2, -40.0, (1.0, 0.0))
    assert found["decoding"] == json.loads(json.dumps(asdict(config)))  # a tuple becomes a list
    scores = evaluate_source(waves(64, 32, config), Annotated(data), snr_db=[np.inf]).pooled
    assert found["pooled"] == scores
    assert found["pooled"] != plain["pooled"]
    assert found["pooled"]["clean"]["RPA"] == plain["pooled"]["clean"]["RPA"] == 1.0


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--hysteresis", "0.5"), "hysteresis 0.5 is not between 0 and the threshold, 0.4"),
        (("--silence-gate-db", "6"), "silence gate 6.0 is not 0 dBFS or less: -inf switches it off"),
        (("--f0-min", "900", "--f0-max", "100"), "f0 range 900.0 to 100.0 Hz is empty"),
        (("--decoder", "argmax"), "argument --decoder: invalid choice"),
    ],
)
def test_mistakes(flags: tuple[str, ...], text: str, command, capsys: pytest.CaptureFixture[str]):
    assert command(*flags, code=2) == {}
    said = capsys.readouterr()
    assert text in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_both_commands_have_a_flag_for_every_setting():
    assert set(SETTINGS) == set(asdict(DecodeConfig())) - {"calibration"}  # which belongs to the weights
    parser = whole_parser("rmvpe", main.PROGRAM)
    for words in (["predict", "a.wav", "-o", "b"], ["evaluate", "--data", "c"]):
        assert all(getattr(parser.parse_args(words), name) is None for name in SETTINGS)


def test_a_headline_tells_what_is_not_as_usual():
    assert describe_settings(DecodeConfig(threshold=0.03)) == "threshold 0.03"
    assert describe_settings(DecodeConfig("viterbi", 0.03, silence_gate_db=-np.inf)) == (
        "threshold 0.03, silence gate -inf dBFS, viterbi"
    )
