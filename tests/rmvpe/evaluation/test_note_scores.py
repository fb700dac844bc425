"""Scores of notes: hand-made notes whose scores are known, files without notes, means and pooled scores, mixes."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.readers.note_folders import NoteFolder
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import CLEAN, MUSIC
from rmvpe.evaluation.note_metrics import CRITERIA, SCORES, NoteTally, mean_scores, note_tally
from rmvpe.evaluation.notes import evaluate_notes
from rmvpe.pitch import midi_to_hz

pytest.importorskip("mir_eval")
REFERENCE = np.array([[0.5, 1.0, 60.0], [1.0, 1.5, 62.0], [2.0, 4.0, 64.0], [4.5, 5.0, 64.0]])
NOTHING = np.zeros((0, 3))


def moved(note: int, onset_s: float = 0.0, offset_s: float = 0.0, semitones: float = 0.0) -> np.ndarray:
    """The reference with one note changed."""
    notes = REFERENCE.copy()
    notes[note] += (onset_s, offset_s, semitones)
    return notes


def right(found: np.ndarray, reference: np.ndarray = REFERENCE) -> dict[str, int]:
    return note_tally(reference, found).right


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (REFERENCE, (4, 4, 4)),
        (REFERENCE[::-1], (4, 4, 4)),  # the order plays no part
        (moved(0, onset_s=0.049), (4, 4, 4)),
        (moved(0, onset_s=-0.05), (4, 4, 4)),  # mir_eval compares to 0.1 ms, the limit itself is right
        (moved(0, onset_s=0.051), (3, 3, 3)),
        (moved(0, semitones=0.49), (4, 4, 4)),
        (moved(0, semitones=-0.51), (3, 3, 4)),
        (moved(0, semitones=12), (3, 3, 4)),  # an octave is a wrong pitch
        (moved(0, offset_s=0.099), (4, 4, 4)),  # 20 % of half a second
        (moved(0, offset_s=0.101), (3, 4, 4)),
        (moved(2, offset_s=0.39), (4, 4, 4)),  # 20 % of two seconds
        (moved(2, offset_s=-0.41), (3, 4, 4)),
        (REFERENCE[1:], (3, 3, 3)),
        (np.vstack([REFERENCE, [6.0, 7.0, 60.0]]), (4, 4, 4)),
        (np.vstack([REFERENCE, REFERENCE]), (4, 4, 4)),  # a note is paired once
        (NOTHING, (0, 0, 0)),
    ],
)
def test_a_note_is_right_within_the_tolerances(found: np.ndarray, expected: tuple[int, int, int]):
    assert right(found) == dict(zip(CRITERIA, expected))


def test_short_notes_may_end_50_ms_late():
    reference = np.array([[1.0, 1.1, 60.0]])  # 20 % would be 20 ms
    assert right(np.array([[1.0, 1.149, 60.0]]), reference)["COnPOff"] == 1
    assert right(np.array([[1.0, 1.151, 60.0]]), reference)["COnPOff"] == 0


def test_a_note_without_length_is_a_note():
    assert right(np.array([[1.0, 1.0, 60.0]]), np.array([[1.0, 1.0, 60.0]])) == dict.fromkeys(CRITERIA, 1)


def test_precision_recall_and_f1():
    found = np.vstack([moved(0, semitones=1.0), [6.0, 7.0, 60.0]])  # 3 of 5 right, 3 of 4 found; 4 begin right
    scores = note_tally(REFERENCE, found).scores()
    assert list(scores) == list(SCORES)
    assert [scores[f"COnP {name}"] for name in ("F1", "P", "R")] == pytest.approx([2 / 3, 0.6, 0.75])
    assert [scores[f"COn {name}"] for name in ("F1", "P", "R")] == pytest.approx([8 / 9, 0.8, 1.0])


def test_the_scores_are_those_of_mir_eval():
    from mir_eval import transcription

    rng = np.random.default_rng(0)
    onset_s = np.sort(rng.uniform(0, 20, 60))
    reference = np.stack([onset_s, onset_s + rng.uniform(0.05, 0.6, 60), rng.integers(50, 70, 60)], axis=1)
    found = reference[:50] + np.stack([rng.normal(0, 0.04, 50), rng.normal(0, 0.06, 50), rng.normal(0, 0.4, 50)], 1)
    found[:, 0] = np.maximum(found[:, 0], 0.0)
    found[:, 1] = np.maximum(found[:, 1], found[:, 0] + 0.01)
    theirs = transcription.evaluate(
        reference[:, :2], midi_to_hz(reference[:, 2]), found[:, :2], midi_to_hz(found[:, 2])
    )
    endings = {"COnPOff": "{}", "COnP": "{}_no_offset", "COn": "Onset_{}"}
    for criterion, name in endings.items():
        scores = note_tally(reference, found).scores()
        for measure, word in (("P", "Precision"), ("R", "Recall"), ("F1", "F-measure")):
            assert scores[f"{criterion} {measure}"] == pytest.approx(theirs[name.format(word)])
    assert 0.1 < scores["COn F1"] < 0.99  # neither all nor nothing


def test_nothing_found_scores_0_and_nothing_to_find_has_no_score():
    assert note_tally(REFERENCE, NOTHING).scores() == dict.fromkeys(SCORES, 0.0)
    silent = note_tally(NOTHING, REFERENCE)
    assert (silent.reference, silent.found) == (0, 4)
    assert all(map(math.isnan, silent.scores().values()))
    assert all(map(math.isnan, note_tally(NOTHING, NOTHING).scores().values()))


def test_the_mean_leaves_silent_files_out_and_the_pool_does_not():
    good, bad = note_tally(REFERENCE, REFERENCE), note_tally(REFERENCE[:1], NOTHING)
    silent = note_tally(NOTHING, REFERENCE)
    assert mean_scores([good, bad, silent])["COn F1"] == 0.5
    pooled = good + bad + silent
    assert pooled == NoteTally(5, 8, dict.fromkeys(CRITERIA, 4))
    assert pooled.scores()["COn P"] == 0.5
    assert all(map(math.isnan, mean_scores([silent]).values()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file with notes, a file without; the level of each is its number."""
    for name, level, notes in (("a", 0.1, REFERENCE), ("b", 0.2, NOTHING)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(96_000, level), 16_000, subtype="FLOAT")
        rows = (f"{onset},{offset},{midi}\n" for onset, offset, midi in notes)
        (tmp_path / f"{name}.notes.csv").write_text("onset_s,offset_s,pitch_midi\n" + "".join(rows))
    return tmp_path


