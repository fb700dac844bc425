"""`from_files` and `from_batch` in several processes: the tracks of one, in the same order."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rmvpe
from rmvpe.backends import installed_backends
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator
from rmvpe.estimator_workers import worker_count
from tests.helpers.networks import StandInNetwork
from tests.helpers.tasks import Loud, load_loud


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Four recordings, of which one is cut off, one file that is no sound, and one that does not exist."""
    for number in range(4):
        tone = np.sin(np.arange(4000 - 800 * number) * 0.08) * 0.1
        soundfile.write(tmp_path / f"{number}.wav", tone, 16_000)
    (tmp_path / "1.wav").write_bytes((tmp_path / "1.wav").read_bytes()[:4000])
    (tmp_path / "bad.wav").write_text("no sound")
    return [tmp_path / name for name in ("0.wav", "bad.wav", "1.wav", "2.wav", "none.wav", "3.wav")]


def same(one: "rmvpe.F0Track | UserError", other: "rmvpe.F0Track | UserError") -> bool:
    """Whether two results are equal: to the bit, or to the word."""
    if isinstance(one, UserError):
        return type(one) is type(other) and str(one) == str(other)
    return one == other


def test_files(paths: list[Path], caplog: pytest.LogCaptureFixture):
    estimator = load_loud().with_config(f0_min_hz=100.0)
    caplog.set_level(logging.WARNING, "rmvpe")
    one = list(estimator.from_files(paths, hop_s=0.02, threshold=0.55))
    said = [record.getMessage() for record in caplog.records]
    caplog.clear()
    several = list(estimator.from_files(map(str, paths), hop_s=0.02, threshold=0.55, jobs=2))
    assert [path for path, _ in several] == paths
    assert all(same(found, expected) for (_, found), (_, expected) in zip(several, one))
    assert [record.getMessage() for record in caplog.records] == said
    assert len(said) == 1
    assert [type(track) for _, track in several].count(UserError) == 2


def test_a_batch():
    rows = [np.sin(np.arange(count) * 0.1).astype(np.float32) for count in (8000, 100, 0, 4000, 3000)]
    shares: list[float] = []
    tracks = load_loud().from_batch(rows, 16_000, hop_s=0.005, jobs=2, progress=shares.append)
    assert tracks == load_loud().from_batch(rows, 16_000, hop_s=0.005)
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    rows[2] = np.full(100, np.nan, np.float32)
    with pytest.raises(UserError, match="holds nan"):
        load_loud().from_batch(rows, 16_000, jobs=2)


@pytest.mark.parametrize("backend", [name for name in installed_backends() if name != "jax"])  # it compiles for long
def test_a_network_of_each_runtime(backend: str, paths: list[Path], monkeypatch: pytest.MonkeyPatch):
    """The weights go to the workers; with as many threads as here the bits are the same."""
    estimator = rmvpe.load("small", backend, "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", str(estimator.backend.threads))
    monkeypatch.setattr("rmvpe.workers.cpus_of_this_process", lambda: 2 * (estimator.backend.threads or 1))
    monkeypatch.setattr("rmvpe.workers.physical_cores", lambda: 2 * (estimator.backend.threads or 1))
    one, several = (list(estimator.from_files(paths, jobs=jobs)) for jobs in (1, 2))
    assert all(same(found, expected) for (_, found), (_, expected) in zip(several, one))


def test_wrong_settings_are_raised_at_once(paths: list[Path]):
    for jobs in (0, "two", 100_000):
        with pytest.raises(UserError, match="jobs"):
            load_loud().from_files(paths, jobs=jobs)
        with pytest.raises(UserError, match="jobs"):
            load_loud().from_batch(np.zeros((2, 100)), 16_000, jobs=jobs)


def test_no_more_processes_than_files(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rmvpe.workers.cpus_of_this_process", lambda: 3)
    monkeypatch.setattr("rmvpe.workers.physical_cores", lambda: 3)
    assert [worker_count(jobs, range(2), on_cpu=True) for jobs in (1, 2, 5, "auto")] == [1, 2, 2, 2]
    assert worker_count("auto", iter(range(2)), on_cpu=True) == 3  # whose number is not known


def test_auto_is_one_process_where_the_cpu_does_not_compute(paths: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rmvpe.workers.cpus_of_this_process", lambda: 3)
    monkeypatch.setattr("rmvpe.workers.physical_cores", lambda: 3)
    on_gpu = Loud()
    on_gpu.threads = None
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert len(list(load_loud(network=on_gpu).from_files(paths, jobs="auto"))) == 6
    with pytest.raises(UserError, match="cannot be started"):
        list(load_loud(network=on_gpu).from_files(paths, jobs=2))


def test_a_network_that_cannot_be_sent(paths: list[Path]):
    class OfThisTest(StandInNetwork):
        pass

    estimator = Estimator(OfThisTest(), rmvpe.ModelConfig.small())
    with pytest.raises(UserError, match="in a module"):
        list(estimator.from_files(paths, jobs=2))
