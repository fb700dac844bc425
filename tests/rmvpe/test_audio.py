"""Audio in: formats, rates, channels, integers, broken files, folders. Tones written by the test are the truth."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.audio import SAMPLE_RATE_HZ, check_readable, find_audio, from_array, read, to_mono_16k
from rmvpe.errors import UserError

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000)


def chirp(rate: int, seconds: float = 1.0) -> np.ndarray:
    """A glide from 200 to 3000 Hz with a soft start and end: any shift in time shows as a shift in phase."""
    time = np.arange(round(rate * seconds)) / rate
    fade = np.clip(np.minimum(time, seconds - time) / 0.05, 0.0, 1.0)
    return 0.5 * fade * np.sin(2 * np.pi * (200 * time + 1400 * time**2 / seconds))


def write(path: Path, audio: np.ndarray, rate: int = 16000, **options: str) -> Path:
    soundfile.write(path, audio, rate, **options)
    return path


@pytest.mark.parametrize("rate", RATES)
def test_resampling_neither_shifts_nor_colours(rate: int, tmp_path: Path):
    found = read(write(tmp_path / "chirp.wav", chirp(rate), rate, subtype="FLOAT")).samples
    expected = chirp(SAMPLE_RATE_HZ)
    assert found.dtype == np.float32
    assert len(found) == SAMPLE_RATE_HZ
    lags = range(-8, 9)
    scores = [np.dot(found[8 + lag : len(found) - 8 + lag], expected[8:-8]) for lag in lags]
    assert lags[int(np.argmax(scores))] == 0
    # A shift by a tenth of a sample would differ by 0.06 at 3 kHz; soxr's pass band is flat to about 1e-5
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n", [1, 2, 7, 441, 12345])
def test_the_number_of_frames_is_that_of_the_duration(rate: int, n: int):
    samples = to_mono_16k(np.zeros(n), rate)
    assert len(samples) == max(1, n * SAMPLE_RATE_HZ // rate)
    assert len(samples) // 160 + 1 == n * 100 // rate + 1  # floor(duration / 10 ms) + 1


def test_blocks_give_the_samples_of_the_whole_file(tmp_path: Path):
    path = write(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (44100, 2)), 44100)
    whole = read(path)
    pieces = read(path, block_values=1000)
    np.testing.assert_array_equal(pieces.samples, whole.samples)
    assert pieces.duration_s == whole.duration_s == 1.0


FORMATS = [
    ("wav", "PCM_16", 2e-4),
    ("wav", "PCM_24", 1e-6),
    ("wav", "PCM_32", 1e-6),
    ("wav", "PCM_U8", 1e-2),
    ("wav", "FLOAT", 1e-6),
    ("wav", "DOUBLE", 1e-6),
    ("wav", "ULAW", 3e-2),
    ("flac", "PCM_16", 2e-4),
    ("flac", "PCM_24", 1e-6),
    ("aiff", "PCM_16", 2e-4),
    ("au", "PCM_16", 2e-4),
    ("caf", "PCM_16", 2e-4),
    ("w64", "PCM_16", 2e-4),
    ("ogg", "VORBIS", 0.1),  # lossy: close, not equal
    ("mp3", "MPEG_LAYER_III", 0.1),
]


@pytest.mark.parametrize(("ending", "subtype", "tolerance"), FORMATS)
def test_formats(ending: str, subtype: str, tolerance: float, tmp_path: Path):
    if ending.upper() not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {ending}")
    path = write(tmp_path / f"chirp.{ending}", chirp(16000), subtype=subtype)
    found = read(path).samples
    n = min(len(found), 16000)  # mp3 pads its last packet
    assert n >= 15000
    assert np.abs(found[:n] - chirp(16000)[:n]).max() < tolerance


def test_mono_is_the_mean_of_the_channels(tmp_path: Path):
    channels = np.random.default_rng(0).uniform(-1, 1, (4000, 6)).astype(np.float32)
    expected = channels.mean(axis=1)
    for found in (
        read(write(tmp_path / "six.wav", channels, subtype="FLOAT")).samples,
        to_mono_16k(channels, SAMPLE_RATE_HZ),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float16", "float32", "float64"])
def test_arrays_of_every_type_mean_the_same(dtype: str):
    sound = chirp(16000)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        array = sound.astype(kind)
    else:
        full_scale = 2.0 ** (8 * kind.itemsize - 1)
        array = np.round(sound * full_scale + (128 if dtype == "uint8" else 0)).astype(kind)
    assert np.abs(to_mono_16k(array, 16000) - sound).max() < (5e-3 if kind.itemsize == 1 else 3e-4)


@pytest.mark.parametrize(
    ("array", "rate", "words"),
    [
        (np.zeros(100, dtype=np.int64), 16000, "int64.*full scale"),
        (np.zeros(100, dtype=complex), 16000, "complex"),
        (np.zeros((2, 16000)), 16000, r"\[2, 16000\].*transpose"),
        (np.zeros((2, 16000, 2)), 16000, r"\[2, 16000, 2\]"),
        (np.zeros((10, 0)), 16000, r"\[10, 0\]"),
        (np.float32(0.5), 16000, r"shape \[\]"),
        (np.zeros(10), 0, "sample rate"),
        (np.zeros(10), -44100, "sample rate"),
        (np.zeros(10), float("nan"), "sample rate"),
        (np.zeros(10), 44.1, "sample rate of 44.1"),
    ],
)
def test_arrays_that_cannot_be_meant(array: np.ndarray, rate: float, words: str):
    with pytest.raises(UserError, match=words):
        to_mono_16k(array, rate)


def test_no_samples_and_one_sample(tmp_path: Path):
    for channels in (1, 2):
        for rate in (16000, 44100):
            empty = read(write(tmp_path / "empty.wav", np.zeros((0, channels)), rate))
            assert len(empty.samples) == 0
            assert empty.duration_s == 0.0
            one = read(write(tmp_path / "one.wav", np.full((1, channels), 0.5), rate))
            assert len(one.samples) == 1
    assert len(to_mono_16k([], 48000)) == 0


def test_dc_and_clipping_pass_through():
    np.testing.assert_array_equal(to_mono_16k(np.full(1000, 0.25, dtype=np.float32), 16000), np.float32(0.25))
    loud = 3.0 * chirp(16000)  # above full scale: legal in float, none of our business
    np.testing.assert_allclose(to_mono_16k(loud, 16000), loud, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_sample_that_is_no_number_is_named_with_its_time(bad: float, rate: int, tmp_path: Path):
    audio = np.zeros((2 * rate, 2), dtype=np.float32)
    audio[rate + rate // 4, 1] = bad
    path = write(tmp_path / "broken.wav", audio, rate, subtype="FLOAT")
    with pytest.raises(UserError, match=r"broken\.wav.*1\.250 s"):
        read(path)
    with pytest.raises(UserError, match=r"audio holds .*1\.250 s"):
        from_array(audio, rate)


def test_the_time_of_a_bad_sample_counts_earlier_blocks(tmp_path: Path):
    audio = np.zeros(16000)
    audio[12000] = np.nan
    path = write(tmp_path / "broken.wav", audio, subtype="FLOAT")
    for call in (lambda: read(path, block_values=1000), lambda: from_array(audio, 16000, block_values=1000)):
        with pytest.raises(UserError, match=r"nan at 0\.750 s"):
            call()


def test_files_that_are_no_sound(tmp_path: Path):
    (tmp_path / "text.wav").write_text("this is a shopping list\n")
    (tmp_path / "nothing.wav").write_bytes(b"")
    (tmp_path / "cut.flac").write_bytes(write(tmp_path / "ok.flac", chirp(16000)).read_bytes()[:30])
    for name in ("text.wav", "nothing.wav", "cut.flac"):
        with pytest.raises(UserError, match=f"{name}.*ffmpeg"):
            read(tmp_path / name)
    with pytest.raises(UserError, match=r"missing\.wav"):
        read(tmp_path / "missing.wav")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "headerless.raw").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match=r"headerless\.raw.*convert it to wav"):
        read(tmp_path / "headerless.raw")


def test_a_file_without_permission(tmp_path: Path):
    path = write(tmp_path / "secret.wav", chirp(16000))
    # Permissions do not stop root, who runs the tests in a container, so the system's answer is given here
    with pytest.raises(UserError, match=r"secret\.wav.*permissions"):
        check_readable(path, access=lambda *_: False)
    check_readable(path)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, np.zeros(10)) if Path(name).suffix in (".wav", ".flac") else (folder / name).touch()


def names_of(paths: list[Path]) -> dict[str, str]:
    return {file.name.as_posix(): file.path.as_posix() for file in find_audio(paths)}


def test_a_folder_is_searched_in_order_and_keeps_its_shape(tmp_path: Path):
    touch(tmp_path, "b/x.wav", "a/x.wav", "c.flac", "a/deep/er/my.song.wav", "notes.txt", "a/.hidden.wav", ".git/y.wav")
    assert list(names_of([tmp_path])) == ["a/deep/er/my.song", "a/x", "b/x", "c"]


def test_names_do_not_collide(tmp_path: Path):
    touch(tmp_path, "a/x.wav", "b/x.wav", "b/y.wav", "z/p.wav", "z/p.flac")
    assert set(names_of([tmp_path / "a/x.wav", tmp_path / "b/y.wav"])) == {"x", "y"}
    assert set(names_of([tmp_path / "a/x.wav", tmp_path / "b/x.wav"])) == {"a/x", "b/x"}
    assert set(names_of([tmp_path / "a", tmp_path / "b"])) == {"a/x", "b/x", "b/y"}
    assert set(names_of([tmp_path / "z"])) == {"p.wav", "p.flac"}


def test_a_file_given_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "a/x.wav")
    monkeypatch.chdir(tmp_path)
    assert [file.path for file in find_audio(["a/x.wav", tmp_path / "a", "a/../a/x.wav"])] == [Path("a/x.wav")]


def test_paths_without_sound(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty.*give a file or another folder"):
        find_audio([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"gone\.wav"):
        find_audio([tmp_path / "gone.wav"])


def test_a_file_named_by_itself_may_have_any_ending(tmp_path: Path):
    path = write(tmp_path / "take.1.tmp", chirp(16000), format="WAV")
    (found,) = find_audio([path])
    assert found.name == Path("take.1")
    assert len(read(found.path).samples) == 16000
