"""Comparing trackers: our scores are those of `rmvpe evaluate`, and a tracker that fails does not stop the others."""

from pathlib import Path

import pytest

from rmvpe.backends import choose_backend
from rmvpe.data.mixing import find_music
from rmvpe.data.readers.folder import Annotated
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import UserError
from rmvpe.estimator import load
from rmvpe.evaluation.evaluate import CLEAN, MUSIC, evaluate
from rmvpe.evaluation.trackers.adapters import find_trackers
from rmvpe.evaluation.trackers.compare import compare, open_data
from tests.helpers.hybrid import make_hybrid
from tests.helpers.simple_trackers import SPECS
from tests.helpers.voices import write_voices_and_music

pytest.importorskip("mir_eval")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """voices/: two glides, one of them longer; music/: noise; Hybrid/."""
    root = write_voices_and_music(tmp_path_factory.mktemp("data"))
    make_hybrid(root / "Hybrid", train=1, valid=1)
    return root


def test_our_scores_are_those_of_evaluate(data: Path):
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


def test_a_tracker_is_scored_on_its_own_frames(data: Path):
    logged: list[str] = []
    specs = {"autocorrelation": SPECS["autocorrelation"]}
    source = Annotated(data / "voices")
    found = compare(specs, source, snr_db=(CLEAN, 20.0), indices=[0, 1], threads=2, log=logged.append)
    result = found.results["autocorrelation"]
    assert list(result.pooled) == ["clean"]  # without music there is no ratio
    scores = result.pooled["clean"]
    assert scores["RPA"] > 0.97
    assert scores["OA"] > 0.9
    assert scores["lag"] == 0
    assert result.settings == "2 thread"
    assert result.cpu_seconds > 0
    assert result.seconds > 0
    assert found.audio_s == pytest.approx(5.0, abs=0.05)
    assert "processor seconds" in logged[0]


def test_a_failing_tracker_stops_nothing_and_all_are_scored_on_the_same_audio(data: Path):
    logged: list[str] = []
    found = compare(SPECS, Annotated(data / "voices"), snr_db=(CLEAN,), indices=[0, 1], log=logged.append)
    assert list(found.results) == ["autocorrelation", "fragile"]
    assert [row["file"] for row in found.results["autocorrelation"].files] == ["a"]
    assert found.results["autocorrelation"].pooled == found.results["fragile"].pooled
    assert any("fragile fails on b, clean: RuntimeError: too long for me;" in text for text in found.failures)
    assert not any("fails on" in text for text in logged)  # failures are told once, by who asked
    assert set(found.skipped) == {"broken", "crashing", "absent"}
    assert found.skipped["broken"] == "OSError: libfoo.so: cannot open shared object file"
    assert found.skipped["crashing"] == "at b, clean, its process ended with exit code 3"
    assert "pip install no-such-package" in found.skipped["absent"]


def test_a_tracker_that_fails_on_everything_is_skipped(data: Path):
    with pytest.raises(UserError, match="no tracker is left: fragile: it fails on everything, last on b, clean"):
        compare({"fragile": SPECS["fragile"]}, Annotated(data / "voices"), snr_db=(CLEAN,), indices=[1])


def test_a_folder_is_read_for_what_it_is(data: Path):
    assert isinstance(open_data(str(data / "voices"), "test"), Annotated)
    assert isinstance(open_data(f"folder:{data / 'voices'}", "test"), Annotated)
    hybrid = open_data(str(data / "Hybrid"), "valid")
    assert isinstance(hybrid, Hybrid)
    assert open_data(str(data / "Hybrid" / "valid"), "test").name(0) == hybrid.name(0)
