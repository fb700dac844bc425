"""Folders of recordings with annotations beside them: what is found, how lines are read, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.readers.folder import Annotated, annotation_of, read_annotation
from rmvpe.data.readers.registry import open_source
from rmvpe.errors import UserError


def sound(path: Path, seconds: float = 1.0, rate: int = 16000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.1 * np.sin(2 * np.pi * 200 * np.arange(int(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave * (channel + 1) for channel in range(channels)], axis=1), rate)
    return path


def lines(seconds: float = 1.0, step_s: float = 0.01) -> str:
    return "".join(f"{time_s:.6f},{200.0 if time_s > 0.5 else 0.0}\n" for time_s in np.arange(0, seconds, step_s))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders as people have them: 10 ms rows beside the sound, vocadito's names and grid, other files."""
    sound(tmp_path / "resynth" / "12.flac").with_suffix(".csv").write_text(lines())
    sound(tmp_path / "vocadito" / "vocadito_1.wav", 2.0, 44100)
    (tmp_path / "vocadito" / "vocadito_1_f0.csv").write_text(lines(2.0, 256 / 44_100))
    sound(tmp_path / "raw" / "12.flac")
    (tmp_path / "README.md").write_text("what this is")
    return tmp_path


def test_recordings_with_annotation_are_found_at_any_depth(folder: Path):
    source = Annotated(folder)
    assert [source.name(index) for index in range(len(source))] == ["resynth/12", "vocadito/vocadito_1"]
    item = source[0]
    assert item.name == "resynth/12"
    assert item.accompaniment is None
    assert item.voice.dtype == np.float32
    np.testing.assert_allclose(item.time_s, 0.01 * np.arange(100), atol=1e-9)
    np.testing.assert_array_equal(item.f0_hz > 0, item.time_s > 0.505)
    item = source[1]
    assert item.time_s[1] == pytest.approx(256 / 44_100, abs=1e-6)  # its own grid, six decimals
    assert len(item.voice) == pytest.approx(32000, abs=50)  # resampled; annotated to half a step before 2 s
    source.check()


def test_open_source_knows_it_and_its_splits(folder: Path):
    assert len(open_source(f"folder:{folder}", "test")) == len(open_source(f"folder:{folder}", "all")) == 2
    assert open_source(f"folder:{folder}", "resynth").name(0) == "12"  # a split is a folder where there is one
    with pytest.raises(UserError, match="has no folder train: make it, or use the split test or all"):
        open_source(f"folder:{folder}", "train")


def test_stereo_is_averaged(tmp_path: Path):
    sound(tmp_path / "a.wav", channels=2).with_suffix(".csv").write_text(lines())
    voice = Annotated(tmp_path)[0].voice
    assert np.abs(voice).max() == pytest.approx(0.15, abs=1e-3)  # of 0.1 and 0.2, in 16 bits


@pytest.mark.parametrize(
    "text",
    [
        "0.0,0\n0.01,220.5\n",
        "time_s,f0_hz\n0.0,0\n0.01,220.5\n",
        "\ufefftime_s,f0_hz,voiced,confidence\n0.0,0,0,0.1\n0.01,220.5,1,0.9\n",
        "# seconds Hz\n0.0 0\n\n0.01\t220.5",
        "0,0;x\r\n0.01 , 220.5;y\r\n",
    ],
)
def test_ways_to_write_lines(text: str, tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    time_s, f0_hz = read_annotation(path)
    np.testing.assert_array_equal(time_s, [0.0, 0.01])
    np.testing.assert_array_equal(f0_hz, np.array([0.0, 220.5], np.float32))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no points"),
        ("time_s,f0_hz\n", "holds no points"),
        ("0.0,0\n0.01,high\n", "line 2: '0.01,high' is not time_s,f0_hz; write 0 Hz"),
        ("0.0,0\n0.01,inf\n", "line 2"),
        ("0.0,0\n\n0.01,1e5\n", "line 3"),
        ("0.0\n0.01\n", "line 1"),
        ("0.0,0\n0.02,0\n0.02,0\n", "line 3: '0.02,0' does not come after the line before: sort the times"),
    ],
)
def test_lines_that_are_no_annotation(text: str, words: str, tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.csv") as error:
        read_annotation(path)
    assert words in str(error.value)


def test_which_file_is_the_annotation(tmp_path: Path):
    recording = tmp_path / "a.b.wav"
    assert annotation_of(recording) is None
    for name in ("a.b.f0.csv", "a.b_f0.csv", "a.b.csv"):
        (tmp_path / name).touch()
        assert annotation_of(recording) == tmp_path / name


def test_lengths_that_differ(tmp_path: Path):
    label = sound(tmp_path / "a.wav", 3.0).with_suffix(".csv")
    label.write_text(lines(1.0))
    source = Annotated(tmp_path)
    assert source.duration_s(0) == pytest.approx(0.995)  # cut there: what is not annotated is not silence
    assert len(source[0].voice) == 15920
    label.write_text(lines(3.4))
    assert source.duration_s(0) == 3.0
    label.write_text(lines(5.0))
    with pytest.raises(UserError, match=r"a\.csv goes on until 5\.00 s but .*a\.wav lasts 3\.00 s: replace"):
        _ = source[0]


def test_folders_without_annotations(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="gone is not a folder"):
        Annotated(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no sound file"):
        Annotated(tmp_path)
    sound(tmp_path / "a.wav")
    with pytest.raises(UserError, match=r"holds recordings but no annotation: put NAME\.csv or NAME_f0\.csv"):
        Annotated(tmp_path)
