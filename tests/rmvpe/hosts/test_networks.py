"""Which weights and device a host gets, that it is told once, and that a network is built once."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import rmvpe
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.hosts import networks
from rmvpe.hosts.networks import choose_weights, is_true, open_network
from tests.helpers.hosts import FRAMEWORKS, voice

pytestmark = pytest.mark.skipif(not FRAMEWORKS, reason="no runtime is installed")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A file of weights that recommend no threshold, as the published ones."""
    small = load("small")
    path = tmp_path / "rmvpe.safetensors"
    save(path, Checkpoint(small.config, small.tensors, {}))
    return path


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [row.getMessage() for row in caplog.records if row.name == "rmvpe" and row.levelno == logging.WARNING]


def test_a_missing_file_means_the_bundled_weights_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "rmvpe.pt"
    hosts = [rmvpe.RMVPE(given, False, "cpu") for given in (path, str(path), str(path))]
    assert warnings(caplog) == [f"{path} does not exist: the bundled weights small are used"]
    assert len({id(host.model.backend) for host in (*hosts, rmvpe.RMVPE(weights="small", device="cpu"))}) == 1
    rmvpe.RMVPE(tmp_path / "other.pt", False, "cpu")
    assert len(warnings(caplog)) == 2


def test_no_file_means_the_bundled_weights_too(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(networks, "_networks", networks._Networks())
    assert choose_weights(None) == choose_weights(None) == choose_weights("small") == "small"
    assert warnings(caplog) == ["no file of weights is given: the bundled weights small are used"]


def test_a_file_that_exists_is_loaded(published: Path, caplog: pytest.LogCaptureFixture):
    host = rmvpe.RMVPE(published, False, "cpu")
    assert warnings(caplog) == []
    assert host.model.config.calibration == (1.0, 0.0)
    assert host.model.config.pad == "zero"  # RVC's
    assert rmvpe.RMVPE(weights="small", device="cpu").model.config.pad == "silence"
    raw = host.model.from_audio(voice(), 16000, threshold=0.2).f0_hz
    assert (host.infer_from_audio(voice(), 0.2) == raw.astype("float32")).all()  # the number is passed on


def test_weights_replace_the_path(published: Path, tmp_path: Path):
    assert rmvpe.RMVPE(tmp_path / "none.pt", weights=published, device="cpu").model.config.calibration == (1.0, 0.0)
    given = rmvpe.RMVPE(weights=load(published), device="cpu")
    assert given.model.config.calibration == (1.0, 0.0)


def test_a_damaged_file_is_an_error(published: Path, tmp_path: Path):
    damaged = tmp_path / "rmvpe.pt"
    damaged.write_bytes(published.read_bytes()[:5000])
    with pytest.raises(rmvpe.UserError, match=r"rmvpe\.pt"):
        rmvpe.RMVPE(damaged, False, "cpu")


def test_a_file_that_changed_is_read_again_and_its_old_network_forgotten(published: Path):
    first = open_network(published, device="cpu")
    assert open_network(os.path.relpath(published), device="cpu") is first
    changed = load(published)
    save(published, Checkpoint(changed.config, changed.tensors, {"threshold": "0.25"}))
    second = open_network(published, device="cpu")
    assert (first.own_threshold, second.own_threshold) == (None, 0.25)
    kept = [row for key, row in networks._networks._built.items() if key[0][0] == str(published.resolve())]
    assert kept == [second]


def test_threads_build_a_network_once(published: Path):
    start, found = threading.Barrier(4), []

    def build() -> None:
        start.wait()
        found.append(open_network(published, device="cpu"))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(row.estimator.backend) for row in found}) == 1


def test_a_device_that_cannot_be_used_is_the_cpu_with_one_warning(caplog: pytest.LogCaptureFixture):
    devices = ("cpu", "privateuseone:7", "privateuseone:7")
    hosts = [rmvpe.RMVPE(None, "True", device, weights="small") for device in devices]
    assert len({id(host.model.backend) for host in hosts}) == 1
    assert [text for text in warnings(caplog) if "privateuseone:7 cannot be used, the CPU" in text] == warnings(caplog)
    assert len(warnings(caplog)) == 1
    assert hosts[1].device == "privateuseone:7"


def test_a_missing_backend_is_no_fault_of_the_device(caplog: pytest.LogCaptureFixture):
    with pytest.raises(rmvpe.UserError, match="unknown backend 'tensorflow'"):
        rmvpe.RMVPE(weights="small", backend="tensorflow", device="cuda:3")
    assert warnings(caplog) == []


@pytest.mark.skipif("torch" not in FRAMEWORKS, reason="torch is not installed")
def test_a_device_of_torch_is_taken():
    import torch

    host = rmvpe.RMVPE(None, False, torch.device("cpu"), weights="small")
    assert host.model.backend is rmvpe.RMVPE(weights="small", device="cpu").model.backend


@pytest.mark.parametrize(
    ("given", "half"),
    [(True, True), (False, False), (None, False), ("True", True), ("false", False), ("False", False), ("1", True)],
)
def test_is_half_may_be_a_word(given: Any, half: bool):
    assert is_true(given) is half


def test_half_is_ignored_on_a_cpu_and_another_word_refused():
    halves = [rmvpe.RMVPE(None, half, "cpu", weights="small") for half in (False, "true")]
    assert halves[0].model.backend is halves[1].model.backend
    with pytest.raises(rmvpe.UserError, match="is_half must be true or false, not 'maybe'"):
        rmvpe.RMVPE(None, "maybe", "cpu", weights="small")
