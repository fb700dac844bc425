"""Going over recordings: any fault stays with its file, and the bar tells how much of the sound is done."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rmvpe import batch
from rmvpe.batch import Compute, OpenCompute, predicting, run_jobs
from rmvpe.batch_report import Workload
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator
from rmvpe.results import Job, f0_result
from rmvpe.track import F0Track
from tests.helpers.settings import decoding
from tests.helpers.waves import waves

soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def estimator() -> Estimator:
    return waves(256, 64, decoding())


def jobs(
    folder: Path, seconds: dict[str, float], channels: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> list[Job]:
    for name, length_s in seconds.items():
        tone = 0.3 * np.sin(np.arange(round(16_000 * length_s)) * 0.08)
        soundfile.write(folder / f"{name}.wav", channels(tone), 16_000)
    return [Job(folder / f"{name}.wav", (f0_result(folder / f"{name}.csv", "csv"),)) for name in seconds]


def opening(estimator: Estimator) -> OpenCompute:
    return lambda: (predicting(estimator), None)


ERRORS = [ZeroDivisionError("division by zero"), RuntimeError("odd"), MemoryError(), KeyError("x"), RecursionError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_any_exception_of_a_file_stays_with_it(
    error: Exception, estimator: Estimator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def write(self: F0Track, path: Path, file_format: str) -> None:
        if path.stem == "b":
            raise error
        path.write_text("written")

    monkeypatch.setattr(F0Track, "write", write)
    outcome = run_jobs(opening(estimator), jobs(tmp_path, {"a": 0.2, "b": 0.2, "c": 0.2}), quiet=True)
    (sentence,) = outcome.failures
    assert "b.wav" in sentence
    assert "\n" not in sentence
    assert (tmp_path / "a.csv").exists()
    assert (tmp_path / "c.csv").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_ends_it(
    stop: type[BaseException], estimator: Estimator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def write(*_: object) -> None:
        raise stop

    monkeypatch.setattr(F0Track, "write", write)
    with pytest.raises(stop):
        run_jobs(opening(estimator), jobs(tmp_path, {"a": 0.2, "b": 0.2}), quiet=True)


def test_with_debug_the_traceback_is_printed(
    estimator: Estimator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(batch, "run_job", lambda *_: 1 // 0)
    for debug in (False, True):
        outcome = run_jobs(opening(estimator), jobs(tmp_path, {"a": 0.2, "b": 0.2}), quiet=True, debug=debug)
        assert len(outcome.failures) == 2
        assert ("Traceback" in capsys.readouterr().err) == debug


def test_warnings_are_counted_and_notes_are_not(estimator: Estimator, tmp_path: Path):
    said: list[str] = []
    inverted = jobs(tmp_path, {"inverted": 0.5}, lambda tone: np.stack([tone, -tone], 1))
    assert run_jobs(opening(estimator), inverted, warn=said.append).warnings == 0
    assert "inverted.wav" in said[0]  # the louder channel was taken
    cut = jobs(tmp_path, {"cut": 0.5})
    data = cut[0].source.read_bytes()
    cut[0].source.write_bytes(data[: len(data) // 2])
    said.clear()
    assert run_jobs(opening(estimator), cut, warn=said.append).warnings == 1
    assert "cut.wav ends after 0.25 s" in said[0]
    assert len(F0Track.read(cut[0].results[0].path)) == 25  # the header takes 44 bytes of the half


def test_the_bar_is_there_before_anything_is_loaded(
    estimator: Estimator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown: list[str] = []

    def open_slowly() -> tuple[Compute, str]:
        shown.append(capsys.readouterr().err)
        return predicting(estimator), "waves on cpu"

    said: list[str] = []
    assert run_jobs(open_slowly, jobs(tmp_path, {"a": 0.2}), warn=said.append).failures == []
    assert "loading" in shown[0]
    assert said == ["waves on cpu"]
    assert "1/1 files" in capsys.readouterr().err


def test_a_bar_in_which_nothing_happened_is_wiped_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def fail() -> tuple[Compute, str]:
        raise UserError("no such weights")

    with pytest.raises(UserError):
        run_jobs(fail, jobs(tmp_path, {"a": 0.2}))
    error = capsys.readouterr().err
    assert "loading" in error
    assert error.replace("\n", "").split("\r")[-1].strip() == ""


def test_the_bar_goes_by_seconds_of_sound(tmp_path: Path):
    """Three seconds in all, of which the first file has two: after it, two thirds are done, not half."""
    work = Workload([job.source for job in jobs(tmp_path, {"long": 2.0, "short": 1.0})])
    shares = []

    def share(index: int | None = None, of_file: float = 0.0) -> float:
        if index is not None:
            work.move(index, of_file)
        done, total = work.position()
        shares.append(done / total)
        return shares[-1]

    for index, seconds in enumerate((2.0, 1.0)):
        work.start(index)
        share(index)
        work.learn(index, seconds)
        share(index, 0.5)
        work.finish(index)
        assert share() == pytest.approx((2 / 3, 1.0)[index], abs=0.01)
    assert shares[-2] == pytest.approx(2.5 / 3, abs=0.01)
    assert shares[2:] == sorted(shares[2:])


def test_a_file_that_fails_counts_as_done(tmp_path: Path):
    (tmp_path / "empty.wav").touch()
    work = Workload([tmp_path / "empty.wav", tmp_path / "absent.wav"])
    for index in range(2):
        work.start(index)
        work.finish(index)
    done, total = work.position()
    assert done / total == pytest.approx(1.0)


def test_several_files_at_once_and_one_of_them_again(tmp_path: Path):
    work = Workload([job.source for job in jobs(tmp_path, {"a": 1.0, "b": 1.0, "c": 2.0})])
    for index, seconds in enumerate((1.0, 1.0, 2.0)):
        work.start(index)
        work.learn(index, seconds)
    work.move(0, 0.5)
    work.move(2, 0.25)
    assert work.position() == pytest.approx((1.0, 4.0))
    work.start(2)  # its process died
    assert work.position()[0] == pytest.approx(0.5)
    work.finish(1)
    assert work.position()[0] == pytest.approx(1.5)
    assert work.finished == 1
