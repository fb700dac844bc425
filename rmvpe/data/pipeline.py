"""The training stream: source -> excerpt -> augment -> log-mel -> targets -> batch, on grain, in numpy.

One deterministic stream for both trainers: batch `i` depends on (seed, i) alone, so torch and JAX see the same numbers
in the same order, and a run that resumes at step `i` starts reading at batch `i`. The log-mel of an excerpt is a slice
of the log-mel that inference would compute of the whole file (same function, real context at both ends).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rmvpe.config import MelConfig, TrainConfig
from rmvpe.data.augment import RMS_FLOOR, active_rms, augment, draw_key_shift
from rmvpe.framing import frame_times
from rmvpe.mel import log_mel
from rmvpe.targets import f0_at_times, salience_target

Batch = dict[str, np.ndarray]  # "log_mel" [B, T, n_mels], "target" [B, T, 360], "f0_hz" [B, T]
DEFAULT_VOICE_RMS = 0.05  # -26 dBFS, for items in which nobody sings: only ratios to it matter


class Source(Protocol):
    """Random access to items, as `rmvpe.data.sources.Hybrid` gives it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def cut(audio: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples [start, stop) of `audio`, mirrored where they lie outside it, as a centred STFT of the whole would be."""
    before, after = max(0, -start), max(0, stop - len(audio))
    piece = audio[max(start, 0) : min(stop, len(audio))]
    return np.pad(piece, (before, after), mode="reflect") if before or after else piece


def place(audio: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """A random piece of `audio` of `n_samples`, repeated if it is shorter."""
    if len(audio) < n_samples:
        audio = np.tile(audio, -(-n_samples // len(audio)))
    start = int(rng.integers(len(audio) - n_samples + 1))
    return audio[start : start + n_samples]


def followed_by_silence(item: dict[str, Any], n_samples: int) -> dict[str, Any]:
    """The item with its audio lengthened to at least `n_samples`."""
    missing = (0, max(0, n_samples - len(item["voice"])))
    accompaniment = item["accompaniment"]
    return item | {
        "voice": np.pad(item["voice"], missing),
        "accompaniment": None if accompaniment is None else np.pad(accompaniment, missing),
    }


@dataclass(frozen=True)
class TakeExcerpt:
    """Item index -> one augmented training example; a grain random map."""

    source: Source
    config: TrainConfig

    def __call__(self, index: int, rng: np.random.Generator) -> Batch:
        mel, settings = self.config.model.mel, self.config.augment
        frames = self.config.excerpt_frames
        item = followed_by_silence(self.source[index], frames * mel.hop_samples)
        n_frames = len(item["voice"]) // mel.hop_samples + 1
        first = int(rng.integers(max(1, n_frames - frames + 1)))
        times = frame_times(n_frames, mel)
        f0_hz = f0_at_times(item["time_s"], item["f0_hz"], times)
        voice_rms = active_rms(item["voice"], f0_hz, mel.hop_samples)
        f0_excerpt = f0_hz[first : first + frames]
        key_shift = draw_key_shift(f0_excerpt, settings, rng)
        start, stop = excerpt_samples(first, frames, key_shift, mel)
        excerpt = {
            "voice": cut(item["voice"], start, stop),
            "accompaniment": None if item["accompaniment"] is None else cut(item["accompaniment"], start, stop),
            "f0_hz": f0_excerpt,
            "voice_rms": voice_rms if voice_rms > RMS_FLOOR else DEFAULT_VOICE_RMS,
        }
        foreign = self._foreign(stop - start, rng) if item["accompaniment"] is not None else None
        mix, f0_excerpt = augment(excerpt, foreign, mel, settings, rng)
        return example(mix, f0_excerpt, key_shift, mel)

    def _foreign(self, n_samples: int, rng: np.random.Generator) -> np.ndarray | None:
        """Another item's accompaniment, with the configured probability; None to keep the item's own."""
        if rng.random() >= self.config.augment.foreign_probability:
            return None
        other = self.source[int(rng.integers(len(self.source)))]["accompaniment"]
        return None if other is None else place(other, n_samples, rng)


def excerpt_samples(first: int, frames: int, key_shift: float, mel: MelConfig) -> tuple[int, int]:
    """The samples [start, stop) that the uncentred log-mel of `frames` frames from frame `first` reads."""
    window = int(np.round(mel.window_samples * 2.0 ** (key_shift / 12.0)))
    start = first * mel.hop_samples - window // 2
    return start, start + (frames - 1) * mel.hop_samples + window


def example(mix: np.ndarray, f0_hz: np.ndarray, key_shift: float, mel: MelConfig) -> Batch:
    """Log-mel, target and shifted f0 of one excerpt's audio."""
    shifted = f0_hz * 2.0 ** (key_shift / 12.0)
    return {
        "log_mel": log_mel(mix, mel, key_shift_semitones=key_shift, centred=False),
        "target": salience_target(shifted),
        "f0_hz": shifted.astype(np.float32),
    }


def training_dataset(source: Source, config: TrainConfig) -> Any:
    """An endless grain MapDataset whose item `i` is batch `i`; it can be sliced to start anywhere."""
    import grain

    indices = grain.MapDataset.range(len(source)).seed(config.seed).shuffle().repeat()
    return indices.random_map(TakeExcerpt(source, config)).batch(config.batch_size)


def training_batches(source: Source, config: TrainConfig, first_step: int = 0, threads: int = 2) -> Iterator[Batch]:
    """Batches from step `first_step` on, prefetched by `threads` threads."""
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=8 * max(threads, 1))
    return iter(training_dataset(source, config)[first_step:].to_iter_dataset(options))
