"""Audio files and arrays to mono float32 at 16 kHz; paths and folders to lists of sound files.

libsndfile reads the files, and what it cannot read PyAV or ffmpeg. Mono is the mean of the channels. Resampling is
soxr's high quality (`HQ`, https://sourceforge.net/projects/soxr), block by block, so that long audio is never in memory
at its own rate; the result is not shifted in time. N samples at rate r become floor(16000 N / r) samples, at least one,
so that the number of 10 ms frames is floor(duration / 10 ms) + 1 at every rate.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmvpe.arrays import samples_by_channels
from rmvpe.sound import channels
from rmvpe.sound.files import (
    ONE_CASE,
    AudioFile,
    below_common_folder,
    check_readable,
    find_audio,
    with_unique_names,
)
from rmvpe.sound.mono import SAMPLE_RATE_HZ, Channel, collect
from rmvpe.sound.parts import Part
from rmvpe.sound.reading import Source, channel_note, read_source

__all__ = [
    "ONE_CASE",
    "SAMPLE_RATE_HZ",
    "AudioFile",
    "Recording",
    "below_common_folder",
    "check_readable",
    "find_audio",
    "from_array",
    "read",
    "read_stdin",
    "to_mono_16k",
    "with_unique_names",
]

BLOCK_VALUES = 1 << 19  # samples times channels in memory at a time, at the original rate: 2 MB


@dataclass(frozen=True)
class Recording:
    """`samples` float32 [n], mono at 16 kHz; `duration_s` of the original (n / 16000 may be one sample less).

    warnings: sentences that name the file and tell what sound is missing. notes: what was decided; nothing is missing.
    """

    samples: np.ndarray
    duration_s: float
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(
    path: Source, *, channel: Channel = "auto", track: int | None = None, block_values: int = BLOCK_VALUES
) -> Recording:
    """Read a sound file as mono samples [n] at 16 kHz, `block_values` samples times channels at a time.

    path: a path, the bytes of a file, or a binary stream. Its content decides how it is read, not its name. channel:
    "mean" of the channels, "left", "right", or a number from 0; "auto" is the mean unless the channels cancel each
    other or one is the other delayed: then it is the louder one, which a note tells. track: which audio track, from 1;
    None: the one that players choose. Raises UserError if the file is missing, is no sound file, has no such channel or
    track, or holds a sample that is not a finite number (the message gives the time of the first).
    """
    samples, duration_s, findings = read_source(path, channel, track, block_values)
    return Recording(samples, duration_s, tuple(findings.warnings), tuple(findings.notes))


def read_stdin(*, channel: Channel = "auto", track: int | None = None) -> Recording:
    """Read the sound file that comes over standard input. Arguments and errors are those of `read`."""
    return read(sys.stdin.buffer, channel=channel, track=track)


def from_array(
    audio: Any, sample_rate: float, *, channel: Channel = "auto", block_values: int = BLOCK_VALUES
) -> Recording:
    """Mono samples at 16 kHz of an array [n] or [n, channels] at `sample_rate` Hz.

    The array may be numpy's, a tensor of torch on any device, an array of JAX, a Series of pandas, a list of floats, or
    what else numpy reads; [1, n] is one channel. Floats have full scale 1; integers of 8, 16 or 32 bits (uint8 is
    centred on 128, as in wav files) are scaled to it. `block_values` samples times channels are converted at a time;
    `channel` as for `read`. Raises UserError for another shape (also for [channels, n], which torchaudio uses) or type
    (64-bit integers have no known full scale), an impossible sample rate, or a sample that is not finite.
    """
    array = samples_by_channels(audio)
    rows = max(1, block_values // array.shape[1])

    def parts() -> Iterator[Part]:
        blocks = (_to_float(array[start : start + rows]) for start in range(0, len(array), rows))
        yield Part(sample_rate, blocks, frames=len(array))

    wanted = channels.checked(channel)
    watch = channels.Watch()
    samples, duration_s = collect(watch.over(parts()) if wanted == "auto" else parts(), "audio", wanted)
    verdict = watch.verdict()
    if verdict is None:
        return Recording(samples, duration_s)
    samples, duration_s = collect(parts(), "audio", verdict[0])
    return Recording(samples, duration_s, notes=(channel_note("audio", *verdict),))


def to_mono_16k(audio: Any, sample_rate: float) -> np.ndarray:
    """The samples of `from_array`: float32 [n], mono at 16 kHz. Arguments and errors are the same."""
    return from_array(audio, sample_rate).samples


def _to_float(block: np.ndarray) -> np.ndarray:
    """Floats as they are, integers scaled to full scale 1."""
    if block.dtype.kind == "f":
        return block
    centre = 128.0 if block.dtype == np.uint8 else 0.0
    return (block - centre) / 2.0 ** (8 * block.dtype.itemsize - 1)
