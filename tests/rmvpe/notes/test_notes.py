"""Notes of a track with its sound: velocities, tuning, rounding, quantising; and tracks without voice or sound."""

from pathlib import Path

import numpy as np
import pytest

import rmvpe
from rmvpe.errors import UserError
from rmvpe.notes.note import Note
from rmvpe.notes.notes import NO_LOUDNESS, tuning_of, velocity

RATE = 16_000


def voice(hz: float, seconds: float, gain: float) -> np.ndarray:
    """Ten harmonics that fall by 6 dB per octave, with an RMS of about `gain`."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    return gain * np.sum([np.sin(2 * np.pi * h * hz * time_s) / h for h in range(1, 11)], axis=0)


def track_of(*parts: tuple[float, float]) -> rmvpe.F0Track:
    """A track of (seconds, Hz), 0 Hz is silence; frames at 10 ms."""
    f0_hz = np.concatenate([np.zeros(0), *(np.full(round(seconds / 0.01), hz) for seconds, hz in parts)])
    return rmvpe.F0Track(0.01 * np.arange(len(f0_hz)), f0_hz, f0_hz > 0, (f0_hz > 0) * 0.9)


PARTS = ((0.2, 0.0), (0.5, 220.0), (0.2, 0.0), (0.5, 220.0), (0.2, 0.0))


def sound(first: float, second: float, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    rest = np.zeros(round(0.2 * RATE))
    clean = np.concatenate([rest, voice(220.0, 0.5, first), rest, voice(220.0, 0.5, second), rest])
    return clean + noise * rng.standard_normal(len(clean))


def test_velocity_is_the_energy_at_the_harmonics() -> None:
    """Half the amplitude is 6 dB, which General MIDI's 40 log10(v / 127) makes of 112 and 79."""
    loud, soft = track_of(*PARTS).notes(sound(0.2, 0.1))
    assert (loud.velocity, soft.velocity) == (112, 79)
    for noise in (0.02, 0.05):  # up to as loud as the soft note: its level rises by 5 dB, that at the harmonics by less
        loud, soft = track_of(*PARTS).notes(sound(0.2, 0.1, noise))
        assert loud.velocity == 112
        assert soft.velocity == pytest.approx(79, abs=4)


def test_velocity_does_not_follow_music_beside_the_voice() -> None:
    music = np.concatenate([np.zeros(round(0.9 * RATE)), voice(311.0, 0.9, 0.3)])[: len(sound(1, 1))]
    notes = track_of(*PARTS).notes(sound(0.2, 0.1) + music)
    assert [note.velocity for note in notes] == [112, pytest.approx(79, abs=12)]


def test_velocity_of_levels() -> None:
    assert [velocity(level) for level in (0.0, -12.04, -40.0, -200.0)] == [112, 56, 11, 1]


def test_without_sound_there_is_no_velocity_and_it_says_so() -> None:
    notes = track_of(*PARTS).notes()
    assert [note.velocity for note in notes] == [None, None]
    assert notes.missing == (NO_LOUDNESS,)
    assert track_of(*PARTS).notes(sound(0.2, 0.1)).missing == ()


@pytest.mark.parametrize("track", [track_of(), track_of((1.0, 0.0))])
@pytest.mark.parametrize("audio", [None, np.zeros(RATE)])
def test_no_voice_no_notes(track: rmvpe.F0Track, audio: np.ndarray | None) -> None:
    notes = track.notes(audio)
    assert len(notes) == 0
    assert notes.tuning_cents == 0.0
    assert len(notes.rounded(True)) == len(notes.quantised(120)) == 0


def test_sound_of_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="16 kHz mono samples"):
        track_of(*PARTS).notes(np.zeros((2, RATE)))


def notes_at(*pitches: float) -> rmvpe.Notes:
    notes = tuple(Note(0.5 * k, 0.5 * k + 0.4, pitch) for k, pitch in enumerate(pitches))
    return rmvpe.Notes(notes, tuning_of(notes))


