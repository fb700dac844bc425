"""Weights on the hub: huggingface_hub itself against a stand-in for the hub; only safetensors; errors are sentences.

HF_ENDPOINT is read when huggingface_hub is imported: each look is a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmvpe.backends import is_installed
from rmvpe.checkpoint.hub import default_file, fetched_from_hub, parse_address
from rmvpe.checkpoint.store import load
from rmvpe.errors import UserError
from tests.helpers.hub import Hub, serve_hub
from tests.helpers.paths import ROOT

needs_package = pytest.mark.skipif(not is_installed("huggingface_hub"), reason="huggingface_hub is not installed")
SMALL = next((ROOT / "rmvpe" / "weights").glob("small-*.safetensors"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    weights = SMALL.read_bytes()
    repositories = {
        "me/tuned": {"README.md": b"# A card", "best.safetensors": weights, "last.safetensors": b"", "old.pt": b"1"},
        "me/torch": {"model.pt": b"1"},
        "me/many": {"a.safetensors": weights, "b.safetensors": weights},
        "me/false": {"model.safetensors": b"PK\x03\x04 is no safetensors file"},
        "me/gated": {"model.safetensors": weights},
    }
    with serve_hub(Hub(repositories, gated={"me/gated"})) as served:
        yield served


def inspect(address: str, hub: Hub, home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "rmvpe", "convert", "inspect", address]
    env = {**os.environ, **settings, **environment}
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


@needs_package
def test_weights_are_loaded_by_address_and_later_without_the_hub(hub: Hub, tmp_path: Path):
    done = inspect("hf:me/tuned", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "best.safetensors" in done.stdout
    assert "small" in done.stdout
    asked = len(hub.requests)
    assert hub.requests[-1] == "GET /me/tuned/resolve/main/best.safetensors"
    assert inspect("hf:me/tuned@main", hub, tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.requests) == asked
    hub.url = "http://127.0.0.1:1"  # nobody answers there
    assert inspect("hf:me/tuned", hub, tmp_path).returncode == 0


@needs_package
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf:me/none", "no such repository, or it is private"),
        ("hf:me/gated", "on request"),
        ("hf:me/tuned@v9", "leave out @v9"),
        ("hf:me/tuned/x.safetensors", "leave out /x.safetensors"),
        ("hf:me/torch", "no .safetensors file"),
        ("hf:me/many", "a.safetensors, b.safetensors: add /FILE"),
        ("hf:me/false", "model.safetensors is named .safetensors but is another kind"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, tmp_path: Path, address: str, words: str):
    done = inspect(address, hub, tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert address in done.stderr
    assert words in done.stderr


@needs_package
def test_a_hub_that_fails_or_is_away_is_one_sentence(hub: Hub, tmp_path: Path):
    hub.broken = True
    failed = inspect("hf:me/tuned", hub, tmp_path)
    assert failed.returncode == 2
    assert "the hub does not give it" in failed.stderr
    hub.url = "http://127.0.0.1:1"
    for address in ("hf:me/tuned", "hf:me/tuned/best.safetensors"):
        away = inspect(address, hub, tmp_path)
        assert away.returncode == 2
        assert "cannot be reached, and the file is not in its cache" in away.stderr
        assert "Traceback" not in away.stderr


def test_without_the_package_the_command_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"hf:me/tuned needs .*pip install huggingface_hub"):
        load("hf:me/tuned")


@pytest.mark.parametrize(
    "text", ["hf:", "hf:small", "hf:/a", "hf:a/b/", "hf:a/b/../c.safetensors", "hf:a/b@", "hf:-a/b"]
)
def test_an_address_of_another_form(text: str):
    with pytest.raises(UserError, match="no address of weights on the hub: give hf:OWNER/REPO"):
        load(text)


@pytest.mark.parametrize("file", ["model.pt", "a/pytorch_model.bin", "README.md"])
def test_only_safetensors_are_loaded_from_the_hub(file: str):
    with pytest.raises(UserError, match=r"is not a \.safetensors file, .*may contain code"):
        fetched_from_hub(f"hf:a/b/{file}")


def test_the_parts_of_an_address():
    found = parse_address("hf:a/b.c/sub/x.safetensors@refs/pr/1")
    assert (found.repository, found.file, found.revision) == ("a/b.c", "sub/x.safetensors", "refs/pr/1")
    found = parse_address("hf:a/b")
    assert (found.repository, found.file, found.revision) == ("a/b", None, None)


def test_which_file_of_a_repository():
    assert default_file(["best.safetensors", "model.safetensors", "x.pt"], "hf:a/b") == "model.safetensors"
    assert default_file(["best.safetensors", "last.safetensors"], "hf:a/b") == "best.safetensors"
    assert default_file(["only.safetensors", "x.pt"], "hf:a/b") == "only.safetensors"
