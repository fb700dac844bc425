"""Recordings of one's own: what counts as a speaker, what is skipped or cut, and how they get into three splits."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.cli.main import main
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.synthesis import dataset, splits, world_voice
from rmvpe.errors import UserError
from tests.helpers.hybrid import glide

RATE = 16_000
needs_pyworld = pytest.mark.skipif(importlib.util.find_spec("pyworld") is None, reason="pyworld is not installed")


def write(path: Path, seconds: float = 1.0, seed: int = 0, rate: int = RATE) -> None:
    """A gliding tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voice, _ = glide(seed, seconds)
    soundfile.write(path, 0.3 * voice / np.abs(voice).max(), rate)


@pytest.fixture
def singer(tmp_path: Path) -> Path:
    """A plain folder: ten takes of one singer."""
    for take in range(10):
        write(tmp_path / "my-voice" / f"take {take}.wav", seed=take)
    return tmp_path / "my-voice"


def clips(sources: dict[str, dataset.Sources], split: str) -> set[str]:
    return {clip for found in sources[split].voices.values() for clip in found}


def test_a_plain_folder_is_one_speaker_and_is_split_by_recording(singer: Path) -> None:
    sources = dataset.split_sources(singer)
    of_split = {split: clips(sources.of_split, split) for split in splits.SPLITS}
    assert {split: len(found) for split, found in of_split.items()} == {"train": 8, "valid": 1, "test": 1}
    assert set.union(*of_split.values()) == {f"take {take}.wav" for take in range(10)}
    assert list(sources.of_split["train"].voices) == ["my-voice"]
    assert not sources.of_split["train"].music
    assert sources.remarks == ("voices are split by recording: 8 train, 1 valid, 1 test",)
    # By name alone: a moved folder and other sound give the same split
    write(singer / "take 3.wav", seconds=2.0, seed=99)
    again = dataset.split_sources(singer.rename(singer.with_name("elsewhere")))
    assert {split: clips(again.of_split, split) for split in splits.SPLITS} == of_split


def test_many_speakers_are_split_by_speaker(tmp_path: Path) -> None:
    for speaker in range(10):
        write(tmp_path / f"speaker-{speaker}" / "a.wav", seed=speaker)
    sources = dataset.split_sources(tmp_path)
    held = {split: set(sources.of_split[split].voices) for split in splits.SPLITS}
    assert [len(held[split]) for split in splits.SPLITS] == [8, 1, 1]
    assert len(set.union(*held.values())) == 10
    assert "by speaker: 8 train, 1 valid, 1 test" in sources.remarks[-1]


def test_a_song_is_used_in_parts_without_its_pauses(tmp_path: Path) -> None:
    voice, _ = glide(0, 95.0)
    voice = 0.3 * voice / np.abs(voice).max()
    voice[40 * RATE : 62 * RATE] = 0.0
    soundfile.write(tmp_path / "song.flac", voice, RATE)
    sources = dataset.split_sources(tmp_path)
    found = set.union(*(clips(sources.of_split, split) for split in splits.SPLITS))
    assert found == {f"song.flac@{19 * part:.1f}-{19 * part + 19:.1f}" for part in (0, 1, 2, 3, 4)}
    assert "by part of a recording" in sources.remarks[-1]
    lengths = {clip: len(splits.read_clip(tmp_path, clip)) / RATE for clip in found}
    assert lengths["song.flac@0.0-19.0"] == pytest.approx(19.0)
    # 38 to 57 s: 2 s of sound, then a pause of 17 s at its end
    assert lengths["song.flac@38.0-57.0"] == pytest.approx(2.0 + splits.KEPT_PAUSE_S, abs=0.05)
    first = splits.read_clip(tmp_path, "song.flac@0.0-19.0")
    np.testing.assert_allclose(first, voice[: 19 * RATE], atol=2**-15)


