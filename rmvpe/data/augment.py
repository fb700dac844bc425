"""The augmentation of a training excerpt. Every function takes its random generator.

The order is that of a real recording: voice and music, the room, the microphone's spectrum and band, noise,
compression, overload, a codec, gain. The numbers are drawn here, from the ranges of `AugmentConfig`; the effects are in
`rmvpe.data.effects`. The annotation stays that of the lead voice without effects: reverberation after the end of a note
is unvoiced, a muted voice is unvoiced too, and nothing moves in time.

Frequencies in Hz are those of the sound before the key shift, which the log-mel makes afterwards.
"""

from dataclasses import dataclass

import numpy as np

from rmvpe.config import AugmentConfig, MelConfig
from rmvpe.data import effects
from rmvpe.data.mixing import mix_at_snr

MIN_F0_HZ, MAX_F0_HZ = 32.0, 1990.0  # the salience's range, a little inside its ends
CONTEXT_S = 1.0  # of sound before an excerpt: its reverberation reaches into the excerpt
FILTER_ORDERS = (2, 4, 8)  # 12 dB per octave: a small loudspeaker; 48: a resampler
LEAST_VOICED = 0.25  # share of an excerpt; if the lead sings less, a backing voice would often be the only voice


@dataclass(frozen=True)
class Excerpt:
    """One excerpt of one item, with `context` samples of sound before it.

    An item without accompaniment never gets one: it may be a pure tone, which sounds like an instrument, and over music
    nothing would say which one to track.
    """

    voice: np.ndarray  # [context + samples]
    accompaniment: np.ndarray | None  # [context + samples], its own or foreign
    f0_hz: np.ndarray  # [frames], 0 = unvoiced
    voice_rms: float  # of the item's voiced samples
    context: int  # samples, at least 1; no reverberation is longer
    backing: np.ndarray | None = None  # [context + samples], another voice, of active RMS 1


def happens(probability: float, rng: np.random.Generator) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def log_uniform(low_high: tuple[float, float], rng: np.random.Generator) -> float:
    """A number between two positive ones whose logarithm is uniform."""
    return float(np.exp(rng.uniform(*np.log(low_high))))


def draw_key_shift(f0_hz: np.ndarray, mel: MelConfig, config: AugmentConfig, rng: np.random.Generator) -> float:
    """A key shift in semitones that keeps every voiced frame of `f0_hz` [frames] inside the salience's range, or 0.

    It is rounded, by at most 23 cents, to one whose window length is a whole number and fast to transform.
    """
    if not happens(config.key_shift_probability, rng):
        return 0.0
    drawn = float(rng.uniform(*config.key_shift_semitones))
    semitones = fast_key_shift(drawn, mel.window_samples)
    shifted = f0_hz[f0_hz > 0] * 2.0 ** (semitones / 12.0)
    return semitones if not len(shifted) or (shifted.min() > MIN_F0_HZ and shifted.max() < MAX_F0_HZ) else 0.0


def fast_key_shift(semitones: float, window_samples: int) -> float:
    """The key shift nearest to `semitones` whose stretched window has a whole number of samples, fast to transform."""
    asked = round(window_samples * 2.0 ** (semitones / 12.0))
    window = next(n for away in range(asked) for n in (asked - away, asked + away) if effects.is_fast(n))
    return float(12.0 * np.log2(window / window_samples))


