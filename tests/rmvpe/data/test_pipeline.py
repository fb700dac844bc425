"""The training stream: deterministic, resumable, and made of the log-mel that inference computes."""

import dataclasses
import multiprocessing

import numpy as np
import pytest

from rmvpe.config import AugmentConfig, ModelConfig, TrainConfig
from rmvpe.data import augment, effects
from rmvpe.data.pipeline import (
    Batch,
    MakeExample,
    at_speed,
    cut,
    cut_with_context,
    excerpt_samples,
    training_batches,
    training_dataset,
)
from rmvpe.data.readers.base import Item
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.targets import salience_target
from rmvpe.mel import log_mel
from rmvpe.pitch import cents_between
from rmvpe.processes import Ranks
from tests.helpers.batches import arrays
from tests.helpers.hybrid import make_hybrid
from tests.helpers.sources import MemorySource

pytest.importorskip("grain")
MEL = ModelConfig.small().mel
PLAIN = AugmentConfig.none()


class Glides(MemorySource):
    """Items of two seconds: a gliding tone with a label on the 10 ms grid from line 1, and noise beside it."""

    def __init__(self, count: int = 6, accompanied: bool = True) -> None:
        self.count, self.accompanied = count, accompanied

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        time = np.arange(32000) / 16000
        f0 = 150.0 * 2.0 ** (index / 3 + time / 2)
        voice = 0.3 * np.sin(2 * np.pi * np.cumsum(f0) / 16000)
        noise = np.random.default_rng(index).standard_normal(len(time)) * 0.05
        grid = 0.01 * np.arange(1, 201)
        return Item(
            name=str(index),
            voice=voice.astype(np.float32),
            accompaniment=noise.astype(np.float32) if self.accompanied else None,
            f0_hz=(150.0 * 2.0 ** (index / 3 + grid / 2)).astype(np.float32),
            time_s=grid,
        )


def config(settings: AugmentConfig | None = None, **changes) -> TrainConfig:
    return dataclasses.replace(
        TrainConfig(augment=settings or AugmentConfig(), batch_size=4, excerpt_frames=64), **changes
    )


def assert_same(batch: Batch, other: Batch) -> None:
    for name, array in arrays(batch).items():
        np.testing.assert_array_equal(array, getattr(other, name), err_msg=name)


def test_batches_are_the_same_for_any_thread_count_and_start():
    reference = [training_dataset(Glides(), config())[step] for step in range(4)]
    for threads, first in ((1, 0), (3, 0), (2, 2)):
        stream = training_batches(Glides(), config(), first_example=4 * first, threads=threads)
        for step in range(first, 4):
            assert_same(next(stream), reference[step])
        stream.close()


def test_another_seed_gives_other_batches():
    one, other = (training_dataset(Glides(), config(seed=seed))[0].log_mel for seed in (0, 1))
    assert np.abs(one - other).max() > 0.1


def test_training_mel_is_a_slice_of_the_inference_mel():
    audio = Glides()[2].voice
    whole = log_mel(audio, MEL)
    for first in (0, 3, 50, len(whole) - 64):
        start, stop = excerpt_samples(first, 64, 0.0, MEL)
        piece = log_mel(cut(audio, start, stop), MEL, centred=False)
        np.testing.assert_array_equal(piece, whole[first : first + 64])


def test_stream_shows_mel_and_target_of_the_same_moment():
    batch = training_dataset(Glides(), config(PLAIN))[0]
    wholes = [(log_mel(item.voice, MEL), item) for item in (Glides()[index] for index in range(6))]
    for mel, f0_hz, target in zip(batch.log_mel, batch.f0_hz, batch.target):
        found = [
            (first, item)
            for whole, item in wholes
            for first in range(len(whole) - 63)
            if np.array_equal(whole[first : first + 64], mel)
        ]
        assert len(found) == 1
        first, item = found[0]
        # Frame k is at k * 10 ms, line k of the label too, and line k is entry k - 1
        expected = np.concatenate([[0.0], item.f0_hz])[first : first + 64]
        voiced = expected > 0
        np.testing.assert_array_equal(f0_hz > 0, voiced)
        np.testing.assert_allclose(f0_hz[voiced], expected[voiced], rtol=1e-6)
        np.testing.assert_array_equal(target, salience_target(f0_hz.astype(np.float64)).astype(np.float32))


def test_key_shift_moves_mel_and_label_together():
    shifting = dataclasses.replace(PLAIN, key_shift_probability=1.0, key_shift_semitones=(7.0, 7.0))
    batch = training_dataset(Glides(1), config(shifting))[0]
    plain = training_dataset(Glides(1), config(PLAIN))[0]
    voiced = (batch.f0_hz > 0) & (plain.f0_hz > 0)
    # The window next to 1534.2 samples that is a whole number without large prime factors, to float32
    cents = 1200 * np.log2(1536 / 1024)
    np.testing.assert_allclose(cents_between(batch.f0_hz[voiced], plain.f0_hz[voiced]), cents, atol=0.01)
    bands = np.argmax(batch.log_mel[voiced], axis=-1) - np.argmax(plain.log_mel[voiced], axis=-1)
    # A fifth up at 150-300 Hz is 3 to 7 of the 128 mel bands
    assert np.median(bands) >= 3


def test_context_is_what_came_before_or_silence():
    audio = np.arange(1.0, 5001.0, dtype=np.float32)
    np.testing.assert_array_equal(cut_with_context(audio, 2000, 3000, 1500), audio[500:3000])
    np.testing.assert_array_equal(
        cut_with_context(audio, 1000, 3000, 1500), np.concatenate([np.zeros(500), audio[:3000]])
    )
    mirrored = cut_with_context(audio, -500, 3000, 1500)  # what an STFT mirrors was never recorded: it has no tail
    assert not mirrored[:1500].any()
    np.testing.assert_array_equal(mirrored[1500:], cut(audio, -500, 3000))