@pytest.mark.parametrize("cents", [-45.0, -20.0, 0.0, 12.0, 49.0])
def test_tuning_is_found_and_rounding_goes_by_it(cents: float) -> None:
    pitches = [60, 62, 64, 65, 67]
    notes = notes_at(*(pitch + cents / 100 + wrong for pitch, wrong in zip(pitches, (0.1, -0.1, 0.2, -0.2, 0.0))))
    assert notes.tuning_cents == pytest.approx(cents, abs=2.0)
    assert [note.pitch_midi for note in notes.rounded(tuned=True)] == pitches
    assert notes.rounded(tuned=True).tuning_cents == 0.0


def test_rounding_by_440_hz() -> None:
    assert [note.pitch_midi for note in notes_at(60.4, 61.5, 62.51).rounded()] == [60, 62, 63]


def test_quantised_notes_lie_on_the_grid_and_never_overlap() -> None:
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 20, 60))
    notes = rmvpe.Notes(tuple(Note(float(a), float(b), 60.0) for a, b in zip(times[::2], times[1::2])))
    for tempo, division in ((60, 4), (97, 16), (180, 12)):
        step = 240 / tempo / division
        placed = notes.quantised(tempo, division, start_s=0.03)
        steps = np.array([[(time - 0.03) / step for time in (note.onset_s, note.offset_s)] for note in placed])
        assert np.abs(steps - np.round(steps)).max() < 1e-3
        assert (np.round(steps[:, 1]) > np.round(steps[:, 0])).all()
        assert (np.round(steps[1:, 0]) >= np.round(steps[:-1, 1])).all()
        assert placed[0].onset_s >= 0


@pytest.mark.parametrize(("tempo", "division"), [(0.0, 16), (float("nan"), 16), (True, 16), (120.0, 5), (120.0, 0)])
def test_a_grid_that_is_none_is_refused(tempo: float, division: int) -> None:
    with pytest.raises(UserError, match="not possible"):
        notes_at(60.0).quantised(tempo, division)


def hummed(seconds: float, nasals: tuple[float, ...], hz: float = 220.0) -> np.ndarray:
    """A vowel of 20 harmonics in which the mouth closes for 80 ms at some times: only the lowest harmonic stays."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    closed = np.zeros(len(time_s))
    for at in nasals:
        closed += np.clip(1.5 - np.abs(time_s - at) / 0.04, 0.0, 1.0)  # shut for 40 ms, 20 ms to close and to open
    mouth = 10 ** (-30 * closed / 20)
    upper = np.sum([np.sin(2 * np.pi * h * hz * time_s + h) / h**0.7 for h in range(2, 21)], axis=0)
    fade = np.clip(np.minimum(time_s, seconds - time_s) / 0.02, 0.0, 1.0)
    return 0.1 * fade * (np.sin(2 * np.pi * hz * time_s) * (1 - 0.4 * closed) + mouth * upper)


@pytest.mark.parametrize("nasals", [(), (0.6,), (0.4, 0.9)])
def test_a_repeated_note_is_heard_though_the_f0_does_not_show_it(nasals: tuple[float, ...]) -> None:
    sound = np.concatenate([np.zeros(RATE // 2), hummed(1.3, nasals), np.zeros(RATE // 2)])
    track = track_of((0.5, 0.0), (1.3, 220.0), (0.5, 0.0))
    assert len(track.notes()) == 1
    notes = track.notes(sound)
    assert len(notes) == len(nasals) + 1
    assert notes[0].onset_s == pytest.approx(0.5, abs=0.05)
    for note, at in zip(notes[1:], nasals):
        assert note.onset_s == pytest.approx(0.5 + at + 0.04, abs=0.05)
        assert note.pitch_midi == pytest.approx(57.0, abs=0.01)


@pytest.mark.parametrize("ending", ["csv", "mid", "json"])
def test_the_tuning_is_known_again_from_a_file(ending: str, tmp_path: Path) -> None:
    if ending == "mid":
        pytest.importorskip("mido")
    notes = notes_at(60.3, 62.32, 64.28)
    assert notes.tuning_cents == pytest.approx(30.0, abs=1.0)
    notes.write(tmp_path / f"a.{ending}")
    assert rmvpe.Notes.read(tmp_path / f"a.{ending}").tuning_cents == pytest.approx(notes.tuning_cents, abs=0.2)
