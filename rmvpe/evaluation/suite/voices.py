"""Synthetic voices whose f0 is exact: harmonics along a phase that is the integral of the f0, under formants.

The source falls by 12 dB per octave and the lips add 6, so harmonic n has the amplitude 1 / n; the vocal tract is a
cascade of four resonances (Fant 1960, "Acoustic Theory of Speech Production"). Harmonics end below half the sampling
rate, so nothing is folded back. "frames" are 5 ms frames at 16 kHz; f0 is 0 where unvoiced.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.synthesis.contours import FRAME_S, FRAME_SAMPLES, at_every_sample, runs, smoothed
from rmvpe.data.synthesis.demo import FORMANT_WIDTHS_HZ, VOWELS_HZ

HIGHEST_HZ, FADE_HZ = 7600.0, 400.0  # harmonics fade out over so many Hz below the highest
FOURTH_FORMANT_HZ, FOURTH_WIDTH_HZ = 3500.0, 250.0  # of an adult man, about the same for all vowels
WIDTHS_HZ = np.append(FORMANT_WIDTHS_HZ, FOURTH_WIDTH_HZ)
ATTACK_FRAMES = 7  # over which a voice fades in and out, inside its voiced part
BREATH_DB = -32.0  # of the noise of a singing glottis, against the harmonics
HISS_DB = -12.0  # of voiceless consonants, against the vowels
NOISE_WINDOW, NOISE_FFT = 320, 512  # 20 ms: as long as a vowel's spectrum stands still
NOISE_HOLD = 4  # frames for which it is taken to


@dataclass(frozen=True)
class Sung:
    """A voice and its f0: sound float64 [(frames - 1) x 80], f0_hz [frames]."""

    sound: np.ndarray
    f0_hz: np.ndarray


def integral(f0_hz: np.ndarray) -> np.ndarray:
    """Periods since the first sample, [samples], of f0_hz [samples] that is a straight line from sample to sample."""
    between = (f0_hz[1:] + f0_hz[:-1]) / (2.0 * SAMPLE_RATE_HZ)
    return np.concatenate([[0.0], np.cumsum(between)])


def jittered(periods: np.ndarray, jitter: float, rng: np.random.Generator) -> np.ndarray:
    """`periods` [samples] whose pulses come too early or too late.

    jitter: standard deviation of a period's length over its length. Each pulse is moved away from its regular place by
    itself, so that the errors do not add up: the mean rate stays that of `periods`.
    """
    pulses = np.arange(-1, int(periods[-1]) + 3)
    moved = np.clip(rng.standard_normal(len(pulses)), -2.0, 2.0) * (jitter / np.sqrt(2.0))
    return np.interp(periods, pulses + moved, pulses)


def harmonics(
    f0_hz: np.ndarray, periods: np.ndarray, gain: Callable[[np.ndarray], np.ndarray], highest: int | None = None
) -> np.ndarray:
    """The sum of the harmonics of `f0_hz` [frames] > 0, [samples].

    periods: `integral` of the f0 [samples]. gain: amplitude [frames] of a harmonic whose frequency in Hz [frames] it
    gets. highest: the number of the last harmonic, by default the last one below `HIGHEST_HZ`.
    """
    count = int(HIGHEST_HZ / f0_hz.min())
    turn = np.exp(2j * np.pi * periods)
    sound, power = np.zeros(len(periods)), np.ones(len(periods), dtype=np.complex128)
    for number in range(1, min(count, highest or count) + 1):
        power *= turn
        hz = number * f0_hz
        amplitude = gain(hz) * np.clip((HIGHEST_HZ - hz) / FADE_HZ, 0.0, 1.0)
        sound += at_every_sample(amplitude) * power.imag
    return sound


def tract_gain(hz: np.ndarray, formants_hz: np.ndarray) -> np.ndarray:
    """The magnitude [...] of the vocal tract at `hz` [...]; `formants_hz` [..., 4]. 1 at 0 Hz."""
    half = WIDTHS_HZ / 2.0
    squared = np.square(formants_hz) + half**2
    below = np.square(hz[..., None] - formants_hz) + half**2
    above = np.square(hz[..., None] + formants_hz) + half**2
    return np.prod(squared / np.sqrt(below * above), axis=-1)


def vowels(frames: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Formants in Hz [frames, 4]: a new vowel every 0.2 to 0.7 s, with glides of 100 ms.

    scale: of all formants against those of an adult man; 1.17 for a woman and 1.35 for a child of ten are the averages
    of Peterson and Barney 1952, https://doi.org/10.1121/1.1906875.
    """
    changes = np.cumsum(rng.uniform(0.2, 0.7, int(frames * FRAME_S / 0.2) + 1) / FRAME_S)
    which = rng.integers(len(VOWELS_HZ), size=len(changes) + 1)[np.searchsorted(changes, np.arange(frames))]
    moving = [smoothed(VOWELS_HZ[which, formant].astype(float), 21) for formant in range(VOWELS_HZ.shape[1])]
    return scale * np.stack([*moving, np.full(frames, FOURTH_FORMANT_HZ)], axis=1)


