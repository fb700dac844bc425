"""Published weights: from a local server, from a file, twice at once; found by name; another file is refused."""

import hashlib
import io
import os
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.commands import inspect, jax2torch
from rmvpe import download as downloads
from rmvpe import locks
from rmvpe.checkpoint import published
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.published import PUBLISHED, cache_folder, fetch, fetched, place_of
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.cli.main import main
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError
from tests.helpers.webserver import Site, serve

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=8)
OTHER = np.random.default_rng(1).bytes(200_000)


@pytest.fixture
def original() -> Checkpoint:
    rng = np.random.default_rng(0)
    shapes = expected_tensors(TINY)
    return Checkpoint(TINY, {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()})


@pytest.fixture
def content(original: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small file that stands for both published ones; the cache folder is one of the test."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("RMVPE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "download", _hurried(downloads.download))
    save(tmp_path / "small.safetensors", original)
    data = (tmp_path / "small.safetensors").read_bytes()
    for name, item in PUBLISHED.items():
        stand_in = replace(item, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        monkeypatch.setitem(PUBLISHED, name, stand_in)
    return data


def _hurried(download):
    return lambda *given, **more: download(*given, **more, wait_s=0.01, attempts=2)


def _zip(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return packed.getvalue()


def _home() -> list[str]:
    return sorted(path.name for path in (cache_folder() / "weights").iterdir())


# --- downloads


def test_a_cut_download_goes_on_and_the_weights_then_have_a_name(content: bytes, original: Checkpoint):
    with pytest.raises(UserError, match="'rvc' are not on this machine yet: run `rmvpe fetch rvc`"):
        load("rvc")
    with serve(Site(content, cuts=[1000, 0, 0])) as site:
        with pytest.raises(UserError, match="1000 bytes are kept"):
            fetch("rvc", url=site.url)
        assert fetch("rvc", url=site.url) == place_of("rvc")
        assert site.requests[-1] == "bytes=1000-"
    assert _home() == [place_of("rvc").name]  # no part, no lock
    for name, tensor in load("rvc").tensors.items():
        np.testing.assert_array_equal(tensor, original.tensors[name])


def test_the_hubs_address_is_that_of_hf_endpoint(content: bytes, monkeypatch: pytest.MonkeyPatch):
    path = PUBLISHED["rvc"].path
    assert PUBLISHED["rvc"].address({}) == f"https://huggingface.co/{path}"
    assert PUBLISHED["rvc"].address({"HF_ENDPOINT": ""}) == f"https://huggingface.co/{path}"
    with serve(Site(content), path) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url.removesuffix(path))  # it ends with a slash, as people write it
        assert fetch("rvc").read_bytes() == content
    assert site.requests == [None]
    assert PUBLISHED["yxlllc"].address({"HF_ENDPOINT": "https://a.org"}).startswith("https://github.com/")


def test_another_file_is_kept_apart_with_both_sums(content: bytes, capsys: pytest.CaptureFixture[str]):
    with serve(Site(OTHER)) as site:
        assert main(["fetch", "rvc", "--url", site.url, "-q"]) == 2
        said = capsys.readouterr().err
        assert hashlib.sha256(OTHER).hexdigest() in said
        assert hashlib.sha256(content).hexdigest() in said
        rejected = place_of("rvc").name + ".rejected"
        assert rejected in said
        assert _home() == [rejected]
        assert (place_of("rvc").parent / rejected).read_bytes() == OTHER
        site.content = content
        assert main(["fetch", "rvc", "--url", site.url, "-q"]) == 0  # the rejected file is in nobody's way
    assert place_of("rvc").read_bytes() == content


def test_a_fetched_file_is_verified_and_not_fetched_again(content: bytes):
    said: list[str] = []
    with serve(Site(content)) as site:
        fetch("rvc", url=site.url)
        fetch("rvc", url=site.url, log=said.append)
        assert site.requests == [None]
        assert len(said) == 1
        assert "there already, and its checksum is right" in said[0]
        damaged = bytes([content[0] ^ 1]) + content[1:]
        place_of("rvc").write_bytes(damaged)
        with pytest.raises(UserError, match=r"is damaged: its sha256 is .*expected .*run `rmvpe fetch rvc` again"):
            fetched("rvc")
        with pytest.raises(UserError, match=r"kept as .*rejected, run `rmvpe fetch rvc` again"):
            fetch("rvc", url=site.url)
        assert fetch("rvc", url=site.url).read_bytes() == content


def test_the_command_says_where_the_file_is_and_what_its_licence_is(content: bytes, capsys: pytest.CaptureFixture[str]):
    with serve(Site(content)) as site:
        assert main(["fetch", "rvc", "--url", site.url, "-q"]) == 0
    printed = capsys.readouterr()
    assert str(place_of("rvc")) in printed.out
    assert "MIT" in printed.out
    assert printed.err == ""
    assert main(["info"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any(row.startswith("weights") and str(place_of("rvc")) in row for row in rows)
    assert any(row.endswith("not fetched: run rmvpe fetch yxlllc") for row in rows)


# --- the zip of yxlllc's release


def test_a_zip_is_unpacked_and_its_file_checked(content: bytes):
    with serve(Site(_zip(model__pt=content, readme__txt=b"hello"), cuts=[500])) as site:
        assert fetch("yxlllc", url=site.url).read_bytes() == content
    assert _home() == [place_of("yxlllc").name]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"other__pt": b"1"}, "holds 0 files model.pt, expected one"),
        ({"model__pt": b"1", "a/model__pt": b"1"}, "holds 2 files model.pt, expected one"),
        ({"model__pt": b"1"}, "has 1 bytes, expected"),
        ({"model__pt": bytes(50_000_000)}, "has 50000000 bytes, expected"),  # a bomb: it is not unpacked
        ({}, "holds 0 files"),
    ],
)
def test_a_zip_of_something_else_is_kept_apart(content: bytes, files: dict[str, bytes], why: str):
    with serve(Site(_zip(**files))) as site, pytest.raises(UserError, match=f"{why}.* kept as .*rejected"):
        fetch("yxlllc", url=site.url)
    assert _home() == [place_of("yxlllc").name + ".rejected"]