def test_short_pauses_stay_to_the_bit() -> None:
    voice, _ = glide(0, 4.0)
    voice[RATE : RATE + round(0.9 * RATE)] = 0.0
    assert splits.without_long_pauses(voice) is voice
    silence = np.zeros(3 * RATE)
    assert splits.without_long_pauses(silence) is silence
    assert len(splits.without_long_pauses(np.zeros(3))) == 3


def test_recordings_without_sound_are_skipped_and_named(singer: Path) -> None:
    soundfile.write(singer / "silence.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(singer / "empty.wav", np.zeros(0), RATE)
    write(singer / "click.wav", seconds=0.4)  # 0.1 s of it sounds
    (singer / "._take 1.wav").write_bytes(b"a Mac's second file")
    remarks = dataset.split_sources(singer).remarks
    assert {line.rpartition(" ")[2] for line in remarks[:-1]} == {"silence.wav", "empty.wav", "click.wav"}


@pytest.mark.parametrize("names", [["a.wav"], ["a.wav", "b.wav", "c.wav", "d.wav"]])
def test_too_little_says_what_is_needed(tmp_path: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        write(tmp_path / name, seed=seed)
    with pytest.raises(UserError, match="at least 5 recordings"):
        dataset.split_sources(tmp_path)


def test_little_music_is_in_every_split_and_that_is_said(singer: Path, tmp_path: Path) -> None:
    write(tmp_path / "music" / "song.wav", seconds=12.0)
    sources = dataset.split_sources(singer, tmp_path / "music")
    assert all(found.music == {"music": ("song.wav",)} for found in sources.of_split.values())
    assert "music is split not at all" in sources.remarks[-1]


@needs_pyworld
def test_the_command_makes_a_hybrid_folder_without_music(
    singer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--train-hours", "0.007", "--valid-minutes", "0.2", "--test-minutes", "0.2"]
    assert main(["prepare", "synthetic", "--voices", str(singer), "--out", str(tmp_path / "data"), *flags]) == 0
    assert "voices are split by recording: 8 train, 1 valid, 1 test" in capsys.readouterr().err
    for split in splits.SPLITS:
        data = Hybrid(tmp_path / "data", split)
        data.check()
        assert all(data[index].accompaniment is None for index in range(len(data)))
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert all(item["music"] is None for item in manifest["items"].values())


@needs_pyworld
@pytest.mark.parametrize("kind", ["sing", "speech", "silent"])
def test_a_clip_without_pitch_makes_an_item_without_pitch(kind: str) -> None:
    """Breath, a rustle: loud enough to be used, but nowhere voiced."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE // 2)
    unvoiced = world_voice.analyse(noise)
    unvoiced = world_voice.Analysis(
        0 * unvoiced.f0_hz, unvoiced.log_envelope, unvoiced.aperiodicity, unvoiced.voiced & False
    )
    plan = dataset.Plan("train", 0, 0, kind, 2.0, ("a",), None)
    voice, _, f0_hz, _ = dataset.render_item(plan, [unvoiced], None)
    assert np.isfinite(voice).all()
    assert not f0_hz.any()


def test_what_is_drawn_from_listed_folders_has_not_changed() -> None:
    """The bundled weights' data can be made again: these plans were drawn by the code that made them (699f636)."""
    voices = {name: tuple(f"{name}/{clip:04d}.flac" for clip in range(3 + len(name))) for name in ("ann", "bertram")}
    music = {name: tuple(f"{name}/{clip:04d}.flac" for clip in range(2 + len(name))) for name in ("band", "orchestra")}
    plans = [
        dataset.plan_item(dataset.Sources(voices, music), split, index, 2)
        for split in splits.SPLITS
        for index in range(40)
    ]
    assert hashlib.sha256(repr(plans).encode()).hexdigest() == PLANS_SHA256


PLANS_SHA256 = "57b7d1e060470f0e090e98ad49802cca0e1b50597ad2b2ee603258f62df25885"