def test_an_excerpt_in_a_room_sounds_as_in_the_whole_recording():
    """Reverberation of what comes before the excerpt reaches into it: its context is that of the recording."""
    source = Glides(1, accompanied=False)
    make = MakeExample(source, config(PLAIN))
    voice = source[0].voice
    for seed in range(6):
        rng = np.random.default_rng(seed)
        excerpt, first, key_shift = make.draw(0, rng)
        assert key_shift == 0.0
        response = augment.draw_room(MEL.sample_rate, augment.CONTEXT_S, AugmentConfig(), rng)
        wet = log_mel(effects.reverberate(excerpt.voice, response, excerpt.context), MEL, centred=False)
        whole = log_mel(np.convolve(voice.astype(np.float64), response)[: len(voice)], MEL)
        inner = slice(4, 60)  # away from the mirrored ends of the recording, which a room treats otherwise
        # float32 transforms leave -140 dB of noise, which is seen next to the log-mel's floor of -100 dB only
        np.testing.assert_allclose(wet[inner], whole[first : first + 64][inner], atol=0.02)
        np.testing.assert_array_equal(excerpt.f0_hz > 0, np.arange(64) + first > 0)


def test_backing_voices_are_as_loud_as_asked_and_leave_the_label():
    backed = dataclasses.replace(PLAIN, backing_probability=1.0, backing_db=(40.0, 40.0))
    source = Glides(2, accompanied=False)
    for seed in range(10):
        lead = MakeExample(source, config(PLAIN))(0, np.random.default_rng(seed))
        both = MakeExample(source, config(backed))(0, np.random.default_rng(seed))
        np.testing.assert_array_equal(lead["f0_hz"], both["f0_hz"])
        louder_db = 20 / np.log(10) * (both["log_mel"].max() - lead["log_mel"].max())
        # All tones are equally loud; what one puts into a single mel band varies by 3 dB with where it meets the bands
        np.testing.assert_allclose(louder_db, 40.0, atol=4.0)


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.26])
def test_music_played_faster_is_shorter_and_higher(speed):
    played = at_speed(np.sin(2 * np.pi * 1000 * np.arange(32000) / 16000).astype(np.float32), speed)
    assert len(played) == pytest.approx(32000 / speed, abs=1)
    assert played.dtype == np.float32
    middle = played[4000:20000] * np.hanning(16000)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == pytest.approx(1000 * speed, abs=1)


def test_only_foreign_music_changes_its_speed_and_never_the_voice():
    """Music of another item at another speed; the label and the voice stay."""
    settings = dataclasses.replace(PLAIN, accompaniment_probability=1.0, foreign_probability=1.0, snr_db=(60.0, 60.0))
    faster = dataclasses.replace(settings, music_speed_probability=1.0, music_speed_semitones=(3.0, 3.0))
    batches = [next(training_batches(Glides(), config(changed))) for changed in (settings, faster)]
    assert np.array_equal(batches[0].f0_hz, batches[1].f0_hz)
    assert not np.array_equal(batches[0].log_mel, batches[1].log_mel)
    assert np.abs(batches[0].log_mel.max(-1) - batches[1].log_mel.max(-1)).max() < 0.05  # the voice


def test_short_items_are_followed_by_silence():
    class Short(Glides):
        def __getitem__(self, index: int) -> Item:
            item = super().__getitem__(index)
            assert item.accompaniment is not None
            return Item(item.name, item.voice[:4000], item.accompaniment[:4000], item.f0_hz[:24], item.time_s[:24])

    batch = training_dataset(Short(), config(PLAIN))[0]
    assert batch.log_mel.shape == (4, 64, 128)
    assert (batch.f0_hz[:, 26:] == 0).all()
    np.testing.assert_allclose(batch.log_mel[:, 40:], np.log(MEL.floor), rtol=1e-6)


@pytest.mark.parametrize(("processes", "local", "batch_size"), [(1, 1, 4), (1, 4, 1), (2, 1, 2), (2, 2, 1), (4, 1, 1)])
def test_ranks_share_the_batches_of_one(processes, local, batch_size):
    """However four excerpts per update are spread over processes and devices, rank after rank they are the same."""
    whole = training_dataset(Glides(), config())
    shared = config(batch_size=batch_size)
    for step in range(3):
        parts = [
            training_dataset(Glides(), shared, Ranks(processes, process, local))[step] for process in range(processes)
        ]
        for name in ("log_mel", "target", "index", "start_s"):
            np.testing.assert_array_equal(
                np.concatenate([getattr(part, name) for part in parts]), getattr(whole[step], name)
            )


def test_a_stream_goes_on_in_the_middle_of_an_epoch_with_another_batch_size():
    examples = [training_dataset(Glides(), config(batch_size=1))[number] for number in range(12)]
    later = training_dataset(Glides(), config(batch_size=3), first_example=7)[0]
    for name in ("log_mel", "target", "index", "start_s"):
        np.testing.assert_array_equal(
            getattr(later, name), np.concatenate([getattr(batch, name) for batch in examples[7:10]])
        )


def test_processes_prepare_the_same_batches_as_threads(tmp_path):
    source = Hybrid(make_hybrid(tmp_path / "Hybrid"), "train")
    streams = [training_batches(source, config(num_workers=workers), first_example=5) for workers in (0, 2)]
    for _ in range(4):
        assert_same(*(next(stream) for stream in streams))
    for stream in streams:
        stream.close()
    assert not multiprocessing.active_children()
