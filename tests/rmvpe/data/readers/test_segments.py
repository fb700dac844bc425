"""Long recordings in segments: nothing lost, nothing twice, labels to both ends, no more decoded than a segment."""

import dataclasses
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.data.readers.base import Item
from rmvpe.data.readers.hybrid import Hybrid, write_hybrid_pair
from rmvpe.data.readers.registry import open_source
from rmvpe.data.readers.segments import Segments, excerpts
from rmvpe.interpolation import f0_at_times
from tests.helpers.sources import MemorySource

RATE = 16_000


def f0_hz(time_s: np.ndarray) -> np.ndarray:
    """Voiced without end, and never the same twice within 70 s."""
    return 200.0 + np.asarray(time_s)


def write_pair(root: Path, name: str, seconds: float, seed: int = 0) -> None:
    noise = 0.1 * np.random.default_rng(seed).standard_normal((2, round(seconds * RATE)))
    write_hybrid_pair(root / "train", name, noise[0], noise[1], f0_hz(np.arange(round(seconds * 100) + 1) * 0.01))


def test_short_recordings_stay_what_they_are(tmp_path: Path) -> None:
    write_pair(tmp_path, "clip", 2.5)
    write_pair(tmp_path, "limit", 30.0)
    with (tmp_path / "train" / "clip.pv").open("a") as label:
        label.write("0\n0\n")  # within the tolerance, beyond the sound
    source = Hybrid(tmp_path, "train")
    segments = Segments(source)
    assert len(segments) == 2
    for index in range(2):
        assert segments.name(index) == source.name(index)
        assert segments.duration_s(index) == source.duration_s(index)
        for field in dataclasses.fields(Item):
            np.testing.assert_array_equal(getattr(segments[index], field.name), getattr(source[index], field.name))


def test_segments_of_a_long_recording_are_the_recording(tmp_path: Path) -> None:
    write_pair(tmp_path, "song", 65.0)
    source = Hybrid(tmp_path, "train")
    whole, segments = source[0], Segments(source)
    assert [segments.name(index) for index in range(4)] == [
        "song at 0 s",
        "song at 16 s",
        "song at 32 s",
        "song at 48 s",
    ]
    assert [segments.duration_s(index) for index in range(4)] == [16, 16, 16, 17]
    items = [segments[index] for index in range(len(segments))]
    assert [item.name for item in items] == [segments.name(index) for index in range(4)]
    for key in ("voice", "accompaniment"):
        np.testing.assert_array_equal(np.concatenate([getattr(item, key) for item in items]), getattr(whole, key))
    part = segments.read_excerpt(1, 15.0, 9.0)
    assert part.name == "song at 16 s"
    np.testing.assert_array_equal(part.voice, whole.voice[31 * RATE : 32 * RATE])  # ends with its segment


