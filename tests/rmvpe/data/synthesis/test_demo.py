"""The demo data set: complete or absent, the same each time, and its labels true to its sound."""

import concurrent.futures
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.synthesis.demo import make_demo
from rmvpe.errors import UserError
from rmvpe.pitch import cents_between


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("data") / "nested" / "demo")


def make_small(folder: Path, seed: int = 0) -> Path:
    """The demo of two clips."""
    return make_demo(folder, seed, {"train": 1, "valid": 1})


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_it_is_a_hybrid_folder_of_three_minutes(folder: Path) -> None:
    train, valid = Hybrid(folder, "train"), Hybrid(folder, "valid")
    train.check()
    valid.check()
    seconds = [sum(source.duration_s(index) for index in range(len(source))) for source in (train, valid)]
    assert seconds == [150, 30]
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]


def test_voice_music_and_silence_are_there(folder: Path) -> None:
    for item in (Hybrid(folder, "train")[0], Hybrid(folder, "valid")[2]):
        voiced = item.f0_hz > 0
        assert 0.5 < voiced.mean() < 0.95
        assert 70 < item.f0_hz[voiced].min() < item.f0_hz.max() < 1100
        loudness = np.sqrt(np.mean(item.voice.reshape(-1, 160) ** 2, axis=1))
        # Voiced frames sound; the hiss before phrases is unvoiced.
        assert np.median(loudness[voiced]) > 0.02
        assert loudness[~voiced].max() > 1e-3
        assert item.accompaniment is not None
        assert 0.05 < np.abs(item.accompaniment).max() < 1


def test_registers_differ(folder: Path) -> None:
    train = Hybrid(folder, "train")
    medians = [np.median(item.f0_hz[item.f0_hz > 0]) for item in (train[0], train[1], train[2])]
    assert medians[0] < medians[1] < medians[2]


def error_cents(voice: np.ndarray, f0_hz: np.ndarray, time_s: np.ndarray) -> float:
    """Median distance between `f0_hz` and the nearest peak of the sound's autocorrelation, 64 ms around each time."""
    errors = []
    for hz, moment in zip(f0_hz, time_s, strict=True):
        middle = round(moment * 16_000)
        frame = voice[middle - 512 : middle + 512] * np.hanning(1024)
        spectrum = np.abs(np.fft.rfft(frame, 1 << 15))
        # The second harmonic's own peak, within a quarter tone and a bit
        low, high = (np.array([0.96, 1.04]) * 2 * hz / 16_000 * (1 << 15)).astype(int)
        peak = low + int(np.argmax(spectrum[low : high + 1]))
        errors.append(float(cents_between(np.array(peak / 2 * 16_000 / (1 << 15)), np.array(hz))))
    return float(np.median(np.abs(errors)))


def test_labels_are_true_to_the_sound(folder: Path) -> None:
    item = Hybrid(folder, "train")[1]
    f0_hz, time_s = item.f0_hz, item.time_s
    # Frames of 64 ms that are voiced all through
    inner = np.flatnonzero(np.convolve(f0_hz > 0, np.ones(9), mode="same") == 9)[::7]
    at_time = error_cents(item.voice, f0_hz[inner], time_s[inner])
    # A transform bin of 0.5 Hz at about 500 Hz is 2 cents; vibrato within 64 ms adds some.
    assert at_time < 6
    # 20 ms off, either way, is worse: the labels have no lag.
    for shift_s in (-0.02, 0.02):
        assert error_cents(item.voice, f0_hz[inner], time_s[inner] + shift_s) > 1.5 * at_time


def test_it_depends_on_the_seed_alone(tmp_path: Path) -> None:
    one, other = make_small(tmp_path / "one"), make_small(tmp_path / "other")
    assert files(one) == files(other)
    assert files(make_small(tmp_path / "third", seed=1)) != files(one)


def test_a_complete_one_is_kept(tmp_path: Path) -> None:
    made = make_small(tmp_path / "demo")
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert make_small(tmp_path / "demo") == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_several_may_make_it_at_once(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        made = list(pool.map(make_small, [tmp_path / "demo"] * 3))
    assert made == [tmp_path / "demo"] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert len(files(tmp_path / "demo")) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX matter")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # less than a clip
    try:
        with pytest.raises(UserError, match=r"cannot write .*demo_train_00\.wav \(.*\): free some space"):
            make_small(tmp_path / "demo")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_what_is_not_the_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Hybrid" / "train").mkdir(parents=True)
    (tmp_path / "Hybrid" / "train" / "mine.wav").write_bytes(b"precious")
    with pytest.raises(UserError, match="Hybrid exists and is not the demo data set: choose another folder"):
        make_small(tmp_path / "Hybrid")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UserError, match="file exists and is not the demo"):
        make_small(tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot write .*inside: .*; choose another folder"):
        make_small(tmp_path / "file" / "inside")
    assert files(tmp_path) == {"Hybrid/train/mine.wav": b"precious", "file": b"a file"}
    (tmp_path / "empty").mkdir()
    assert len(files(make_small(tmp_path / "empty"))) == 4
