"""The training stream: source -> excerpt -> augment -> log-mel -> targets -> batch, on grain, in numpy.

There is one deterministic stream for both trainers. Example `i` depends on (seed, i) alone, so torch and JAX get the
same numbers in the same order, whatever the number of ranks, and a run that resumes after `i` examples goes on with the
next. Without augmentation the log-mel of an excerpt is a slice of the log-mel that inference computes of the whole file
(same function, real context at both ends).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from rmvpe.config import MelConfig, TrainConfig
from rmvpe.data.augment import CONTEXT_S, Excerpt, augment, draw_key_shift, happens
from rmvpe.data.mixing import RMS_FLOOR, active_rms
from rmvpe.data.readers.base import Item, Source
from rmvpe.data.targets import salience_target
from rmvpe.framing import frame_times
from rmvpe.interpolation import f0_at_times
from rmvpe.mel import log_mel
from rmvpe.processes import ONE_RANK, Ranks

Example = dict[str, np.ndarray]  # the fields of a `Batch` for one excerpt; grain stacks them
DEFAULT_VOICE_RMS = 0.05  # -26 dBFS, for items without voice: only ratios to it matter


@dataclass(frozen=True, eq=False)
class Batch:
    """Training examples, stacked along the first axis."""

    log_mel: np.ndarray  # float32 [B, T, n_mels]
    target: np.ndarray  # float32 [B, T, 360]
    f0_hz: np.ndarray  # float32 [B, T], 0 = unvoiced
    index: np.ndarray  # int64 [B], of the item in its source
    start_s: np.ndarray  # float64 [B], where the excerpt begins in the item


class BatchStream(Protocol):
    """An endless iterator of batches."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __next__(self) -> Batch: ...

    def close(self) -> None:
        """End the threads or processes that prepare the batches."""
        ...


class GrainStream:
    """A `BatchStream` over an iterator of grain.

    Up to grain 0.2.13, the last one for Python 3.10, an iterator has no `close`: it ends its threads and processes when
    it is deleted.
    """

    def __init__(self, iterator: Iterator[Batch]) -> None:
        self._iterator = iterator

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch; StopIteration after `close`."""
        return next(self._iterator)

    def close(self) -> None:
        """End the threads or processes that prepare the batches."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()
        self._iterator = iter(())


