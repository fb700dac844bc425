"""Downloads over a real connection that cuts, forgets, changes and lies: the result is the file or one sentence."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmvpe.download import Expected, check, digests, download
from rmvpe.errors import UserError
from tests.helpers.webserver import Site, serve

CONTENT = np.random.default_rng(0).bytes(1_500_000)
OTHER = np.random.default_rng(1).bytes(1_500_000)
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _get(site: Site, target: Path, expected: Expected | None = None, **options) -> Path:
    return download(site.url, target, expected or Expected(), wait_s=0.01, timeout_s=5.0, **options)


def _alone(target: Path) -> bool:
    """Whether the file has no part beside it."""
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_arrives_whole_in_one_request(tmp_path: Path):
    with serve(Site(CONTENT)) as site:
        target = _get(site, tmp_path / "new" / "file.zip", Expected(len(CONTENT), SHA256.upper(), MD5))
    assert target.read_bytes() == CONTENT
    assert site.requests == [None]
    assert _alone(target)


def test_cut_connections_are_taken_up_where_they_were_cut(tmp_path: Path):
    messages: list[str] = []
    with serve(Site(CONTENT, cuts=[400_000, 1, 0, 700_000])) as site:
        target = _get(site, tmp_path / "file.zip", log=messages.append)
    assert target.read_bytes() == CONTENT
    assert site.requests == [None, "bytes=400000-", "bytes=400001-", "bytes=400001-", "bytes=1100001-"]
    assert site.sent == len(CONTENT)  # not one byte twice
    assert len(messages) == 4
    assert "connection cut at 400000 bytes" in messages[0]


def test_the_part_is_kept_between_runs(tmp_path: Path):
    target = tmp_path / "file.zip"
    with serve(Site(CONTENT, cuts=[600_000, 0])) as site:
        with pytest.raises(UserError, match=r"not be downloaded .*cut.* 600000 bytes are kept in .*file\.zip\.part"):
            _get(site, target, attempts=1)
        assert not target.exists()
        _get(site, target, attempts=1)
        assert site.requests == [None, "bytes=600000-", "bytes=600000-"]
    assert target.read_bytes() == CONTENT
    assert _alone(target)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"etag": '"one"'}, {"etag": '"two"'}),  # If-Range: the server sends the whole new file
        ({"etag": '"one"'}, {"etag": '"two"', "if_range": False}),  # the server sends a part of the new file
        ({"etag": 'W/"one"'}, {"etag": 'W/"two"'}),  # a weak tag promises nothing about bytes
        (
            {"etag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
            {"modified": "Tue, 02 Jan 2024 00:00:00 GMT", "if_range": False},
        ),
        ({"etag": None}, {"content": OTHER + b"more"}),  # nothing to recognise the file by: the download starts over
        ({"etag": None}, {"content": OTHER[:500_000]}),  # the same, and the new file is shorter
    ],
)
def test_a_file_that_changes_is_never_glued(tmp_path: Path, first: dict, later: dict):
    target = tmp_path / "file.zip"
    with serve(Site(CONTENT, cuts=[600_000, 0], **first)) as site:
        with pytest.raises(UserError, match="are kept"):
            _get(site, target, attempts=1)
        for key, value in {"content": OTHER, **later}.items():
            setattr(site, key, value)
        _get(site, target)
        assert target.read_bytes() == site.content


def test_the_server_is_asked_for_the_rest_of_this_file_only(tmp_path: Path):
    """By a strong ETag, else by the date; a weak ETag promises nothing about bytes."""
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    for number, (etag, modified) in enumerate([('"one"', date), ('W/"one"', date), ('W/"one"', None)]):
        with serve(Site(CONTENT, etag, modified, cuts=[600_000])) as site:
            _get(site, tmp_path / str(number))
        assert site.conditions == [None, ('"one"', date, None)[number]]


def test_a_server_without_ranges_starts_over(tmp_path: Path):
    with serve(Site(CONTENT, ranges=False, cuts=[600_000])) as site:
        target = _get(site, tmp_path / "file.zip")
    assert target.read_bytes() == CONTENT
    assert site.requests == [None, "bytes=600000-"]


def test_a_server_that_always_cuts_comes_to_an_end(tmp_path: Path):
    with serve(Site(CONTENT, ranges=False, cuts=[600_000] * 50)) as site:
        with pytest.raises(UserError, match="3 times in a row"):
            _get(site, tmp_path / "file.zip", attempts=3)
        assert len(site.requests) == 4  # the first brought something new


def test_wrong_size_and_checksum_are_reported_with_the_expected_ones(tmp_path: Path):
    target, wrong = tmp_path / "file.zip", "0" * 64
    with serve(Site(CONTENT)) as site:
        with pytest.raises(UserError, match=r"file\.zip\.part has 1500000 bytes, expected 7"):
            _get(site, target, Expected(size=7))
        with pytest.raises(UserError, match=f"has the sha256 {SHA256}, expected {wrong}"):
            _get(site, target, Expected(sha256=wrong))
        with pytest.raises(UserError, match=f"has the md5 {MD5}, expected {wrong[:32]}"):
            _get(site, target, Expected(md5=wrong[:32]))
        assert not target.exists()
        _get(site, target, Expected(1_500_000, SHA256))
        assert len(site.requests) == 1  # what had arrived was kept, and found right in the end
    assert target.read_bytes() == CONTENT


def test_a_file_that_is_there_is_checked_and_not_fetched(tmp_path: Path):
    target = tmp_path / "file.zip"
    target.write_bytes(CONTENT)
    with serve(Site(OTHER)) as site:
        assert _get(site, target, Expected(sha256=SHA256)) == target
        with pytest.raises(UserError, match=r"file\.zip has the sha256 .* move it away"):
            _get(site, target, Expected(sha256="0" * 64))
        assert site.requests == []
    assert target.read_bytes() == CONTENT


def test_a_refusal_is_final_and_a_busy_server_is_asked_again(tmp_path: Path):
    with serve(Site(CONTENT, answers=[404])) as site:
        with pytest.raises(UserError, match=r"MIR-1K\.zip answers 404"):
            _get(site, tmp_path / "file.zip")
        assert len(site.requests) == 1
    with serve(Site(CONTENT, answers=[503, 429])) as site:
        assert _get(site, tmp_path / "file.zip").read_bytes() == CONTENT
        assert len(site.requests) == 3


def test_a_silent_server_is_left_and_asked_again(tmp_path: Path):
    # Each request brings 64 KiB and then nothing; the second is the first that brings nothing new
    silent = Site(CONTENT, hold_after=1 << 16, ranges=False)
    with serve(silent) as site, pytest.raises(UserError, match="the server sends nothing, 1 times in a row"):
        download(site.url, tmp_path / "file.zip", attempts=1, wait_s=0.01, timeout_s=0.3)
    assert len(site.requests) == 2


def test_nobody_answers(tmp_path: Path):
    with serve(Site(CONTENT)) as site:
        url = site.url
    with pytest.raises(UserError, match="no connection"):
        download(url, tmp_path / "file.zip", attempts=2, wait_s=0.01)


BAD_URLS = [
    "file:///etc/passwd",
    "ftp://a.org/x",
    "http://",
    "a.org/x",
    "http://a b",
    "http://a:b/c",
    "http://me:x@a/b",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_only_web_addresses(tmp_path: Path, url: str):
    with pytest.raises(UserError, match=r"no (http:// or https://|usable) address"):
        download(url, tmp_path / "file.zip")


@pytest.mark.parametrize("given", [{"sha256": "abc"}, {"md5": "g" * 32}, {"sha256": ""}])
def test_a_checksum_that_cannot_be_one(given: dict[str, Any]):
    with pytest.raises(UserError, match="hexadecimal digits"):
        Expected(**given)


def test_digests_are_those_of_hashlib(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert digests(path) == {"md5": MD5, "sha256": SHA256}
    check(path, Expected(1_500_000, SHA256, MD5))


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are a POSIX matter")
def test_a_full_disk_is_reported_and_what_has_arrived_is_kept(tmp_path: Path):
    # A limit on the size of files stands in for a full disk: both fail in write()
    code = (
        "import resource, sys; from rmvpe.download import download; from rmvpe.errors import run_cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, resource.RLIM_INFINITY))\n"
        "def get(): download(sys.argv[1], sys.argv[2])\n"
        "sys.exit(run_cli('get', get))\n"
    )
    target = tmp_path / "file.zip"
    with serve(Site(CONTENT)) as site:
        done = subprocess.run(
            [sys.executable, "-c", code, site.url, target], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "file.zip.part (File too large): free some space and run again" in done.stderr
        assert done.stderr.count("\n") == 1
        assert _get(site, target).read_bytes() == CONTENT
        assert site.requests == [None, "bytes=700000-"]