def draw_parts(
    excerpt: Excerpt, config: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """What sounds: the voice or zeros, the accompaniment or None [context + samples], and the f0 [frames].

    An excerpt without voice is music, its own or another item's, or silence (noise may be added to it later).
    """
    voice, music, f0_hz = excerpt.voice, excerpt.accompaniment, excerpt.f0_hz
    if music is not None and happens(config.voiceless_probability, rng):
        music = None if happens(config.silence_probability, rng) else music
        return np.zeros_like(voice), music, np.zeros_like(f0_hz)
    if excerpt.backing is not None and np.mean(f0_hz > 0) >= LEAST_VOICED:
        level = excerpt.voice_rms * 10.0 ** (rng.uniform(*config.backing_db) / 20.0)
        voice = voice + excerpt.backing * np.float32(level)
    return voice, music if happens(config.accompaniment_probability, rng) else None, f0_hz


def draw_room(sample_rate: int, longest_s: float, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """The impulse response [samples] of a random room, of energy 1, at most `longest_s` long."""
    rt60_s, high_share = log_uniform(config.rt60_s, rng), rng.uniform(*config.rt60_high_share)
    ratio_db, pre_delay_s = rng.uniform(*config.direct_to_reverberant_db), rng.uniform(*config.pre_delay_s)
    return effects.room_response(rt60_s, high_share, ratio_db, pre_delay_s, sample_rate, longest_s, rng)


def mix_in_room(
    voice: np.ndarray,
    music: np.ndarray | None,
    excerpt: Excerpt,
    sample_rate: int,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """Voice and music [context + samples] mixed to [samples], perhaps with a room around the voice or around both."""
    context, response = excerpt.context, None
    if happens(config.reverberation_probability, rng):
        response = draw_room(sample_rate, context / sample_rate, config, rng)
    of_mix = response is not None and happens(config.reverberation_of_mix_probability, rng)
    if response is not None and not of_mix:
        voice = effects.reverberate(voice, response, context)
    elif not of_mix:
        voice = voice[context:]
    if music is not None:
        music = music[-len(voice) :]
        voice = mix_at_snr(voice, music, excerpt.voice_rms, float(rng.uniform(*config.snr_db)))
    return effects.reverberate(voice, response, context) if response is not None and of_mix else voice


def draw_spectrum(
    audio: np.ndarray, excerpt: Excerpt, sample_rate: int, config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """`audio` [samples] with a random spectral slope, and a band limit at one end or both, [samples].

    The upper limit stays above the lead's fundamental. Without accompaniment the lower limit stays below it, because a
    pure tone has no other partials.
    """
    tilted, limited = happens(config.tilt_probability, rng), happens(config.band_limit_probability, rng)
    if not tilted and not limited:
        return audio
    tilt_db = rng.uniform(-config.tilt_db, config.tilt_db) if tilted else 0.0
    if not limited:
        return effects.equalise(audio, sample_rate, tilt_db)
    end, order = int(rng.integers(3)), int(rng.choice(FILTER_ORDERS))
    high_pass_hz, low_pass_hz = log_uniform(config.high_pass_hz, rng), log_uniform(config.low_pass_hz, rng)
    sung = excerpt.f0_hz[excerpt.f0_hz > 0]
    if len(sung):
        low_pass_hz = max(low_pass_hz, 1.5 * float(sung.max()))
        high_pass_hz = high_pass_hz if excerpt.accompaniment is not None else min(high_pass_hz, float(sung.min()))
    ends = (high_pass_hz if end != 1 else 0.0, low_pass_hz if end != 0 else float("inf"))
    return effects.equalise(audio, sample_rate, tilt_db, *ends, order)


def augment(
    excerpt: Excerpt, mel: MelConfig, config: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The augmented sound of an excerpt, float32 [samples], and its f0 [frames] in Hz, before any key shift."""
    rate = mel.sample_rate
    voice, music, f0_hz = draw_parts(excerpt, config, rng)
    mix = mix_in_room(voice, music, excerpt, rate, config, rng)
    mix = draw_spectrum(mix, excerpt, rate, config, rng)
    if happens(config.noise_probability, rng):
        noise = effects.coloured_noise(len(mix), rate, rng.uniform(*config.noise_colour), rng)
        mix = mix + noise * np.float32(10.0 ** rng.uniform(*config.noise_log10) * excerpt.voice_rms)
    if happens(config.compression_probability, rng):
        threshold_db, ratio = rng.uniform(*config.compression_threshold_db), log_uniform(config.compression_ratio, rng)
        mix = effects.compress(mix, rate, threshold_db, ratio)
    if happens(config.clip_probability, rng):
        mix = effects.soft_clip(mix, rng.uniform(*config.clip_drive_db))
    if happens(config.codec_probability, rng):
        mix = effects.codec(mix, rate, rng.uniform(*config.codec_snr_db))
    return (mix * np.float32(10.0 ** rng.uniform(*config.gain_log10))).astype(np.float32), f0_hz