def test_what_finds_notes_gets_the_mix(folder: Path, tmp_path: Path):
    music = tmp_path / "music" / "m.wav"
    music.parent.mkdir()
    soundfile.write(music, np.random.default_rng(0).normal(0, 0.1, 96_000), 16_000)
    given: list[np.ndarray] = []

    def find(audio: np.ndarray) -> np.ndarray:
        given.append(audio)
        return REFERENCE[:3]

    found = evaluate_notes(find, NoteFolder(folder), snr_db=(CLEAN, 10.0, MUSIC), indices=[0], music=[music])
    clean, mix, alone = given
    np.testing.assert_allclose(clean, 0.1, atol=1e-6)
    assert np.sqrt(np.mean((mix - clean) ** 2)) == pytest.approx(0.1 * 10**-0.5, rel=0.01)  # 10 dB below the voice
    assert abs(alone.mean()) < 0.01
    assert found.counts == {
        "clean": {"files": 1, "without": 0, "reference": 4, "found": 3},
        "10 dB": {"files": 1, "without": 0, "reference": 4, "found": 3},
        "music": {"files": 1, "without": 1, "reference": 0, "found": 3},
    }
    assert found.means["10 dB"] == found.pooled["10 dB"] == note_tally(REFERENCE, REFERENCE[:3]).scores()
    assert all(map(math.isnan, found.means["music"].values()))
    assert [row["ratio"] for row in found.files] == ["clean", "10 dB", "music"]


def test_silent_files_count_in_the_pool_only(folder: Path):
    found = evaluate_notes(lambda audio: REFERENCE, NoteFolder(folder), snr_db=[CLEAN, 0.0])
    assert list(found.means) == ["clean"]  # no file has music
    assert found.counts["clean"] == {"files": 2, "without": 1, "reference": 4, "found": 8}
    assert found.means["clean"]["COnPOff F1"] == 1.0
    assert found.pooled["clean"]["COnPOff P"] == 0.5


def test_a_bad_file_is_named_and_the_rest_scored(folder: Path):
    (folder / "b.notes.csv").write_text("onset_s,offset_s,pitch_midi\n1,2\n")
    source = NoteFolder(folder)
    with pytest.raises(UserError, match=r"b\.notes\.csv, line 2"):
        evaluate_notes(lambda audio: NOTHING, source, snr_db=[CLEAN])
    found = evaluate_notes(lambda audio: NOTHING, source, snr_db=[CLEAN], keep_going=True)
    assert [row["file"] for row in found.files] == ["a"]
    (failure,) = found.failures
    assert "b.notes.csv, line 2" in failure