def test_a_zip_whose_file_has_the_size_but_another_sum(content: bytes):
    wrong = bytes(len(content))
    with serve(Site(_zip(model__pt=wrong))) as site, pytest.raises(UserError, match=hashlib.sha256(wrong).hexdigest()):
        fetch("yxlllc", url=site.url)
    assert _home() == [place_of("yxlllc").name + ".rejected"]


def test_a_zip_that_lies_about_a_size_is_not_written_further_than_expected(content: bytes):
    packed = _zip(model__pt=content + bytes(10_000_000))
    size = (len(content) + 10_000_000).to_bytes(4, "little")
    lying = packed.replace(size, len(content).to_bytes(4, "little"))
    assert lying != packed
    with serve(Site(lying)) as site, pytest.raises(UserError, match="kept as"):
        fetch("yxlllc", url=site.url)
    assert _home() == [place_of("yxlllc").name + ".rejected"]


def test_a_page_instead_of_a_zip(content: bytes):
    with serve(Site(b"<html>no</html>")) as site, pytest.raises(UserError, match="the zip cannot be read"):
        fetch("yxlllc", url=site.url)


# --- files that were brought here


@pytest.mark.parametrize("name", ["rvc", "yxlllc"])
def test_a_file_of_the_users_is_copied_and_stays(content: bytes, tmp_path: Path, name: str):
    own = tmp_path / "brought.pt"
    own.write_bytes(content)
    assert main(["fetch", name, "--from", str(own), "-q"]) == 0
    assert place_of(name).read_bytes() == own.read_bytes() == content


def test_a_zip_of_the_users_is_unpacked(content: bytes, tmp_path: Path):
    own = tmp_path / "rmvpe.zip"
    own.write_bytes(_zip(model__pt=content))
    assert fetch("yxlllc", source=own).read_bytes() == content
    with pytest.raises(UserError, match=r"rmvpe\.zip is not the published file: its sha256 is"):
        fetch("rvc", source=own)  # RVC's is no zip
    assert own.exists()


def test_another_file_of_the_users_is_refused_and_stays(content: bytes, tmp_path: Path):
    own = tmp_path / "other.pt"
    own.write_bytes(OTHER[:100])
    with pytest.raises(UserError, match=r"other\.pt is not the published file: .*100 bytes, expected"):
        fetch("rvc", source=own)
    own.write_bytes(content + b"1")
    with pytest.raises(UserError, match=rf"other\.pt is not the published file: .*{len(content) + 1} bytes, expected"):
        fetch("rvc", source=own)
    assert own.exists()
    assert _home() == []
    with pytest.raises(UserError, match=r"gone\.pt does not exist: give the file"):
        fetch("rvc", source=tmp_path / "gone.pt")


