"""MIDI files say what the notes and the f0 say, to other programs' readers as well: mido and pretty_midi."""

import logging
import sys
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmvpe.errors import UserError
from rmvpe.notes.files import read, write
from rmvpe.notes.note import Note
from rmvpe.notes.notes import Notes
from rmvpe.notes.options import NoteFileOptions
from rmvpe.pitch import midi_to_hz
from rmvpe.track import F0Track

TIMES = np.arange(600) * 0.01


def singing(pitch: np.ndarray, voiced: np.ndarray | None = None) -> F0Track:
    """A track of MIDI numbers [600]."""
    voiced = np.ones(600, bool) if voiced is None else voiced
    return F0Track(TIMES, np.where(voiced, midi_to_hz(pitch), 0.0), voiced, np.full(600, 0.9))


def melody() -> tuple[tuple[Note, ...], F0Track]:
    """A scoop into C4, which has vibrato; at once D4, 30 cents sharp; after a pause G3."""
    pitch = np.full(600, 60.1)
    pitch[:20] = np.linspace(58.6, 60.1, 20)
    pitch[20:200] += 0.7 * np.sin(2 * np.pi * 6 * TIMES[20:200])
    pitch[200:350] = 62.3
    pitch[400:] = 54.8
    notes = (Note(0.0, 2.0, 60.1, 100, 0.9), Note(2.0, 3.5, 62.3, 60, 0.9), Note(4.0, 6.0, 54.8, None, 0.9))
    return notes, singing(pitch, (TIMES < 3.5) | (TIMES >= 4.0 - 1e-9))


def instrument(path: Path) -> Any:
    """The only instrument of the file, as pretty_midi reads it."""
    file = pretty_midi.PrettyMIDI(str(path))
    (found,) = file.instruments
    return found


def bends_at(found: Any, at_s: np.ndarray, semitones: float) -> np.ndarray:
    """Bends in semitones that pretty_midi sees at these times [n]."""
    times = np.array([bend.time for bend in found.pitch_bends])
    values = np.array([bend.pitch for bend in found.pitch_bends]) * semitones / 8192
    return values[np.searchsorted(times, at_s, side="right") - 1]


def messages(path: Path) -> list[Any]:
    """The messages of the track of notes."""
    return list(mido.MidiFile(path).tracks[1])


def stated_range(path: Path) -> int:
    """The range of bends that RPN 0 states."""
    controls = [(m.control, m.value) for m in messages(path) if m.type == "control_change"]
    assert controls[:2] == [(101, 0), (100, 0)]
    assert controls[3:] == [(38, 0), (101, 127), (100, 127)]
    assert controls[2][0] == 6
    return int(controls[2][1])


@pytest.mark.parametrize("tempo_bpm", [20.0, 61.7, 97.3, 120.0, 200, 300.0])
def test_another_reader_sees_the_same_notes_and_the_f0(tempo_bpm: float, tmp_path: Path):
    notes, track = melody()
    Notes(notes, track=track).write(tmp_path / "a.mid", tempo_bpm=tempo_bpm)
    found = instrument(tmp_path / "a.mid")
    assert [(note.pitch, note.velocity) for note in found.notes] == [(60, 100), (62, 60), (55, 80)]
    for note, seen in zip(notes, found.notes):
        assert abs(seen.start - note.onset_s) < 0.001
        assert abs(seen.end - note.offset_s) < 0.001
        # What sounds, halfway between two moments at which a bend may come, is the f0 of the moment before
        inside = np.arange(note.onset_s + 0.02, note.offset_s - 0.02, 0.01)
        heard = seen.pitch + bends_at(found, inside + 0.0025, stated_range(tmp_path / "a.mid"))
        sung = 69 + 12 * np.log2(np.interp(inside, track.time_s, track.f0_hz) / 440)
        assert np.abs(heard - sung).max() < 0.011  # a cent, and half a step of the bend


def test_the_tempo_and_the_names_are_in_the_file(tmp_path: Path):
    notes, track = melody()
    Notes(notes, track=track).write(tmp_path / "Lied 歌.mid", tempo_bpm=97.3)
    file = mido.MidiFile(tmp_path / "Lied 歌.mid", charset="utf-8")
    assert file.type == 1
    tempo = next(message for message in file.tracks[0] if message.type == "set_tempo")
    assert mido.tempo2bpm(tempo.tempo) == pytest.approx(97.3, abs=1e-4)
    assert [track.name for track in file.tracks] == ["Lied 歌", "Lied 歌"]
    assert not any(message.type == "program_change" for track in file.tracks for message in track)
    Notes(notes).write(tmp_path / "b.mid", title="Aria\n\udce9")
    assert mido.MidiFile(tmp_path / "b.mid").tracks[1].name == "Aria\\n\\xe9"


