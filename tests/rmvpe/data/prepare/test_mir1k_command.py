"""The command line of scripts/prepare_MIR_1K.py: downloads, kills, a full disk, mistakes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.download import digests
from tests.helpers.mir1k import FILES, beside
from tests.helpers.paths import ROOT
from tests.helpers.webserver import Site, serve

SCRIPT = ROOT / "scripts" / "prepare_MIR_1K.py"
PATIENCE_S = 60.0  # until a program has started, on a busy machine


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def test_a_cut_download_goes_on_after_a_kill(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data, out = archive.read_bytes(), tmp_path / "Hybrid"
    part = tmp_path / "MIR-1K.zip.part"
    with serve(Site(data, cuts=[300_000], hold_after=200_000)) as site:
        checks = ("--size", str(len(data)), "--sha256", digests(archive)["sha256"])
        arguments = ("--archive", site.url, "--out", out, *checks)
        process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert site.holding.wait(PATIENCE_S)  # in the second request, which asks for what the first did not bring
        process.kill()
        process.communicate()
        assert not out.exists()
        kept = part.stat().st_size
        assert kept >= 300_000
        site.hold_after = None
        done = run_command(*arguments)
        assert done.returncode == 0, done.stderr
        assert site.requests == [None, "bytes=300000-", f"bytes={kept}-"]
    assert (tmp_path / "MIR-1K.zip").read_bytes() == data
    assert beside(out) == ["Hybrid"]
    assert "skipped: 0" in done.stdout
    assert "for research" in done.stdout
    assert [len(Hybrid(out, split)) for split in ("train", "valid", "test")] == [16, 2, 2]
    again = run_command("--archive", tmp_path / "MIR-1K.zip", "--out", out)
    assert again.returncode == 2
    assert again.stderr.startswith(f"prepare_MIR_1K: {out} was made before: add --force")
    assert again.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_a_kill_while_clips_are_written_leaves_no_half_folder(tmp_path: Path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    # The last recording is a pipe: the run waits there until somebody writes
    last, out = max((tmp_path / "MIR-1K" / "Wavfile").iterdir()), tmp_path / "Hybrid"
    sound = last.read_bytes()
    last.unlink()
    os.mkfifo(last)
    process = subprocess.Popen(
        command("--archive", tmp_path / "MIR-1K", "--out", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    writer = open_when_read(last, process)
    process.kill()
    process.communicate()
    os.close(writer)
    assert beside(out) == [".Hybrid-unfinished", "MIR-1K"]
    assert any((tmp_path / ".Hybrid-unfinished").rglob("*.wav"))
    last.unlink()
    last.write_bytes(sound)
    done = run_command("--archive", tmp_path / "MIR-1K", "--out", out)
    assert done.returncode == 0, done.stderr
    assert beside(out) == ["Hybrid", "MIR-1K"]
    assert len(list(out.glob("*/*.wav"))) == len(list(out.glob("*/*.pv"))) == 20
    assert not list(out.rglob(".*"))


def open_when_read(pipe: Path, process: subprocess.Popen[bytes]) -> int:
    """The open pipe, as soon as `process` reads from it; it must not end before."""
    while process.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are a POSIX matter")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, archive: Path):
    # A limit on the size of files stands in for a full disk: both fail in write(). A clip has 79 kB, a block 1 kB.
    arguments = command("--archive", archive, "--out", tmp_path / "Hybrid")
    limited = ["bash", "-c", 'ulimit -f 48; exec "$@"', "limited", *arguments]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ".wav (System error.): free some space or choose another folder\n" in done.stderr
    assert beside(tmp_path / "Hybrid") == []


def test_command_line_mistakes_are_one_sentence(tmp_path: Path):
    for arguments, sentence in (
        (("--archive", tmp_path / "nothing.zip"), "nothing.zip: No such file or directory"),
        (("--archive", "ftp://example.org/MIR-1K.zip"), "is no http:// or https:// address"),
        (("--sha256", "abc"), "is no sha256 checksum"),
        (("--workers", "0"), "--workers 0 must be 1 or more"),
    ):
        done = run_command(*arguments, "--out", tmp_path / "Hybrid")
        assert done.returncode == 2
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