def test_a_file_and_an_address_at_once(content: bytes, capsys: pytest.CaptureFixture[str]):
    assert main(["fetch", "rvc", "--from", "a.pt", "--url", "http://a.org/b"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_known_other_weights_are_called_by_name(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = tmp_path / "rmvpe.pt"
    own.write_bytes(OTHER[:100])
    monkeypatch.setitem(published.KNOWN_FILES, hashlib.sha256(OTHER[:100]).hexdigest(), "somebody's older weights")
    with pytest.raises(UserError, match="that of somebody's older weights, expected"):
        fetch("rvc", source=own)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_refused_and_nothing_waits(content: bytes, tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="not a regular file"):
        fetch("rvc", source=tmp_path / "fifo")


# --- two at once


def test_a_second_fetch_waits_for_the_first(content: bytes):
    said: list[str] = []
    waiting = threading.Event()

    def log(text: str) -> None:
        said.append(text)
        waiting.set()

    place_of("rvc").parent.mkdir(parents=True)
    lock = place_of("rvc").parent / "rvc.lock"
    handle = locks.acquire(lock)
    with serve(Site(content)) as site:
        second = threading.Thread(target=fetch, args=("rvc",), kwargs={"url": site.url, "log": log})
        second.start()
        assert waiting.wait(30)
        assert "waiting for it" in said[0]
        assert site.requests == []
        place_of("rvc").write_bytes(content)  # what the first would have done
        locks.release(lock, handle)
        second.join(30)
        assert "there already" in said[-1]
        assert site.requests == []


def test_several_at_once_ask_the_server_once(content: bytes):
    with serve(Site(content)) as site:
        threads = [threading.Thread(target=fetch, args=("rvc",), kwargs={"url": site.url}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert site.requests == [None]
    assert _home() == [place_of("rvc").name]


# --- names and folders


def test_names_are_names_everywhere_and_a_path_is_a_path(
    content: bytes, original: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "rvc", replace(original, metadata={"step": "7"}))
    with pytest.raises(UserError, match=r"run `rmvpe fetch rvc`, or give \./rvc for the file"):
        load("rvc")
    (tmp_path / "brought").write_bytes(content)
    fetch("rvc", source="brought")
    assert "step" not in load("rvc").metadata
    assert load("./rvc").metadata["step"] == load(Path("rvc")).metadata["step"] == "7"
    inspect("rvc")
    assert str(place_of("rvc")) in capsys.readouterr().out
    jax2torch("rvc", layout="safetensors")
    assert load("rvc.safetensors").metadata["source"] == f"rvc sha256 {PUBLISHED['rvc'].sha256}"


def test_the_cache_folder_is_the_systems(tmp_path: Path):
    def home() -> Path:
        return Path("/home/me")

    def folder(platform: str, **environment: str) -> Path:
        return cache_folder(environment, platform, home)

    assert folder("linux") == Path("/home/me/.cache/rmvpe")
    assert folder("linux", XDG_CACHE_HOME=str(tmp_path)) == tmp_path / "rmvpe"
    assert folder("linux", XDG_CACHE_HOME="relative") == Path("/home/me/.cache/rmvpe")
    assert folder("darwin", XDG_CACHE_HOME=str(tmp_path)) == Path("/home/me/Library/Caches/rmvpe")
    assert folder("win32", LOCALAPPDATA=str(tmp_path)) == tmp_path / "rmvpe"
    assert folder("win32") == Path("/home/me/AppData/Local/rmvpe")
    for platform in ("linux", "darwin", "win32"):
        assert folder(platform, RMVPE_HOME=str(tmp_path), XDG_CACHE_HOME="/x", LOCALAPPDATA="/y") == tmp_path


def test_an_account_without_a_home_is_told_which_variable_to_set():
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    with pytest.raises(UserError, match="set RMVPE_HOME"):
        cache_folder({}, "linux", none)


def test_an_unknown_name():
    with pytest.raises(UserError, match="no published weights 'crepe': choose rvc or yxlllc"):
        fetch("crepe")
    assert main(["fetch", "crepe"]) == 2