def test_plain_notes_have_no_bends(tmp_path: Path):
    notes, track = melody()
    Notes(notes, track=track).write(tmp_path / "a.mid", bends=False)
    assert {message.type for message in messages(tmp_path / "a.mid")} == {
        *("track_name", "note_on", "note_off", "end_of_track")
    }
    assert [note.pitch for note in instrument(tmp_path / "a.mid").notes] == [60, 62, 55]


def test_a_bend_is_back_at_zero_before_the_next_note_and_at_the_end(tmp_path: Path):
    notes, _ = melody()
    Notes(notes).write(tmp_path / "a.mid")
    seen = [(bend.time, bend.pitch) for bend in instrument(tmp_path / "a.mid").pitch_bends]
    steps = [round(cents / 200 * 8192) for cents in (0, 10, 30, 0, -20, 0)]
    assert [pitch for _, pitch in seen] == steps
    assert [time for time, _ in seen] == pytest.approx([0.0, 0.0, 2.0, 3.6, 4.0, 6.1], abs=0.001)


def test_at_one_time_a_note_ends_then_the_bend_moves_then_the_next_begins(tmp_path: Path):
    Notes((Note(0.0, 1.0, 60.2), Note(1.0, 1.2, 60.4), Note(1.201, 2.0, 61.3))).write(tmp_path / "a.mid")
    order = [m.type for m in messages(tmp_path / "a.mid") if m.type in ("note_on", "note_off", "pitchwheel")]
    assert order == [
        *("pitchwheel", "pitchwheel", "note_on"),
        *("note_off", "pitchwheel", "note_on"),
        *("note_off", "pitchwheel", "pitchwheel", "note_on"),
        *("note_off", "pitchwheel"),
    ]


@pytest.mark.parametrize(("scoop", "semitones"), [(1.5, 2), (3.0, 12), (12.5, 24)])
def test_the_range_is_the_smallest_usual_one_that_the_f0_fits_into(scoop: float, semitones: int, tmp_path: Path):
    pitch = np.full(600, 60.0)
    pitch[:10] = 60.0 - scoop
    Notes((Note(0.0, 6.0, 60.0),), track=singing(pitch)).write(tmp_path / "a.mid")
    assert stated_range(tmp_path / "a.mid") == semitones
    seen = bends_at(instrument(tmp_path / "a.mid"), np.array([0.05, 1.0]), semitones)
    assert seen == pytest.approx([-scoop, 0.0], abs=0.01)
    texts = [message.text for message in messages(tmp_path / "a.mid") if message.type == "text"]
    assert texts == [f"pitch bend range {semitones} semitones"]


def test_a_range_that_was_asked_for_is_kept_and_what_it_cuts_off_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    pitch = np.full(600, 60.0)
    pitch[:10], pitch[10:20] = 57.0, 63.0
    notes = Notes((Note(0.0, 5.0, 60.0), Note(5.0, 6.0, 60.0)), track=singing(pitch))
    with caplog.at_level(logging.WARNING, "rmvpe"):
        notes.write(tmp_path / "a.mid", bend_range=3)
        assert not caplog.records
        notes.write(tmp_path / "a.mid", bend_range=1)
    assert "1 of 2 notes, first at 0.00 s, is further than 1 semitones" in caplog.text
    assert stated_range(tmp_path / "a.mid") == 1
    found = instrument(tmp_path / "a.mid")
    assert bends_at(found, np.array([0.05, 0.15]), 1) == pytest.approx([-1.0, 1.0], abs=0.001)


def test_a_gap_in_the_f0_inside_a_note_is_bridged_and_its_ends_are_held(tmp_path: Path):
    pitch = np.full(600, 60.0)
    pitch[:100], pitch[200:] = 59.5, 60.5
    voiced = (TIMES > 0.5) & (TIMES < 2.5) & ~((TIMES > 0.985) & (TIMES < 1.995))
    Notes((Note(0.0, 6.0, 60.0),), track=singing(pitch, voiced)).write(tmp_path / "a.mid")
    seen = bends_at(instrument(tmp_path / "a.mid"), np.array([0.1, 1.4902, 5.0]), 2)
    assert seen == pytest.approx([-0.5, 0.0, 0.5], abs=0.02)


