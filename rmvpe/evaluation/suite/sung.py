"""How the synthesised conditions sing: functions of random numbers that give a voice and its exact f0."""

from collections.abc import Callable

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.synthesis.contours import FRAME_S, FRAME_SAMPLES, at_every_sample, smooth_noise
from rmvpe.data.synthesis.demo import REGISTERS_HZ
from rmvpe.evaluation.suite.clips import PHRASE_S, REST_S, SCALES, frames_of_clip, plain_contour, tune
from rmvpe.evaluation.suite.voices import Sung, integral, jittered, level_of, phrases, scaled, sing, whisper
from rmvpe.pitch import hz_to_midi, midi_to_hz

Sing = Callable[[np.random.Generator], Sung]
MAN_BELOW_HZ = 250.0
LONG_S = (1.4, 2.4)  # phrases with room for a vibrato
FRY_HZ = (35.0, 70.0)
CHOIR_CENTS, CHOIR_DRIFT_CENTS = 15.0, 8.0  # how far singers are apart, and each drifts
SECOND_DB = -6.0
THIRDS = (3.0, 4.0)
FADE_S = 0.01
RATE_WINDOW_S = 0.01  # from label to label; the periods of a fry are longer


def register(range_hz: tuple[float, float]) -> Sing:
    """Steady notes and glides within `range_hz`."""

    def make(rng: np.random.Generator) -> Sung:
        f0_hz = plain_contour(range_hz, rng)
        scale = SCALES[0] if range_hz[1] < MAN_BELOW_HZ else SCALES[1]
        return sing(f0_hz, phrases(len(f0_hz), rng, PHRASE_S, REST_S), rng, scale=scale)

    return make


def vibrato(depth_cents: float, rate_hz: float) -> Sing:
    """Long notes whose f0 swings by `depth_cents` up and down, `rate_hz` times per second, from the first moment."""

    def make(rng: np.random.Generator) -> Sung:
        number = int(rng.integers(len(REGISTERS_HZ)))
        note_hz = plain_contour(REGISTERS_HZ[number], rng, LONG_S)
        swing = np.sin(2.0 * np.pi * (rate_hz * FRAME_S * np.arange(len(note_hz)) + rng.random()))
        f0_hz = note_hz * np.exp2(depth_cents / 1200.0 * swing)
        return sing(f0_hz, phrases(len(f0_hz), rng, LONG_S, REST_S), rng, scale=SCALES[number])

    return make


def fry(jitter: float) -> Sing:
    """A creaking voice: so few pulses per second that they are heard one by one, `jitter` of the period apart.

    True is the rate of the period at hand, not that of the contour before the jitter.
    """

    def make(rng: np.random.Generator) -> Sung:
        f0_hz = plain_contour(FRY_HZ, rng)
        periods = jittered(integral(at_every_sample(f0_hz)), jitter, rng)
        creak = sing(f0_hz, phrases(len(f0_hz), rng, PHRASE_S, REST_S), rng, periods=periods)
        return Sung(creak.sound, np.where(creak.f0_hz > 0, rate(periods), 0.0))

    return make


