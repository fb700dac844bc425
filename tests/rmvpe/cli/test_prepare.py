"""`rmvpe prepare instruments`: a folder per SoundFont, completed by a second run, and one sentence for what cannot be.

The other two commands are tested with what they make: tests/rmvpe/data.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import soundfile

from rmvpe.cli.main import main

# In the place of fluidsynth: the file after -F gets a minute of noise
PLAYER = """#!{python}
import sys
import numpy, soundfile
noise = numpy.random.default_rng(0).normal(0, 0.1, (60 * 48000, 2))
soundfile.write(sys.argv[sys.argv.index("-F") + 1], noise, 48000)
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in for fluidsynth is a POSIX script")


@pytest.fixture
def soundfont(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for a SoundFont, and a program that passes for fluidsynth."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "fluidsynth").write_text(PLAYER.format(python=sys.executable))
    (programs / "fluidsynth").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    bank = tmp_path / "My_Bank.sf2"
    bank.write_bytes(b"RIFF\x00\x00\x00\x00sfbk and the rest")
    return bank


def prepare(soundfont: Path, out: Path, *flags: str) -> int:
    return main(["prepare", "instruments", "--soundfont", str(soundfont), "--out", str(out), *flags])


@pytest.mark.skipif(importlib.util.find_spec("mido") is None, reason="mido is not installed")
def test_a_folder_is_made_and_completed(soundfont: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    flags = ("--hours", "0.02", "--seed", "3")
    assert prepare(soundfont, tmp_path / "music", *flags) == 0
    folder = tmp_path / "music" / "rendered-my-bank"
    pieces = sorted(path.name for path in folder.glob("*.flac"))
    assert len(pieces) == 4  # 72 s in excerpts of 20 s, two from a piece
    assert soundfile.info(folder / pieces[0]).samplerate == 16000
    about = json.loads((folder / "manifest.json").read_text())
    assert (about["soundfont"], about["seed"]) == ("My_Bank.sf2", 3)
    before = (folder / pieces[1]).read_bytes()
    (folder / pieces[1]).unlink()
    assert "piece/s" in capsys.readouterr().err
    assert prepare(soundfont, tmp_path / "music", *flags, "-q") == 0
    assert capsys.readouterr().err == ""
    assert (folder / pieces[1]).read_bytes() == before
    assert prepare(soundfont, tmp_path / "music", "--seed", "4") == 2
    assert "was made from another SoundFont or seed" in capsys.readouterr().err


def test_what_cannot_be_used(soundfont: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    foreign = tmp_path / "music" / "rendered-my-bank"
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("mine")
    no_bank = tmp_path / "no.sf2"
    no_bank.write_bytes(b"something else")
    for bank, words in (
        (soundfont, "rendered-my-bank holds files this script did not make"),
        (no_bank, "no.sf2 is not a SoundFont"),
        (tmp_path / "gone.sf2", "gone.sf2 is not a file"),
    ):
        assert prepare(bank, tmp_path / "music") == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.startswith("rmvpe prepare instruments: ")
        assert error.count("\n") == 1
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
