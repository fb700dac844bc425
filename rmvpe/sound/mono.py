"""Parts of a recording to one array of mono samples at 16 kHz, held once, and which channels become it."""

from collections.abc import Iterable, Iterator
from numbers import Real

import numpy as np

from rmvpe.errors import UserError
from rmvpe.sound.parts import Part

SAMPLE_RATE_HZ = 16_000
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 4_000_000
MAX_MAGNITUDE = 1e12  # full scale is 1; the spectrum of much larger values overflows float32
FIRST_SAMPLES = 1 << 24  # room before the first sample, at most: 17 minutes, 64 MB; a header may lie about the length
Channel = int | str  # "mean", or the number of a channel from 0


class Samples:
    """Float32 samples in one array that grows."""

    def __init__(self, expected: int) -> None:
        self._array = np.empty(max(1, min(expected, FIRST_SAMPLES)), dtype=np.float32)
        self._expected, self.count = expected, 0

    def append(self, samples: np.ndarray) -> None:
        """Add samples at the end."""
        self._reserve(self.count + len(samples))
        self._array[self.count : self.count + len(samples)] = samples
        self.count += len(samples)

    def resize(self, count: int) -> None:
        """Cut the end off, or add zeros."""
        self._reserve(count)
        self._array[self.count : count] = 0.0
        self.count = count

    def finish(self) -> np.ndarray:
        """The samples; nothing can be added any more."""
        self._array.resize(self.count, refcheck=False)
        return self._array

    def _reserve(self, count: int) -> None:
        if count > len(self._array):
            # what the header says, once half of it has been found there; else half as much again
            size = self._expected if count <= self._expected <= 2 * count else count + count // 2
            self._array.resize(max(size, count), refcheck=False)


def collect(parts: Iterable[Part], name: str, channel: Channel = "mean") -> tuple[np.ndarray, float]:
    """Samples float32 [n] at 16 kHz and the duration in seconds of consecutive `parts`.

    channel: "mean" of the channels, or a channel's number from 0. Raises UserError for an impossible sample rate, a
    channel that is not there, and a sample that is no number.
    """
    out, duration_s = Samples(0), 0.0
    for index, part in enumerate(parts):
        rate = _checked_rate(part.sample_rate, name)
        if index == 0:
            out = Samples(int((part.frames or 0) * SAMPLE_RATE_HZ // rate) + 1)
        if part.start_s is not None and part.start_s > duration_s:
            duration_s = part.start_s
            out.resize(int(duration_s * SAMPLE_RATE_HZ))
        try:
            duration_s += _add(out, part.blocks, rate, name, channel, duration_s)
        except MemoryError as error:
            length_s = max(duration_s + (part.frames or 0) / rate, out.count / SAMPLE_RATE_HZ)
            raise UserError(
                f"{name} is too long for the memory of this machine: it lasts {length_s / 3600:.1f} hours; cut it into "
                "pieces"
            ) from error
    return out.finish(), duration_s


def _add(out: Samples, blocks: Iterator[np.ndarray], rate: float, name: str, channel: Channel, start_s: float) -> float:
    """Resample a part to the end of `out`; its duration in seconds."""
    resampler = None
    if rate != SAMPLE_RATE_HZ:
        import soxr

        resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
    begin, n_in = out.count, 0
    for block in blocks:
        mono = one_channel(block, channel, name)
        _check_samples(mono, start_s + n_in / rate, rate, name)
        out.append(mono if resampler is None else resampler.resample_chunk(mono))
        n_in += len(block)
    if resampler is not None:
        out.append(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
    # soxr rounds the length up or down; one sample more could add a frame after the end of the audio
    out.resize(begin + (max(1, int(n_in * SAMPLE_RATE_HZ // rate)) if n_in else 0))
    return n_in / rate


def one_channel(block: np.ndarray, channel: Channel, name: str) -> np.ndarray:
    """Float32 [frames] of [frames, channels]: the mean, or one of them; too large values become infinite."""
    channels = block.shape[1]
    if not isinstance(channel, str) and not 0 <= channel < channels:
        raise UserError(
            f"{name} has {channels} channel{'s' * (channels > 1)}: there is no channel {channel + 1} "
            "(counted from 1), choose another"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(channel, str):
            mono = block[:, 0] if channels == 1 else block.mean(axis=1, dtype=np.float64)
        else:
            mono = block[:, channel]
        return np.ascontiguousarray(mono, dtype=np.float32)


def _checked_rate(sample_rate: float, name: str) -> float:
    if not isinstance(sample_rate, Real) or isinstance(sample_rate, bool):
        raise UserError(f"the sample rate must be a number of Hz, such as 44100, not {sample_rate!r}")
    if not MIN_RATE_HZ <= sample_rate <= MAX_RATE_HZ:
        raise UserError(
            f"{name} has a sample rate of {sample_rate} Hz: it must be between {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz"
        )
    return float(sample_rate)


def _check_samples(mono: np.ndarray, start_s: float, sample_rate: float, name: str) -> None:
    bad = ~(np.abs(mono) <= MAX_MAGNITUDE)  # true for NaN as well
    if bad.any():
        first = int(bad.argmax())
        raise UserError(
            f"{name} holds {mono[first]} at {start_s + first / sample_rate:.3f} s, which is no audio sample: "
            "repair the file or cut that part out"
        )