def cut(audio: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples [start, stop) of `audio` [samples], mirrored outside it, as by a centred STFT of the whole."""
    before, after = max(0, -start), max(0, stop - len(audio))
    piece = audio[max(start, 0) : min(stop, len(audio))]
    return np.pad(piece, (before, after), mode="reflect") if before or after else piece


def cut_with_context(audio: np.ndarray, start: int, stop: int, context: int) -> np.ndarray:
    """`cut`, preceded by the `context` samples before it; before the recording begins they are silence."""
    before = audio[max(start - context, 0) : max(start, 0)]
    return np.concatenate([np.zeros(context - len(before), dtype=audio.dtype), before, cut(audio, start, stop)])


def random_part(audio: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of `audio`, [n_samples]; audio that is shorter is repeated."""
    if len(audio) < n_samples:
        audio = np.tile(audio, -(-n_samples // len(audio)))
    start = int(rng.integers(len(audio) - n_samples + 1))
    return audio[start : start + n_samples]


def at_speed(audio: np.ndarray, speed: float) -> np.ndarray:
    """`audio` [n] played `speed` times as fast, and so much higher: float32 [n / speed, rounded down or up]."""
    import soxr

    return soxr.resample(audio, speed, 1.0).astype(np.float32)


def followed_by_silence(item: Item, n_samples: int) -> Item:
    """The item, with silence after it if it has fewer than `n_samples`."""
    if len(item.voice) >= n_samples:
        return item
    missing = (0, n_samples - len(item.voice))
    accompaniment = None if item.accompaniment is None else np.pad(item.accompaniment, missing)
    return replace(item, voice=np.pad(item.voice, missing), accompaniment=accompaniment)


@dataclass(frozen=True)
class MakeExample:
    """Item index -> one augmented training example; a grain random map.

    The accompaniment may come from another item (`foreign`), and so may a second, quieter voice (`backing`).
    """

    source: Source
    config: TrainConfig

    def __call__(self, index: int, rng: np.random.Generator) -> Example:
        """Item `index` -> log-mel [T, n_mels], target [T, bins] and where the excerpt comes from."""
        mel = self.config.model.mel
        excerpt, first, key_shift = self.draw(index, rng)
        mix, f0_hz = augment(excerpt, mel, self.config.augment, rng)
        origin = {"index": np.array(index, np.int64), "start_s": np.array(first * mel.hop_s)}
        return example(mix, f0_hz, key_shift, mel) | origin

    def draw(self, index: int, rng: np.random.Generator) -> tuple[Excerpt, int, float]:
        """A random excerpt of item `index` before augmentation, its first frame, and its key shift in semitones."""
        mel, frames = self.config.model.mel, self.config.excerpt_frames
        item = followed_by_silence(self.source[index], frames * mel.hop_samples)
        n_frames = len(item.voice) // mel.hop_samples + 1
        first = int(rng.integers(max(1, n_frames - frames + 1)))
        f0_hz = self._f0(item, n_frames)
        voice_rms = active_rms(item.voice, f0_hz, mel.hop_samples)
        f0_excerpt = f0_hz[first : first + frames]
        key_shift = draw_key_shift(f0_excerpt, mel, self.config.augment, rng)
        start, stop = excerpt_samples(first, frames, key_shift, mel)
        context = round(CONTEXT_S * mel.sample_rate)
        accompaniment = item.accompaniment
        if accompaniment is not None:
            foreign = self._foreign(context + stop - start, rng)
            accompaniment = cut_with_context(accompaniment, start, stop, context) if foreign is None else foreign
        excerpt = Excerpt(
            voice=cut_with_context(item.voice, start, stop, context),
            accompaniment=accompaniment,
            f0_hz=f0_excerpt,
            voice_rms=voice_rms if voice_rms > RMS_FLOOR else DEFAULT_VOICE_RMS,
            context=context,
            backing=self._backing(context + stop - start, rng),
        )
        return excerpt, first, key_shift

    def _f0(self, item: Item, n_frames: int) -> np.ndarray:
        return f0_at_times(item.time_s, item.f0_hz, frame_times(n_frames, self.config.model.mel))

    def _another(self, rng: np.random.Generator) -> Item:
        return self.source[int(rng.integers(len(self.source)))]

    def _foreign(self, n_samples: int, rng: np.random.Generator) -> np.ndarray | None:
        """Another item's accompaniment, with the configured probability; None to keep the item's own."""
        if not happens(self.config.augment.foreign_probability, rng):
            return None
        other = self._another(rng).accompaniment
        if other is None:
            return None
        if not happens(self.config.augment.music_speed_probability, rng):
            return random_part(other, n_samples, rng)
        speed = 2.0 ** (rng.uniform(*self.config.augment.music_speed_semitones) / 12.0)
        return at_speed(random_part(other, math.ceil(n_samples * speed) + 1, rng), speed)[:n_samples]

    def _backing(self, n_samples: int, rng: np.random.Generator) -> np.ndarray | None:
        """Another item's voice, scaled to an active RMS of 1, with the configured probability."""
        if not happens(self.config.augment.backing_probability, rng):
            return None
        other, hop = self._another(rng), self.config.model.mel.hop_samples
        level = active_rms(other.voice, self._f0(other, len(other.voice) // hop + 1), hop)
        return random_part(other.voice, n_samples, rng) / np.float32(level) if level > RMS_FLOOR else None


def excerpt_samples(first: int, frames: int, key_shift: float, mel: MelConfig) -> tuple[int, int]:
    """The samples [start, stop) that the uncentred log-mel of `frames` frames from frame `first` reads."""
    window = int(np.round(mel.window_samples * 2.0 ** (key_shift / 12.0)))
    start = first * mel.hop_samples - window // 2
    return start, start + (frames - 1) * mel.hop_samples + window


def example(mix: np.ndarray, f0_hz: np.ndarray, key_shift: float, mel: MelConfig) -> Example:
    """Log-mel [T, n_mels], target [T, 360] and key-shifted f0 [T] of the audio `mix` of one excerpt."""
    shifted = f0_hz * 2.0 ** (key_shift / 12.0)
    return {
        "log_mel": log_mel(mix, mel, key_shift_semitones=key_shift, centred=False),
        "target": salience_target(shifted),
        "f0_hz": shifted.astype(np.float32),
    }


def training_examples(source: Source, config: TrainConfig) -> Any:
    """An endless grain MapDataset whose item `i` is training example `i`, an `Example`; it can be sliced anywhere."""
    import grain

    indices = grain.MapDataset.range(len(source)).seed(config.seed).shuffle().repeat()
    return indices.random_map(MakeExample(source, config))


def training_dataset(source: Source, config: TrainConfig, ranks: Ranks = ONE_RANK, first_example: int = 0) -> Any:
    """An endless grain MapDataset whose item `i` is this process's part of `Batch` `i` after `first_example` examples.

    Batch `i` of all ranks together is examples [i G, (i + 1) G) from there on, G = batch_size x ranks, rank after rank.
    """
    return _stacked(source, config, ranks, first_example).map(to_batch)


def training_batches(
    source: Source, config: TrainConfig, ranks: Ranks = ONE_RANK, first_example: int = 0, threads: int = 2
) -> BatchStream:
    """This process's batches after `first_example` examples, prefetched.

    `config.num_workers` processes prepare them, or, if that is 0, `threads` threads of this process: the numbers and
    their order are the same.
    """
    import grain

    stacked = _stacked(source, config, ranks, first_example)
    if not config.num_workers:
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=8 * max(threads, 1))
        return GrainStream(iter(stacked.to_iter_dataset(options).map(to_batch)))
    from absl import flags

    if not flags.FLAGS.is_parsed():  # grain's workers read absl's flags, which only an absl program parses
        flags.FLAGS.mark_as_parsed()
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    workers = grain.MultiprocessingOptions(num_workers=config.num_workers, per_worker_buffer_size=4)
    # Dicts of arrays leave the workers through shared memory; a `Batch` would be pickled
    return GrainStream(iter(stacked.to_iter_dataset(options).mp_prefetch(workers).map(to_batch)))


def to_batch(stacked: Example) -> Batch:
    """A `Batch` of stacked examples."""
    return Batch(**stacked)


def _stacked(source: Source, config: TrainConfig, ranks: Ranks, first_example: int) -> Any:
    """As `training_dataset`, but of dicts of stacked arrays."""
    examples = training_examples(source, config)[first_example:]
    # The stream is endless and loses nothing by this; grain's length of a stream in batches of one would overflow
    batches = examples.batch(config.batch_size * ranks.local, drop_remainder=True)
    return batches[ranks.process :: ranks.processes]