@pytest.mark.parametrize("step_s", [256 / 44_100, 0.032, 0.01])
def test_labels_reach_both_ends_of_a_segment(tmp_path: Path, step_s: float) -> None:
    # 44.1 kHz, and annotations whose points do not fall on the cuts
    (tmp_path / "Audio").mkdir()
    (tmp_path / "Annotations" / "F0").mkdir(parents=True)
    soundfile.write(tmp_path / "Audio" / "vocadito_1.wav", np.zeros(45 * 44_100), 44_100)
    lines = [f"{time:.6f},{f0_hz(time):.6f}\n" for time in np.arange(int(45 / step_s) + 1) * step_s]
    (tmp_path / "Annotations" / "F0" / "vocadito_1_f0.csv").write_text("".join(lines))
    segments = Segments(open_source(f"vocadito:{tmp_path}", "all"))
    assert len(segments) == 3
    for index in range(3):
        item = segments[index]
        frames = np.arange(len(item.voice) // 160 + 1) * 0.01
        start_s = float(item.name.split(" at ")[1].split()[0])
        # Written with six decimals; between two points the logarithm bends the line by less than that.
        np.testing.assert_allclose(f0_at_times(item.time_s, item.f0_hz, frames), f0_hz(start_s + frames), rtol=1e-5)


def test_no_more_is_decoded_than_a_segment(tmp_path: Path) -> None:
    write_pair(tmp_path, "song", 300.0)
    segments = Segments(Hybrid(tmp_path, "train"))
    peaks = []
    for read in (lambda: segments[2], lambda: segments.source[0]):
        tracemalloc.start()
        read()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert segments.duration_s(2) == 20.0
    assert peaks[0] < peaks[1] / 5  # a fifteenth of the sound, and the label


def test_an_epoch_draws_recordings_by_their_length(tmp_path: Path) -> None:
    write_pair(tmp_path, "clip", 10.0)
    write_pair(tmp_path, "song", 200.0)
    segments = Segments(Hybrid(tmp_path, "train"))
    met = Counter(segments.name(index).split(" at ")[0] for index in range(len(segments)))
    assert met == {"clip": 1, "song": 10}


@pytest.mark.parametrize("length_s", [30.01, 39.999, 40.0, 40.001, 59.5, 61.0, 299.37, 3601.0])
def test_cuts_are_even_and_complete(length_s: float) -> None:
    class OneRecording(MemorySource):
        def __len__(self) -> int:
            return 1

        def duration_s(self, index: int) -> float:
            return length_s

    segments = Segments(OneRecording()).segments
    ends = [segment.start_s + segment.length_s for segment in segments]
    assert segments[0].start_s == 0
    assert ends[:-1] == [segment.start_s for segment in segments[1:]]
    assert ends[-1] == length_s
    lengths = [segment.length_s for segment in segments]
    assert max(lengths) < 21
    assert max(lengths) - min(lengths) < 2
    assert all(segment.start_s == int(segment.start_s) for segment in segments)  # a phase of every resampler


def test_excerpts_are_counted(tmp_path: Path) -> None:
    write_pair(tmp_path, "blink", 0.5)
    write_pair(tmp_path, "clip", 2.6)
    write_pair(tmp_path, "song", 31.0)
    source = Hybrid(tmp_path, "train")
    assert excerpts(source, 1.28) == 1 + 2 + 24
    assert excerpts(Segments(source), 1.28) == 1 + 2 + 11 + 12  # segments of 15 and 16 s


def test_the_training_stream_of_clips_is_unchanged(tmp_path: Path) -> None:
    pytest.importorskip("grain")
    from rmvpe.data.pipeline import training_examples

    for number in range(3):
        write_pair(tmp_path, f"clip{number}", 3.0, seed=number)
    config = TrainConfig(model=dataclasses.replace(ModelConfig.small(), dropout=0.0), excerpt_frames=32, batch_size=1)
    source = Hybrid(tmp_path, "train")
    plain, cut = training_examples(source, config), training_examples(Segments(source), config)
    for number in range(4):
        for key, value in plain[number].items():
            np.testing.assert_array_equal(cut[number][key], value)


def test_the_training_stream_goes_through_songs(tmp_path: Path) -> None:
    pytest.importorskip("grain")
    from rmvpe.data.pipeline import training_examples

    write_pair(tmp_path, "song", 65.0)
    augment = dataclasses.replace(TrainConfig().augment, key_shift_probability=0.0, voiceless_probability=0.0)
    config = TrainConfig(model=ModelConfig.small(), excerpt_frames=32, batch_size=1, augment=augment)
    segments = Segments(Hybrid(tmp_path, "train"))
    examples = training_examples(segments, config)
    seen = [examples[number] for number in range(8)]
    assert {int(example["index"]) for example in seen} == {0, 1, 2, 3}
    for example in seen:
        start_s = segments.segments[int(example["index"])].start_s + example["start_s"]
        # Five decimals of a MIDI number in the .pv file
        np.testing.assert_allclose(example["f0_hz"], f0_hz(start_s + 0.01 * np.arange(32)), rtol=1e-5)