def test_a_note_without_f0_gets_one_bend(tmp_path: Path):
    """Notes that were made or moved by hand."""
    silent = singing(np.full(600, 60.0), TIMES < 1.0)
    Notes((Note(2.0, 3.0, 64.4), Note(3.5, 3.6, 60.0)), track=silent).write(tmp_path / "a.mid")
    found = instrument(tmp_path / "a.mid")
    assert bends_at(found, np.array([2.1, 2.9, 3.55]), 2) == pytest.approx([0.4, 0.4, 0.0], abs=0.001)


def test_a_steady_tone_needs_few_bends(tmp_path: Path):
    pitch = 60.0 + 0.004 * np.sin(2 * np.pi * 5 * TIMES)  # less than a cent
    Notes((Note(0.0, 6.0, 60.0),), track=singing(pitch)).write(tmp_path / "a.mid")
    assert len(instrument(tmp_path / "a.mid").pitch_bends) <= 3


@pytest.mark.parametrize("pitch", [-0.6, 127.6, 130.2, -36.0])
@pytest.mark.parametrize("bends", [True, False])
def test_a_pitch_that_midi_lacks_is_named(pitch: float, bends: bool, tmp_path: Path):
    notes = Notes((Note(0.0, 1.0, 60.0), Note(1.25, 2.0, pitch)))
    with pytest.raises(UserError, match=rf"note 2 at 1\.25 s has the pitch {pitch:.2f}"):
        notes.write(tmp_path / "a.mid", bends=bends)
    assert not list(tmp_path.iterdir())


def test_the_lowest_and_the_highest_number(tmp_path: Path):
    Notes((Note(0.0, 1.0, 0.0), Note(1.0, 2.0, 127.4))).write(tmp_path / "a.mid")
    assert [note.pitch_midi for note in Notes.read(tmp_path / "a.mid")] == pytest.approx([0.0, 127.4], abs=1e-3)


def test_without_mido_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    Notes().write(tmp_path / "a.mid")
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(UserError, match="pip install mido"):
        Notes().write(tmp_path / "b.mid")
    with pytest.raises(UserError, match="pip install mido"):
        Notes.read(tmp_path / "a.mid")
    Notes().write(tmp_path / "a.csv")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.integers(5, 3000), st.floats(0.0, 127.0), st.none() | st.integers(1, 127)),
        max_size=8,
    ),
    st.floats(20.0, 300.0),
    st.none() | st.integers(1, 24),
)
def test_notes_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], tempo_bpm: float, bend_range: int | None
):
    now_ms, notes = 0, []
    for pause_ms, length_ms, pitch, velocity in rows:
        notes.append(Note((now_ms + pause_ms) / 1000, (now_ms + pause_ms + length_ms) / 1000, pitch, velocity))
        now_ms += pause_ms + length_ms
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    write(notes, None, path, options=NoteFileOptions(tempo_bpm=tempo_bpm, bend_range=bend_range))
    found = read(path).notes
    assert [note.velocity for note in found] == [note.velocity or 80 for note in notes]
    for note, seen in zip(notes, found):
        assert seen.pitch_midi == pytest.approx(note.pitch_midi, abs=0.003)  # 24 semitones / 8192
        assert abs(seen.onset_s - note.onset_s) < 0.00051
        assert abs(seen.offset_s - note.offset_s) < 0.00051


def test_the_pitch_of_a_note_with_vibrato_comes_back(tmp_path: Path):
    notes, track = melody()
    Notes(notes, track=track).write(tmp_path / "a.mid")
    for note, seen in zip(notes, Notes.read(tmp_path / "a.mid")):
        assert seen.pitch_midi == pytest.approx(note.pitch_midi, abs=0.03)


def made(path: Path, tracks: list[list[Any]], **settings: Any) -> Path:
    """A MIDI file of messages whose `time` is a tick since the beginning of the file."""
    file = mido.MidiFile(**{"ticks_per_beat": 500, **settings})  # a tick is 1 ms
    for events in tracks:
        track, now = mido.MidiTrack(), 0
        for message in events:
            track.append(message.copy(time=message.time - now))
            now = message.time
        file.tracks.append(track)
    file.save(path)
    return path


def on(tick: int, number: int, velocity: int = 64, channel: int = 0) -> Any:
    return mido.Message("note_on", note=number, velocity=velocity, time=tick, channel=channel)


def off(tick: int, number: int, channel: int = 0) -> Any:
    return mido.Message("note_off", note=number, time=tick, channel=channel)


def control(tick: int, number: int, value: int) -> Any:
    return mido.Message("control_change", control=number, value=value, time=tick)