def phrases(
    frames: int, rng: np.random.Generator, phrase_s: tuple[float, float], rest_s: tuple[float, float]
) -> np.ndarray:
    """Voicing, bool [frames]: phrases and rests of random length within the two ranges."""
    voiced, at = np.zeros(frames, dtype=bool), round(rng.uniform(0.1, 0.4) / FRAME_S)
    while at < frames - 0.3 / FRAME_S:
        end = at + round(rng.uniform(*phrase_s) / FRAME_S)
        voiced[at : min(end, frames - round(0.1 / FRAME_S))] = True
        at = end + round(rng.uniform(*rest_s) / FRAME_S)
    return voiced


def sing(
    f0_hz: np.ndarray,
    voiced: np.ndarray,
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
    periods: np.ndarray | None = None,
    breath_db: float = BREATH_DB,
) -> Sung:
    """A voice that sings `f0_hz` [frames] > 0 where `voiced` [frames], with breath in it and consonants before phrases.

    scale: see `vowels`. periods: where the phase is not simply the `integral` of the f0. The first formant is never
    below the f0, as high voices tune it (Joliveau, Smith and Wolfe 2004, https://doi.org/10.1038/427116a).
    """
    formants = vowels(len(f0_hz), scale, rng)
    formants[:, 0] = np.maximum(formants[:, 0], f0_hz)
    loudness = np.minimum(smoothed(voiced.astype(float), ATTACK_FRAMES), voiced)
    periods = integral(at_every_sample(f0_hz)) if periods is None else periods
    tone = harmonics(f0_hz, periods, lambda hz: loudness * tract_gain(hz, formants) * (f0_hz / hz))
    level = level_of(tone, voiced)
    breath = noise_through(formants, loudness, rng)
    hiss = consonants(voiced, rng)
    sound = tone + scaled(breath, level_of(breath, voiced), level, breath_db) + scaled(hiss, 1.0, level, HISS_DB)
    return Sung(sound, np.where(voiced, f0_hz, 0.0))


def whisper(voiced: np.ndarray, rng: np.random.Generator, scale: float = 1.0) -> Sung:
    """Vowels and consonants without any pitch where `voiced` [frames]; the f0 is 0 everywhere."""
    loudness = np.minimum(smoothed(voiced.astype(float), ATTACK_FRAMES), voiced)
    breath = noise_through(vowels(len(voiced), scale, rng), loudness, rng)
    level = level_of(breath, voiced)
    return Sung(breath + scaled(consonants(voiced, rng), 1.0, level, HISS_DB), np.zeros(len(voiced)))


def noise_through(formants_hz: np.ndarray, loudness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise through a vocal tract with `formants_hz` [frames, 4], as loud as `loudness` [frames]; [samples].

    A whisper has little energy in the lowest octaves, because the glottis is open: there is 6 dB per octave less.
    """
    frames, half = len(loudness), NOISE_WINDOW // 2
    window = np.hanning(NOISE_WINDOW + 1)[:-1]
    noise = rng.standard_normal((frames - 1) * FRAME_SAMPLES + NOISE_WINDOW)
    pieces = np.lib.stride_tricks.sliding_window_view(noise, NOISE_WINDOW)[::FRAME_SAMPLES][:frames]  # [frames, window]
    hz = np.fft.rfftfreq(NOISE_FFT, 1.0 / SAMPLE_RATE_HZ)
    some_hz = formants_hz[::NOISE_HOLD, None, :]
    gain = tract_gain(np.broadcast_to(hz, (len(some_hz), len(hz))), some_hz) * np.minimum(hz / 1500.0, 1.0)
    gain = np.repeat(gain, NOISE_HOLD, axis=0)[:frames]
    shaped = np.fft.irfft(np.fft.rfft(pieces * window, NOISE_FFT, axis=1) * gain, NOISE_FFT, axis=1)
    shaped = shaped[:, :NOISE_WINDOW] * window * loudness[:, None]
    sound = np.zeros((frames - 1) * FRAME_SAMPLES + NOISE_WINDOW)
    for frame, piece in enumerate(shaped):
        sound[frame * FRAME_SAMPLES : frame * FRAME_SAMPLES + NOISE_WINDOW] += piece
    return sound[half : half + (frames - 1) * FRAME_SAMPLES]


def consonants(voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A hiss of RMS about 1 and of 60 to 120 ms before most voiced parts: sound without pitch, [samples]."""
    sound = np.zeros((len(voiced) - 1) * FRAME_SAMPLES)
    for start, _ in runs(voiced):
        length = round(rng.uniform(0.06, 0.12) * SAMPLE_RATE_HZ)
        end = start * FRAME_SAMPLES
        hiss = np.diff(rng.standard_normal(length + 1))  # a difference of white noise: hardly any low frequencies
        if end >= length and rng.random() < 0.7:
            sound[end - length : end] += hiss * np.hanning(length)
    return sound


def level_of(sound: np.ndarray, voiced: np.ndarray) -> float:
    """RMS of `sound` [(frames - 1) x 80] over the frames that are `voiced` [frames]; 0 if none is."""
    inside = np.repeat(voiced[:-1], FRAME_SAMPLES)
    return float(np.sqrt(np.mean(np.square(sound[inside])))) if inside.any() else 0.0


def scaled(sound: np.ndarray, level: float, against: float, level_db: float) -> np.ndarray:
    """`sound`, whose RMS is `level`, made `level_db` louder than `against`; unchanged if it is silent."""
    return sound * (against / level * 10.0 ** (level_db / 20.0)) if level > 0 else sound