def rate(periods: np.ndarray) -> np.ndarray:
    """Periods per second [frames] in the 10 ms around each frame, from `periods` at every sample."""
    half = round(RATE_WINDOW_S / 2 * SAMPLE_RATE_HZ)
    centres = np.arange(len(periods) // FRAME_SAMPLES + 1) * FRAME_SAMPLES
    first, last = np.maximum(centres - half, 0), np.minimum(centres + half, len(periods) - 1)
    return (periods[last] - periods[first]) / (last - first) * SAMPLE_RATE_HZ


def tuned(step_s: float, semitones: tuple[int, ...]) -> Sing:
    """A voice moved onto semitones: a step of some of `semitones`, up or down, every `step_s`, without any glide.

    A step lies in the middle between two frames, so that no label is at it.
    """

    def make(rng: np.random.Generator) -> Sung:
        frames, length = frames_of_clip(), round(step_s / FRAME_S)
        number = int(rng.integers(len(REGISTERS_HZ)))
        low, high = np.round(hz_to_midi(np.array(REGISTERS_HZ[number])))
        keys = [low + int(rng.integers(round(high - low)))]
        for _ in range(frames // length):
            step = int(rng.choice(semitones)) * int(rng.choice((-1, 1)))
            keys.append(keys[-1] + (step if low <= keys[-1] + step <= high else -step))
        f0_hz = midi_to_hz(np.repeat(keys, length)[:frames])
        nearest = (np.arange((frames - 1) * FRAME_SAMPLES) + FRAME_SAMPLES // 2) // FRAME_SAMPLES
        voiced = phrases(frames, rng, PHRASE_S, REST_S)
        return sing(f0_hz, voiced, rng, scale=SCALES[number], periods=integral(f0_hz[nearest]))

    return make


def child(scale: float, range_hz: tuple[float, float]) -> Sing:
    """A song in `range_hz` with formants `scale` times those of a man."""

    def make(rng: np.random.Generator) -> Sung:
        f0_hz, voiced = tune(range_hz, rng)
        return sing(f0_hz, voiced, rng, scale=scale)

    return make


# Ten years: Peterson and Barney 1952. Four years: a vocal tract of 11 cm against 17
CHILDREN = {"10 years": child(1.35, (240.0, 360.0)), "4 years": child(1.55, (300.0, 420.0))}


def whispered(rng: np.random.Generator) -> Sung:
    """A whisper in phrases."""
    return whisper(phrases(frames_of_clip(), rng, PHRASE_S, REST_S), rng, float(rng.choice(SCALES)))


def choir(count: int) -> Sing:
    """`count` singers in unison, each with a tuning, a drift and a vocal tract of their own, on the same vowels."""

    def make(rng: np.random.Generator) -> Sung:
        number = int(rng.integers(len(REGISTERS_HZ)))
        f0_hz, voiced = tune(REGISTERS_HZ[number], rng)
        seed = int(rng.integers(1 << 32))
        offsets = rng.normal(0.0, CHOIR_CENTS, count)
        offsets -= offsets.mean()  # the section is in tune
        sound = np.zeros((len(f0_hz) - 1) * FRAME_SAMPLES)
        for cents in offsets:
            drift = CHOIR_DRIFT_CENTS * smooth_noise(len(f0_hz), 0.3, rng)
            own_hz = f0_hz * np.exp2((cents + drift) / 1200.0)
            periods = integral(at_every_sample(own_hz)) + rng.random()
            scale = SCALES[number] * rng.uniform(0.95, 1.05)
            sound += sing(own_hz, voiced, np.random.default_rng(seed), scale=scale, periods=periods).sound
        return Sung(sound, np.where(voiced, f0_hz, 0.0))

    return make


def duet(sign: int) -> Sing:
    """Two voices a third apart, in parallel; the second is above (`sign` 1) or below (-1) and 6 dB softer."""

    def make(rng: np.random.Generator) -> Sung:
        number = int(rng.integers(len(REGISTERS_HZ)))
        f0_hz, voiced = tune(REGISTERS_HZ[number], rng)
        lead = sing(f0_hz, voiced, rng, scale=SCALES[number])
        second_hz = f0_hz * np.exp2(sign * rng.choice(THIRDS) / 12.0)
        second = sing(second_hz, voiced, rng, scale=SCALES[number] * rng.uniform(0.92, 1.08)).sound
        level = level_of(lead.sound, voiced)
        return Sung(lead.sound + scaled(second, level_of(second, voiced), level, SECOND_DB), lead.f0_hz)

    return make


def pure_tone(f0_hz: np.ndarray) -> np.ndarray:
    """A sine wave of RMS 1 along `f0_hz` [frames], its ends faded; [(frames - 1) x 80]."""
    tone = np.sqrt(2.0) * np.sin(2.0 * np.pi * integral(at_every_sample(f0_hz)))
    edge = min(round(FADE_S * SAMPLE_RATE_HZ), len(tone) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    tone[:edge] *= ramp
    tone[len(tone) - edge :] *= ramp[::-1]
    return tone