def test_a_file_of_another_program_is_read(tmp_path: Path):
    tempo = mido.MetaMessage("set_tempo", tempo=1_000_000, time=1000)  # from there on a tick is 2 ms
    percussion = [on(0, 38, channel=9), off(4000, 38, channel=9)]
    voice = [on(500, 60, 90), on(1000, 60, 0), on(1500, 67, 91, 3), off(2000, 67, 3), on(2000, 50)]
    found = Notes.read(made(tmp_path / "a.midi", [[tempo], voice, percussion]))
    assert found.track is None
    expected = [(0.5, 1.0, 60.0, 90), (2.0, 3.0, 67.0, 91), (3.0, 7.0, 50.0, 64)]  # the last ends with the file
    assert [(note.onset_s, note.offset_s, note.pitch_midi, note.velocity) for note in found] == expected


def test_a_range_of_bends_that_the_file_states_counts(tmp_path: Path):
    bend = mido.Message("pitchwheel", pitch=4096)
    events = [bend, on(0, 60), off(500, 60), control(600, 101, 0), control(600, 100, 0), control(600, 6, 12)]
    events += [control(600, 38, 50), on(700, 60), off(900, 60), control(950, 101, 127), control(950, 100, 127)]
    events += [control(950, 6, 24), on(1000, 60), off(1200, 60), control(1200, 121, 0), on(1300, 60), off(1400, 60)]
    found = Notes.read(made(tmp_path / "a.mid", [events]))
    assert [note.pitch_midi for note in found] == [61.0, 66.25, 66.25, 60.0]


def test_the_pitch_is_the_median_of_the_middle_of_the_bends(tmp_path: Path):
    bends = [(0, -8192), (150, 0), (500, 4096), (800, 8191)]
    events = [on(0, 60), *(mido.Message("pitchwheel", pitch=pitch, time=tick) for tick, pitch in bends), off(1000, 60)]
    events[3] = events[3].copy(time=510)  # 310 ms of the middle 600 ms before it
    assert Notes.read(made(tmp_path / "a.mid", [events]))[0].pitch_midi == 60.0
    events[3] = events[3].copy(time=490)
    assert Notes.read(made(tmp_path / "a.mid", [events]))[0].pitch_midi == 61.0


def test_a_key_that_is_struck_again(tmp_path: Path):
    events = [on(0, 60), on(500, 60), off(500, 60), off(900, 60), on(1000, 62), off(1000, 62), on(1100, 64)]
    events += [on(1200, 64), off(1300, 64)]
    found = Notes.read(made(tmp_path / "a.mid", [events]))
    times = [(note.onset_s, note.offset_s) for note in found]
    assert times == [(0.0, 0.5), (0.5, 0.9), (1.1, 1.2), (1.2, 1.3)]


def test_legato_is_one_voice_and_a_chord_is_not(tmp_path: Path):
    legato = [on(0, 60), on(500, 62), off(540, 60), off(900, 62)]
    found = Notes.read(made(tmp_path / "a.mid", [legato]))
    assert [(note.onset_s, note.offset_s) for note in found] == [(0.0, 0.5), (0.5, 0.9)]
    for voices in (
        [[on(0, 60), on(500, 62), off(560, 60), off(900, 62)]],
        [[on(500, 60), on(500, 64), off(520, 60), off(900, 64)]],
        [[on(0, 60), off(900, 60)], [on(500, 48, channel=1), off(900, 48, channel=1)]],
    ):
        with pytest.raises(UserError, match=r"duet\.mid .*at 0\.50 s it has two notes at once"):
            Notes.read(made(tmp_path / "duet.mid", voices))


def test_files_whose_times_cannot_be_known_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"a\.mid .*type 2"):
        Notes.read(made(tmp_path / "a.mid", [[on(0, 60), off(5, 60)]], type=2))
    with pytest.raises(UserError, match=r"a\.mid .*video frames"):
        Notes.read(made(tmp_path / "a.mid", [[on(0, 60), off(5, 60)]], ticks_per_beat=-7640))


def test_a_damaged_file_is_one_sentence_and_soon(tmp_path: Path):
    notes, track = melody()
    path = tmp_path / "a.mid"
    Notes(notes, track=track).write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(UserError, match=r"a\.mid cannot be read as notes: it ends too early"):
        Notes.read(path)
    path.write_bytes(whole[:60] + b"\xff" * 10_000_000)
    with pytest.raises(UserError, match=r"a\.mid cannot be read as notes: it is damaged"):
        Notes.read(path)
    path.write_bytes(b"\0" * (17 << 20))
    with pytest.raises(UserError, match=r"a\.mid cannot be read as notes: it has more than the 16"):
        Notes.read(path)
