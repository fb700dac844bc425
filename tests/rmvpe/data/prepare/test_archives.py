"""Archives: damaged ones, and rar archives through a program on the path."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from rmvpe.data.prepare import archives, mir1k
from rmvpe.errors import UserError
from tests.helpers.mir1k import FILES, beside, tree, write_zip


def test_damaged_archives(tmp_path: Path, archive: Path):
    data = archive.read_bytes()
    cases = {
        "cut.zip": (data[: len(data) // 2], "is a damaged or unfinished zip"),
        "page.zip": (b"<!DOCTYPE html>", r"is neither a zip nor a rar archive \(it begins with b'<!DOCTYP'\)"),
        "empty.zip": (b"", "is neither a zip nor a rar archive"),
        "other.zip": (write_zip(tmp_path / "x.zip", {"a/b.wav": b""}).read_bytes(), r"holds 0 folders Wavfile/"),
    }
    for name, (content, sentence) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name} {sentence}"):
            mir1k.prepare(str(tmp_path / name), tmp_path / "Hybrid")
    with pytest.raises(FileNotFoundError, match=r"nothing\.zip"):
        mir1k.prepare(str(tmp_path / "nothing.zip"), tmp_path / "Hybrid")
    assert beside(tmp_path / "Hybrid") == []
    # One changed byte in one recording: that clip alone is lost
    at = data.index(FILES["MIR-1K/Wavfile/leon_1_01.wav"]) + 1000
    (tmp_path / "bit.zip").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    summary = mir1k.prepare(str(tmp_path / "bit.zip"), tmp_path / "Hybrid")
    assert len(summary.made) == 19
    assert "MIR-1K/Wavfile/leon_1_01.wav: cannot be read from the archive (Bad CRC-32" in summary.faults[0]


def test_a_rar_without_a_program_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "MIR-1K.rar").write_bytes(b"Rar!\x1a\x07\x01\x00 and so on")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"MIR-1K\.rar is a rar archive, which needs bsdtar, unar or 7z"):
        mir1k.prepare(str(tmp_path / "MIR-1K.rar"), tmp_path / "Hybrid")


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_a_rar_is_unpacked_by_a_program_on_the_path(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for bsdtar, called as bsdtar would be: the archive is a zip behind rar's first bytes."""
    (tmp_path / "MIR-1K.rar").write_bytes(b"Rar!\x1a\x07\x01\x00" + archive.read_bytes())
    program = tmp_path / "bin" / "bsdtar"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1 $2 $4" = "-x -f -C" ] && exec {sys.executable} -m zipfile -e "$3" "$5"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    summary = mir1k.prepare(str(tmp_path / "MIR-1K.rar"), tmp_path / "Hybrid")
    assert len(summary.made) == 20
    assert beside(tmp_path / "Hybrid") == ["Hybrid", "bin"]
    program.write_text("#!/bin/sh\necho no such method >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"bsdtar could not unpack .*MIR-1K\.rar \(no such method\)"):
        mir1k.prepare(str(tmp_path / "MIR-1K.rar"), tmp_path / "Other")


@pytest.mark.parametrize("program", [row[0] for row in archives.UNPACKERS])
def test_the_real_programs_take_our_arguments(tmp_path: Path, archive: Path, program: str):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    # All of them look at the content, so that a zip shows whether they understand the call
    (tmp_path / "out").mkdir()
    archives.run_unpacker(next(row for row in archives.UNPACKERS if row[0] == program), archive, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES
