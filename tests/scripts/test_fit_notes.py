"""Fitting of notes: what the networks learn from, and a whole run on a few tones."""

import subprocess
import sys

import numpy as np
import pytest

from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.notes import files
from rmvpe.notes.find import Costs, Frames
from rmvpe.notes.note import Note
from tests.helpers.paths import ROOT
from tests.scripts.test_scripts import loaded

RATE = 16_000
NOTES = (Note(0.3, 0.8, 57.0), Note(1.0, 1.4, 57.0), Note(1.4, 1.9, 60.0))


@pytest.fixture(scope="module")
def script():
    return loaded(ROOT / "scripts" / "fit_notes.py")


def test_targets_are_the_borders_of_the_notes(script) -> None:
    frames = Frames(0.1, np.zeros(100), np.zeros(100, dtype=bool), np.zeros(100))
    begins, ends, sounds = script.targets_of(frames, np.array([[0.3, 0.6, 60.0]])).T
    assert len(begins) == 101
    assert begins[18:23] == pytest.approx([0.4, 0.8, 1.0, 0.8, 0.4])
    assert ends[48:53] == pytest.approx([0.4, 0.8, 1.0, 0.8, 0.4])
    assert np.flatnonzero(sounds).tolist() == list(range(20, 50))
    assert begins.sum() == ends.sum() == pytest.approx(3.4)


def test_changed_costs_differ_in_one_to_three(script) -> None:
    for seed in range(20):
        costs = script.changed(Costs(), np.random.default_rng(seed))
        different = [name for name in vars(Costs()) if getattr(costs, name) != getattr(Costs(), name)]
        assert len(different) in (1, 2, 3)


def test_a_place_without_a_split_is_refused(script, tmp_path, capsys) -> None:
    assert script.main([str(tmp_path), "-o", str(tmp_path / "notes.npz")]) == 2
    assert "give FOLDER:SPLIT" in capsys.readouterr().err


def test_a_whole_run_on_a_few_tones(script, tmp_path) -> None:
    """Tones with known notes are learned well enough that the held-out ones are found."""
    pytest.importorskip("torch")
    pytest.importorskip("mir_eval")
    for item in range(6):
        sung(tmp_path / "fit" / "train", f"item{item}", shift=item - 2)
    output = tmp_path / "notes.npz"
    command = [sys.executable, ROOT / "scripts" / "fit_notes.py", f"{tmp_path / 'fit'}:train", "-o", output]
    done = subprocess.run([*command, "--rounds", "2", "--workers", "1"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    with np.load(output, allow_pickle=False) as file:
        assert {name.split(".")[0] for name in file} == {"sound", "f0"}
        assert file["sound.weight0"].shape == (script.HIDDEN, 450)
        assert file["f0.weight0"].shape == (script.HIDDEN, 200)
    assert done.stdout.count("Costs(") >= 2


def sung(folder, name: str, shift: int) -> None:
    """A mono recording with its labels: notes of ten harmonics."""
    time_s = np.arange(round(2.2 * RATE)) / RATE
    f0_hz, voice = np.zeros(221), np.zeros(len(time_s))
    notes = [Note(note.onset_s, note.offset_s, note.pitch_midi + shift) for note in NOTES]
    for note in notes:
        inside = (time_s >= note.onset_s) & (time_s < note.offset_s)
        fade = np.clip(np.minimum(time_s - note.onset_s, note.offset_s - time_s) / 0.02, 0.0, 1.0)
        tone = np.sum([np.sin(2 * np.pi * h * note.pitch_hz * time_s) / h for h in range(1, 11)], axis=0)
        voice += np.where(inside, 0.1 * fade * tone, 0.0)
        f0_hz[round(note.onset_s * 100) : round(note.offset_s * 100)] = note.pitch_hz
    folder.mkdir(parents=True, exist_ok=True)
    files.write(notes, None, folder / f"{name}.notes.csv", "csv")
    write_hybrid_pair(folder, name, voice, None, f0_hz)


def test_without_sound_a_note_lasts_as_long_as_its_voice(script) -> None:
    voiced = np.zeros(200, dtype=bool)
    voiced[10:60] = voiced[65:100] = voiced[120:190] = True  # a break of 50 ms, a pause of 200 ms
    frames = Frames(0.0, np.zeros(200), voiced, np.zeros(200))
    notes = np.array([[0.15, 0.9, 60.0], [1.25, 1.4, 62.0], [1.45, 1.6, 62.2], [1.65, 1.85, 65.0]])
    heard = script.heard_in_f0(frames, notes)
    assert heard[:, 2].tolist() == [60.0, 62.0, 65.0]  # the two at one pitch cannot be told apart
    assert heard[0, :2] == pytest.approx([0.1, 1.0])
    assert heard[1, :2] == pytest.approx([1.2, 1.63], abs=0.011)
    assert heard[2, :2] == pytest.approx([1.63, 1.9], abs=0.011)


def test_muffled_voices_lose_their_upper_bands_and_little_level(script) -> None:
    bands = np.tile([-20.0, -22.0, -30.0, -40.0], (5, 1))
    frames = Frames(0.0, np.zeros(5), np.ones(5, dtype=bool), np.zeros(5), np.full(5, -15.0), bands)
    task = script.muffled(script.Task(frames, np.zeros((0, 3)), False), np.random.default_rng(0))
    assert task.frames.bands_db is not None
    loss = bands - task.frames.bands_db
    assert (loss[:, 0] == 0).all()
    assert loss[:, 1] == pytest.approx(loss[:, 3] / 3)
    assert (loss[:, 1] >= 12.0).all()
    assert task.frames.level_db is not None
    assert ((task.frames.level_db < -15.0) & (task.frames.level_db > -18.0)).all()
