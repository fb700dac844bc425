"""Random scores hold no voices and are what the MIDI file says; SoundFonts are played, and refused in one sentence."""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.synthesis.random_music import VOICES, compose, write_midi
from rmvpe.data.synthesis.soundfont import EXCERPT_S, PER_PIECE, Piece, check_soundfont, make_piece
from rmvpe.errors import UserError

needs_mido = pytest.mark.skipif(importlib.util.find_spec("mido") is None, reason="mido is not installed")
SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")  # Debian: timgm6mb-soundfont, 6 MB
needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUNDFONT.is_file(),
    reason="fluidsynth and timgm6mb-soundfont are not installed",
)
SECONDS = 12.0


def pieces(count: int) -> list[list]:
    return [compose(SECONDS, np.random.default_rng(number)) for number in range(count)]


def test_no_part_imitates_a_voice_and_every_piece_has_notes_inside_its_time():
    programs = set()
    for parts in pieces(200):
        assert 1 <= len(parts) <= 16
        assert any(part.notes for part in parts)
        assert sum(part.program is None for part in parts) <= 1
        programs |= {part.program for part in parts if part.program is not None}
        for note in (note for part in parts for note in part.notes):
            assert 0.0 <= note.start_s < min(note.end_s, SECONDS)
            assert 0 <= note.key <= 127
            assert 1 <= note.velocity <= 127
    assert not programs & VOICES
    assert len(programs) > 60  # of 128: variety is what they are for


def test_pieces_repeat_with_their_number_and_differ_from_each_other():
    again = pieces(3)
    assert pieces(3) == again
    assert again[0] != again[1]


def test_leads_bend_like_singers():
    bends = [np.array(part.bends) for parts in pieces(100) for part in parts if part.bends]
    assert len(bends) > 20
    assert all(np.all(np.abs(bend[:, 1]) <= 2.0) for bend in bends)
    assert np.median([np.ptp(bend[:, 1]) for bend in bends]) > 0.5  # semitones


@needs_mido
def test_the_midi_file_holds_the_notes_at_their_times(tmp_path: Path):
    import mido

    parts = next(parts for parts in pieces(50) if len(parts) > 3 and any(part.bends for part in parts))
    write_midi(parts, tmp_path / "piece.mid")
    file = mido.MidiFile(tmp_path / "piece.mid")
    now, pressed = 0.0, []
    for message in file:
        now += message.time
        if message.type == "note_on":
            pressed.append((now, message.note, message.velocity))
    written = [(n.start_s, n.key, n.velocity) for part in parts for n in part.notes]
    assert len(pressed) == len(written)
    for (at, *what), (start_s, *asked) in zip(sorted(pressed), sorted((round(s, 3), k, v) for s, k, v in written)):
        assert at == pytest.approx(start_s, abs=0.0015)
        assert what == asked
    channels = [{m.channel for m in track if not m.is_meta} for track in file.tracks]
    assert all(len(used) == 1 for used in channels)
    assert len(set.union(*channels)) == len(parts)


@needs_mido
@needs_fluidsynth
def test_a_soundfont_is_played_into_whole_excerpts_the_same_each_time(tmp_path: Path):
    piece, again = (Piece(SOUNDFONT, tmp_path / name, 3, 11) for name in ("a", "b"))
    for paths in zip(make_piece(piece).paths, make_piece(again).paths, strict=True):
        (first, rate), (second, _) = (soundfile.read(path) for path in paths)
        assert rate == 16000
        assert first.shape == (round(EXCERPT_S * rate),)
        assert np.array_equal(first, second)
        assert np.abs(first).max() == pytest.approx(10 ** (-3 / 20), abs=1e-3)
    assert len(list((tmp_path / "a").iterdir())) == PER_PIECE  # nothing half-written is left


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_what_is_no_soundfont_is_reported_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "bin" / "fluidsynth"  # it has to be there; it is not started
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    (tmp_path / "bank.sf2").write_bytes(b"RIFF....WAVEfmt ")
    with pytest.raises(UserError, match=r"bank\.sf2 is not a SoundFont: give"):
        check_soundfont(tmp_path / "bank.sf2")
    with pytest.raises(UserError, match="is not a file"):
        check_soundfont(tmp_path / "absent.sf2")
    program.unlink()
    with pytest.raises(UserError, match="apt install fluidsynth"):
        check_soundfont(tmp_path / "bank.sf2")
