"""Published data sets: each label convention proven by a glide, the folder layouts, the splits, and bad input."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.readers.base import Source
from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.data.readers.registry import KINDS, Concatenated, open_source
from rmvpe.data.readers.segments import Segments
from rmvpe.errors import UserError
from rmvpe.interpolation import f0_at_times
from rmvpe.pitch import cents_between, hz_to_midi

RATE = 44_100
SECONDS = 2.0
OCTAVES_PER_S = 1.5  # 1 ms late is 1.8 cents


def glide_hz(time_s: np.ndarray) -> np.ndarray:
    return 150.0 * 2 ** (OCTAVES_PER_S * np.asarray(time_s))


def glide(seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """A sine whose phase is the integral of `glide_hz`, exactly."""
    time_s = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * glide_hz(time_s) / (OCTAVES_PER_S * np.log(2)))


def write_time_f0(path: Path, step_s: float, seconds: float = SECONDS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds / step_s) + 1) * step_s
    path.write_text("".join(f"{time:.6f},{hz:.6f}\n" for time, hz in zip(times, glide_hz(times), strict=True)))


def write_sound(path: Path, sound: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate)


def make_mdb(root: Path, name: str = "Artist_Song_STEM_01") -> None:
    write_sound(root / "audio_stems" / f"{name}.RESYN.wav", glide())
    write_time_f0(root / "annotation_stems" / f"{name}.RESYN.csv", 128 / RATE)


def make_vocadito(root: Path, number: int = 1) -> None:
    write_sound(root / "Audio" / f"vocadito_{number}.wav", glide())
    write_time_f0(root / "Annotations" / "F0" / f"vocadito_{number}_f0.csv", 256 / RATE)


def make_ikala(root: Path, name: str = "10161_chorus") -> None:
    write_sound(root / "Wavfile" / f"{name}.wav", np.stack([np.zeros(len(glide())), glide()], axis=1))
    # The authors' frames are 32 ms long and the pitch is that of their middle.
    centres = (np.arange(int(SECONDS / 0.032)) + 0.5) * 0.032
    (root / "PitchLabel").mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{midi:.6f}\n" for midi in hz_to_midi(glide_hz(centres)))
    (root / "PitchLabel" / f"{name}.pv").write_text(lines)


def glide_notes() -> list[list[float]]:
    """A note for each 10 ms of the glide: the finest thing that notes can say."""
    onsets = np.arange(200) / 100
    return np.stack([onsets, onsets + 0.01, hz_to_midi(glide_hz(onsets))], axis=1).tolist()


def make_songs(root: Path, notes: str, songs: tuple[str, ...]) -> None:
    for song in songs:
        write_sound(root / song / "Mixture.wav", glide())
    (root / notes).parent.mkdir(parents=True, exist_ok=True)
    (root / notes).write_text(json.dumps({Path(song).name: glide_notes() for song in songs}))


def make_mir_st500(root: Path, songs: tuple[str, ...] = ("train/1",)) -> None:
    make_songs(root, "MIR-ST500_20210206/MIR-ST500_corrected.json", songs)


def make_cmedia(root: Path, songs: tuple[str, ...] = ("train/1",)) -> None:
    make_songs(root, "Cmedia-train/Cmedia_train_gt.json", songs)


def make_folder(root: Path) -> None:
    write_sound(root / "take.wav", glide())
    write_time_f0(root / "take_f0.csv", 0.01)


def make_hybrid(root: Path) -> None:
    write_hybrid_pair(root / "all", "solo", glide(rate=16_000), None, glide_hz(np.arange(201) * 0.01))


MAKERS: dict[str, Callable[[Path], None]] = {
    "mdb-stem-synth": make_mdb,
    "vocadito": make_vocadito,
    "ikala": make_ikala,
    "mir-st500": make_mir_st500,
    "cmedia": make_cmedia,
    "folder": make_folder,
    "hybrid": make_hybrid,
}


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def opened(kind: str, root: Path, split: str = "all") -> Source:
    return open_source(f"{kind}:{root}", split)


def measured_hz(sound: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """The frequency of a sine at the times `at_s`: the slope of its analytic signal's phase, over 10 ms around each."""
    spectrum = np.fft.fft(sound.astype(np.float64))
    spectrum[len(sound) // 2 :] = 0
    slope = np.diff(np.unwrap(np.angle(np.fft.ifft(2 * spectrum)))) * 16_000 / (2 * np.pi)
    slope = np.convolve(slope, np.ones(161) / 161, mode="same")  # evens out the steps of 16 bits
    return np.interp(at_s, (np.arange(len(slope)) + 0.5) / 16_000, slope)


def test_every_kind_has_its_glide() -> None:
    assert set(MAKERS) == {*KINDS, "hybrid"}


def test_the_label_is_neither_early_nor_late(kind: str, tmp_path: Path) -> None:
    MAKERS[kind](tmp_path)
    source = opened(kind, tmp_path)
    item = source[0]
    frames = np.arange(20, 181) * 0.01  # the analytic signal is disturbed at both ends of the sound
    read = f0_at_times(item.time_s, item.f0_hz, frames)
    # Six decimals of a second and of a pitch, and float32: under 0.01 cents. Interpolation in log-frequency is exact
    # for this glide. Half a millisecond would be 0.9 cents.
    np.testing.assert_allclose(cents_between(read, glide_hz(frames)), 0, atol=0.02)
    # Measured there: 16 bits and the cut spectrum leave a tenth of a cent.
    np.testing.assert_allclose(cents_between(measured_hz(item.voice, frames), read), 0, atol=0.5)
    assert item.voice.dtype == item.f0_hz.dtype == np.float32
    assert item.time_s.dtype == np.float64
    assert item.name == source.name(0)


def test_a_part_is_neither_early_nor_late(kind: str, tmp_path: Path) -> None:
    MAKERS[kind](tmp_path)
    part = opened(kind, tmp_path).read_excerpt(0, 0.7, 1.0)
    assert len(part.voice) == 16_000
    frames = np.arange(101) * 0.01  # to both ends: the annotation must cover the part
    read = f0_at_times(part.time_s, part.f0_hz, frames)
    np.testing.assert_allclose(cents_between(read, glide_hz(0.7 + frames)), 0, atol=0.02)  # as above
    inner = frames[15:86]
    np.testing.assert_allclose(cents_between(measured_hz(part.voice, inner), glide_hz(0.7 + inner)), 0, atol=0.5)


def test_ikala_has_the_accompaniment_left(tmp_path: Path) -> None:
    make_ikala(tmp_path)
    item = opened("ikala", tmp_path)[0]
    assert item.accompaniment is not None
    assert not item.accompaniment.any()
    assert item.voice.any()
    write_sound(tmp_path / "Wavfile" / "10161_chorus.wav", glide())
    with pytest.raises(UserError, match=r"10161_chorus\.wav has 1 channels: give stereo \(accompaniment, voice\)"):
        opened("ikala", tmp_path)[0]


def test_notes_sound_from_onset_to_offset_and_silence_is_annotated(tmp_path: Path) -> None:
    make_mir_st500(tmp_path)
    notes = [[0.5, 0.6, 69], [0.6, 0.75, 57.0], [0.7, 0.8, 45], [1.2, 1.2, 60]]  # neighbours, an overlap, an empty one
    notes.append([1.503, 1.528, 57])  # between points of the grid
    (tmp_path / "MIR-ST500_20210206" / "MIR-ST500_corrected.json").write_text(json.dumps({"1": notes}))
    item = opened("mir-st500", tmp_path)[0]
    expected = np.zeros(201)
    expected[50:60], expected[60:70], expected[70:80], expected[151:153] = 440, 220, 110, 220
    np.testing.assert_allclose(item.f0_hz, expected, rtol=1e-6)
    np.testing.assert_allclose(item.time_s, np.arange(201) * 0.01)
    assert len(item.voice) == 2 * 16_000  # not cut at the last note
    assert item.accompaniment is None


def test_a_separated_voice_comes_before_the_mixture(tmp_path: Path) -> None:
    make_mir_st500(tmp_path)
    folder = tmp_path / "train" / "1"
    write_sound(folder / "Vocal.wav", 0.5 * glide())
    assert opened("mir-st500", tmp_path)[0].accompaniment is None
    # A separator's files may differ by some samples.
    write_sound(folder / "Inst.wav", np.full((RATE * 2 - 300, 2), 0.25))
    item = opened("mir-st500", tmp_path)[0]
    assert np.abs(item.voice)[8000:-8000].max() == pytest.approx(0.25, abs=0.01)
    assert item.accompaniment is not None
    assert item.accompaniment[8000:-8000].mean() == pytest.approx(0.25, abs=1e-3)
    assert len(item.accompaniment) == len(item.voice)


def test_mp3_is_read_from_anywhere_without_delay(tmp_path: Path) -> None:
    make_mir_st500(tmp_path)
    folder = tmp_path / "train" / "1"
    (folder / "Mixture.wav").unlink()
    soundfile.write(folder / "Mixture.mp3", glide(), RATE)
    source = opened("mir-st500", tmp_path)
    assert source.duration_s(0) == pytest.approx(2.0, abs=0.06)  # an mp3 is whole frames of 26 ms
    part = source.read_excerpt(0, 0.7, 1.0)
    inner = np.arange(15, 86) * 0.01
    # The codec bends the glide a little; the 1105 samples by which mp3 decoders may be late would be 45 cents.
    errors = cents_between(measured_hz(part.voice, inner), glide_hz(0.7 + inner))
    assert abs(np.median(errors)) < 2


def test_songs_may_have_their_notes_beside_them(tmp_path: Path) -> None:
    write_sound(tmp_path / "3" / "vocals.flac", glide())
    (tmp_path / "3" / "3_groundtruth.txt").write_text("0.1 0.2 69\n0.3, 0.4, 57\n")
    item = opened("cmedia", tmp_path)[0]
    assert set(np.round(item.f0_hz).tolist()) == {0, 220, 440}


def names(source: Source) -> list[str]:
    return [source.name(index) for index in range(len(source))]


def test_mir_st500_keeps_its_official_split(tmp_path: Path) -> None:
    make_mir_st500(tmp_path, ("train/1", "train/9", "train/40", "train/399", "test/401", "test/409"))
    (tmp_path / "train" / "7").mkdir()  # gone from YouTube
    splits = {split: names(opened("mir-st500", tmp_path, split)) for split in ("train", "valid", "test")}
    assert splits == {"train": ["1", "40"], "valid": ["9", "399"], "test": ["401", "409"]}
    assert len(opened("mir-st500", tmp_path, "all")) == 6


def test_cmedia_is_split_by_song(tmp_path: Path) -> None:
    make_cmedia(tmp_path, ("Cmedia-train/1", "Cmedia-train/19", "Cmedia-train/100"))
    splits = {split: names(opened("cmedia", tmp_path, split)) for split in ("train", "valid", "test")}
    assert splits == {"train": ["1"], "valid": ["19"], "test": ["100"]}


def test_vocadito_is_split_by_singer(tmp_path: Path) -> None:
    for number in (1, 3, 4, 5, 6, 7):
        make_vocadito(tmp_path, number)
    rows = "1,S1,50,Tagalog\n2,S2,65,Spanish\n3,S1,52,Tagalog\n4,S3,47,Catalan\n5,S4,57,Catalan\n6,S5,61,English\n"
    (tmp_path / "vocadito_metadata.csv").write_text("track_id,singer_id,average_pitch,language\n" + rows)
    (tmp_path / "Audio" / "._vocadito_1.wav").write_bytes(b"what a Mac puts into archives")
    assert len(opened("vocadito", tmp_path, "all")) == 6
    with pytest.raises(UserError, match=r"metadata\.csv does not list the singer of vocadito_7"):
        opened("vocadito", tmp_path, "train")
    (tmp_path / "Audio" / "vocadito_7.wav").unlink()
    splits = {split: names(opened("vocadito", tmp_path, split)) for split in ("train", "valid", "test")}
    train = ["vocadito_1", "vocadito_3", "vocadito_4"]
    assert splits == {"train": train, "valid": ["vocadito_5"], "test": ["vocadito_6"]}


def test_ikala_is_split_by_singer(tmp_path: Path) -> None:
    for song in range(6):
        make_ikala(tmp_path, f"1000{song}_verse")
    (tmp_path / "id_mapping.txt").write_text("singer\tsong_id\n" + "".join(f"{n}\t1000{n}\n" for n in range(6)))
    splits = {split: names(opened("ikala", tmp_path, split)) for split in ("train", "valid", "test")}
    assert splits["valid"] == ["10003_verse"]
    assert splits["test"] == ["10004_verse"]
    assert len(splits["train"]) == 4


def test_mdb_stem_synth_is_split_by_artist(tmp_path: Path) -> None:
    artists = [f"Artist{number}" for number in range(12)]
    for artist in artists:
        for stem in ("Song_STEM_01", "Other_STEM_02"):
            make_mdb(tmp_path, f"{artist}_{stem}")
    splits = {
        split: {name.split("_")[0] for name in names(opened("mdb-stem-synth", tmp_path, split))}
        for split in ("train", "valid", "test")
    }
    assert set.union(*splits.values()) == set(artists)
    assert sum(len(group) for group in splits.values()) == len(artists)
    assert len(splits["train"]) > len(splits["valid"]) + len(splits["test"])


def test_what_is_not_annotated_is_cut(tmp_path: Path) -> None:
    make_vocadito(tmp_path)
    write_time_f0(tmp_path / "Annotations" / "F0" / "vocadito_1_f0.csv", 256 / RATE, seconds=1.5)
    source = opened("vocadito", tmp_path)
    assert source.duration_s(0) == pytest.approx(1.5, abs=256 / RATE)
    assert len(source[0].voice) == pytest.approx(16_000 * source.duration_s(0), abs=1)
    with pytest.raises(UserError, match=r"vocadito_1\.wav has no sound at 1\.8 s: it lasts 1\.50 s"):
        source.read_excerpt(0, 1.8, 0.1)


@pytest.mark.parametrize("kind", ["vocadito", "mir-st500"])
def test_an_annotation_of_another_recording_is_named(kind: str, tmp_path: Path) -> None:
    MAKERS[kind](tmp_path)
    sound = next(tmp_path.rglob("*.wav"))
    write_sound(sound, glide(1.0))
    for look in (lambda source: source[0], lambda source: source.duration_s(0), lambda source: source.check()):
        with pytest.raises(UserError, match=rf"{sound.name} lasts 1\.00 s but its label 2\.\d\d s: replace"):
            look(opened(kind, tmp_path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.5,A4", r"line 3: '0\.5,A4' is not seconds,Hz"),
        ("0.5", r"line 3: '0\.5' is not seconds,Hz"),
        ("0.5,220,1", r"line 3: '0\.5,220,1' is not seconds,Hz"),
        ("0.5,9e11", r"line 3: '0\.5,9e11' has an f0 outside 1 to 10000 Hz"),
        ("0.5,inf", r"line 3: '0\.5,inf' has an f0 outside 1 to 10000 Hz"),
        ("-0.5,220", r"line 3: '-0\.5,220' has a time outside 0 to"),
        ("0,5,220,0", r"line 3: '0,5,220,0' has decimal commas"),
        ("", r"line 3: '' is not seconds,Hz"),
        ("0.01,220", r"line 3: 0\.01 s does not come after the line before"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    make_vocadito(tmp_path)
    label = tmp_path / "Annotations" / "F0" / "vocadito_1_f0.csv"
    label.write_text(f"0.0,0.0\n0.01,0.0\n{line}\n1.9,0.0\n")
    with pytest.raises(UserError, match=r"vocadito_1_f0\.csv, " + message):
        opened("vocadito", tmp_path)[0]


@pytest.mark.parametrize("text", ["", "time,f0\n", "0.0,0.0\n0.1,x\nlast\n"])
def test_an_empty_or_foreign_label_is_named(tmp_path: Path, text: str) -> None:
    make_vocadito(tmp_path)
    (tmp_path / "Annotations" / "F0" / "vocadito_1_f0.csv").write_text(text)
    with pytest.raises(UserError, match=r"vocadito_1_f0\.csv(, line \d: .* is not seconds,Hz| is empty)"):
        opened("vocadito", tmp_path).duration_s(0)


def test_a_missing_label_is_named(tmp_path: Path) -> None:
    make_mdb(tmp_path)
    label = tmp_path / "annotation_stems" / "Artist_Song_STEM_01.RESYN.csv"
    source = opened("mdb-stem-synth", tmp_path)
    label.unlink()
    with pytest.raises(FileNotFoundError, match=r"STEM_01\.RESYN\.wav has no label: put .*STEM_01\.RESYN\.csv there"):
        opened("mdb-stem-synth", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"STEM_01\.RESYN\.csv is missing"):
        source.duration_s(0)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ('{"1": [[0, 1, "A"]]}', r"song 1, note 1: \[0, 1, 'A'\] is not a note"),
        ('{"1": [[0, 1, 60], [1, 2]]}', r"song 1, note 2: \[1, 2\] is not a note"),
        ('{"1": [[1, 0.5, 60]]}', r"song 1, note 1: \[1, 0\.5, 60\] is not a note"),
        ('{"1": [[-1, 0.5, 60]]}', "song 1, note 1: .* is not a note"),
        ('{"1": [[0, 1, 0]]}', "song 1, note 1: .* is not a note"),
        ('{"1": 3}', "does not hold lists of notes by song"),
        ("[1]", "does not hold lists of notes by song"),
        ("{", "cannot be read: not JSON"),
        ("{}", "has no notes of the song .*1"),
    ],
)
def test_bad_notes_are_named(tmp_path: Path, notes: str, message: str) -> None:
    make_mir_st500(tmp_path)
    (tmp_path / "MIR-ST500_20210206" / "MIR-ST500_corrected.json").write_text(notes)
    with pytest.raises(UserError, match=r"MIR-ST500_corrected\.json,? " + message):
        opened("mir-st500", tmp_path)


def test_songs_without_notes_or_readable_sound_are_named(tmp_path: Path) -> None:
    make_mir_st500(tmp_path)
    (tmp_path / "MIR-ST500_20210206" / "MIR-ST500_corrected.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/1 has no notes: put MIR-ST500_corrected\.json into"):
        opened("mir-st500", tmp_path)
    (tmp_path / "train" / "1" / "Mixture.wav").rename(tmp_path / "train" / "1" / "Mixture.m4a")
    with pytest.raises(UserError, match=r"Mixture\.m4a has a format that cannot be read: convert it to one of \.wav"):
        opened("mir-st500", tmp_path)


def test_a_song_that_is_there_twice_is_named(tmp_path: Path) -> None:
    make_mir_st500(tmp_path, ("train/1", "test/1"))
    with pytest.raises(
        UserError, match=r"train/1 and .*test/1 are the same song|test/1 and .*train/1 are the same song"
    ):
        opened("mir-st500", tmp_path)


@pytest.mark.parametrize("kind", ["vocadito", "ikala"])
def test_splits_by_singer_need_the_table(kind: str, tmp_path: Path) -> None:
    MAKERS[kind](tmp_path)
    with pytest.raises(FileNotFoundError, match=r"is missing: .* use the split 'all'"):
        opened(kind, tmp_path, "train")


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("voccadito:{root}", "all", r"'voccadito' in 'voccadito:.*' is no data set: choose one of mdb-stem-synth, "),
        ("vocadito:{root}/nowhere", "all", "nowhere is not a folder: give the folder of the unpacked data set"),
        ("vocadito:{root}", "all", "has no folder Audio"),
        ("cmedia:{root}", "train", "holds no recording of the split 'train'"),
        ("cmedia:{root}", "dev", "no split 'dev' of .*: choose one of train, valid, test, all"),
        ("{root}/nowhere", "train", "nowhere/train is not a folder"),
        (" , ", "train", "names no data: give a folder, or KIND:FOLDER"),
        ("", "train", "names no data: give a folder, or KIND:FOLDER"),
    ],
)
def test_what_cannot_be_opened_is_reported_in_one_sentence(tmp_path: Path, spec: str, split: str, message: str) -> None:
    with pytest.raises((UserError, FileNotFoundError), match=message) as raised:
        open_source(spec.format(root=tmp_path), split)
    assert "\n" not in str(raised.value)


