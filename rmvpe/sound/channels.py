"""Whether the mean of the channels keeps the voice, judged over a whole recording in bounded memory."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from rmvpe.errors import UserError
from rmvpe.sound.mono import Channel
from rmvpe.sound.parts import Part

NAMES = ("auto", "mean", "left", "right")
# The sum of the channels has less than half the power of the louder one only if they cancel: uncorrelated channels have
# more, and a channel at 0.3 of the other's level with opposite sign is where this begins
CANCELLED = 0.5
# Where only a part of a recording cancels: stretches of so many samples in which less than this of the power is left,
# and how much of all power they must hold. Reverb alone never leaves so little; a voice with loud noise in its pauses,
# of opposite sign, had 0.34 at most
STRETCH, STRETCH_CANCELLED, STRETCH_SHARE = 8192, 0.03, 0.4
FRAME_S = 0.17  # of a spectrum, at least; the number of samples is a power of 2
ALL_FRAMES, EVERY = 64, 4  # so many frames are all analysed, which short recordings need, then one of so many
MIN_DELAY_S, MAX_DELAY_S = 2.5e-3, 35e-3
# Height of the whitened cross-correlation at its peak, 1 for a pure delay, and how often it is that without delay.
# Voices of 2 to 6 s with light noise, one channel delayed by 3 to 30 ms, at 16, 44.1 and 48 kHz: 0.81 to 1.0, and 4.9
# times or more. Ordinary stereo: up to 0.48, and 0.7 times where it is above 0.27 (chorus, early reflections, a part of
# the mix delayed); if the louder half of a mix is delayed, 0.67 but 2.2 times
DELAYED, TIMES_NEAR = 0.5, 3.0
BAND_HZ = (80.0, 6000.0)


def checked(channel: Channel) -> Channel:
    """`channel` as "auto", "mean" or a number from 0. Raises UserError for anything else."""
    if isinstance(channel, str) and channel in ("auto", "mean"):
        return channel
    if isinstance(channel, str) and channel in ("left", "right"):
        return ("left", "right").index(channel)
    if isinstance(channel, (int, np.integer)) and not isinstance(channel, bool) and channel >= 0:
        return int(channel)
    raise UserError(f"channel {channel!r} is unknown: give {', '.join(NAMES)} or a number")


class Watch:
    """Passes parts through and keeps sums that tell whether channels cancel or are delayed copies."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._power = np.zeros(0)
        self._sum_power = self._cancelled_power = 0.0
        self._frame = 0  # samples, known with the rate
        self._cross = np.zeros(0, dtype=np.complex128)
        self._spectra = np.zeros((2, 0))
        self._rest, self._turn = np.zeros((0, 2)), 0
        self._same = True

    def over(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The same parts, watched."""
        for part in parts:
            self._same &= self._rate in (0.0, part.sample_rate)
            self._rate = part.sample_rate
            yield Part(part.sample_rate, self._blocks(part.blocks), part.start_s, part.frames)

    def _blocks(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            if block.shape[1] > 1 and len(block):
                self._add(block)
            yield block

    def _add(self, block: np.ndarray) -> None:
        if len(self._power) not in (0, block.shape[1]):
            self._same = False
            return
        with np.errstate(over="ignore", invalid="ignore"):
            centred = block - block.mean(axis=0, dtype=np.float64)
            power = np.einsum("ij,ij->j", centred, centred)
            self._power = power if not len(self._power) else self._power + power
            summed = np.square(centred.sum(axis=1))
            self._sum_power += float(summed.sum())
            starts = np.arange(0, len(block), STRETCH)
            loudest = np.add.reduceat(np.square(centred), starts).max(axis=1)
            self._cancelled_power += float(loudest[np.add.reduceat(summed, starts) < STRETCH_CANCELLED * loudest].sum())
            if block.shape[1] == 2 and self._same:
                self._add_spectra(block)

    def _add_spectra(self, block: np.ndarray) -> None:
        if not self._frame:
            self._frame = 1 << max(1, math.ceil(math.log2(FRAME_S * self._rate)))
            self._cross = np.zeros(self._frame // 2 + 1, dtype=np.complex128)
            self._spectra = np.zeros((2, self._frame // 2 + 1))
        waiting = np.concatenate([self._rest, block]) if len(self._rest) else block
        window = np.hanning(self._frame)[:, None]
        whole = len(waiting) // self._frame * self._frame
        for start in range(0, whole, self._frame):
            self._turn += 1
            if self._turn <= ALL_FRAMES or self._turn % EVERY == 1:
                left, right = np.fft.rfft(waiting[start : start + self._frame] * window, axis=0).T
                self._cross += right * np.conj(left)
                self._spectra += np.abs(np.stack([left, right])) ** 2
        self._rest = np.array(waiting[whole:], dtype=np.float64)

    def verdict(self) -> tuple[int, str] | None:
        """The channel to take instead of the mean and the reason; None if the mean is right."""
        if not self._same or len(self._power) < 2 or not self._power.max() > 0 or not np.isfinite(self._power).all():
            return None
        loudest = int(np.argmax(self._power > 0.98 * self._power.max()))  # of equal ones, the first
        delay_s, height, near = self.peak()
        if height > max(DELAYED, TIMES_NEAR * near):
            return loudest, f"one channel is the other delayed by {1000 * delay_s:.0f} ms"
        if self._sum_power < CANCELLED * self._power.max():
            return loudest, "the channels cancel each other"
        if self._cancelled_power > STRETCH_SHARE * self._power.max():
            return loudest, "the channels cancel each other in a part of it"
        return None

    def peak(self) -> tuple[float, float, float]:
        """The delay in seconds between two channels at which they are most alike, how much, and how much without delay.

        It is the cross-correlation of all that is coherent, each frequency with the same weight: 1 for a pure delay.
        """
        nothing = (0.0, 0.0, 0.0)
        if not self._spectra.any():
            return nothing
        hz = np.fft.rfftfreq(self._frame, 1 / self._rate)
        used = (hz > BAND_HZ[0]) & (hz < min(BAND_HZ[1], 0.45 * self._rate))
        strength = np.sqrt(self._spectra[0] * self._spectra[1])
        used &= strength > 1e-4 * strength[used].max(initial=0.0)
        if used.sum() < 20:
            return nothing
        white = np.zeros_like(self._cross)
        white[used] = self._cross[used] / strength[used]
        curve = np.abs(np.fft.irfft(white, self._frame)) * self._frame / (2 * used.sum())
        lags = np.minimum(np.arange(self._frame), self._frame - np.arange(self._frame)) / self._rate
        far = np.where((lags >= MIN_DELAY_S) & (lags <= MAX_DELAY_S), curve, 0.0)
        best = int(np.argmax(far))
        return float(lags[best]), float(far[best]), float(curve[lags < MIN_DELAY_S].max())