def test_several_sets_are_one_source(tmp_path: Path) -> None:
    hybrid = tmp_path / "Hy,brid"  # a comma of its own
    write_hybrid_pair(hybrid / "test", "solo", glide(rate=16_000), None, glide_hz(np.arange(201) * 0.01))
    assert names(open_source(str(hybrid), "test")) == ["solo"]
    hybrid = hybrid.rename(tmp_path / "Hybrid")
    make_mir_st500(tmp_path / "st500", ("test/401", "test/402"))
    both = open_source(f"{hybrid}, MIR-ST500:{tmp_path / 'st500'}", "test")
    assert isinstance(both, Concatenated)
    assert names(both) == ["solo", "401", "402"] == [both[index].name for index in range(3)]
    assert [both.duration_s(index) for index in range(3)] == [2.0, 2.0, 2.0]
    assert both.read_excerpt(2, 0.5, 0.25).name == "402"
    both.check()
    copy = pickle.loads(pickle.dumps(Segments(both)))  # as worker processes get it
    np.testing.assert_array_equal(copy[1].f0_hz, both[1].f0_hz)
    with pytest.raises(IndexError):
        both[3]
    (hybrid / "test" / "solo.pv").write_text("text\n")
    with pytest.raises(UserError, match=r"solo\.pv, line 1"):
        both.check()


def test_a_windows_path_and_a_folder_with_a_colon_are_folders(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    write_hybrid_pair(folder / "test", "solo", glide(rate=16_000), None, glide_hz(np.arange(201) * 0.01))
    assert names(open_source(str(folder), "test")) == ["solo"]
    assert names(open_source(f"hybrid:{folder}", "test")) == ["solo"]
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        open_source("C:\\data", "test")
