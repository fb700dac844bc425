"""What a training excerpt goes through on its way to the network. Every function takes its random generator.

Levels: the signal-to-noise ratio is the RMS of the voice over its voiced samples against the RMS of the accompaniment,
in dB; `mix_at_snr` is also what evaluation uses, so a figure "at 0 dB" means the same in training and in tables.
"""

import numpy as np

from rmvpe.config import AugmentConfig, MelConfig

RMS_FLOOR = 1e-5  # -100 dBFS: quieter than this is silence, which no gain should raise
MIN_F0_HZ, MAX_F0_HZ = 32.0, 1990.0  # the salience's range, a little inside its ends


def active_rms(voice: np.ndarray, f0_hz: np.ndarray, hop_samples: int) -> float:
    """RMS of `voice` [samples] over the hops whose frame is voiced (`f0_hz` [frames]); 0 if none is."""
    voiced = np.repeat(f0_hz > 0, hop_samples)[: len(voice)]
    active = voice[: len(voiced)][voiced]
    return float(np.sqrt(np.mean(np.square(active, dtype=np.float64)))) if len(active) else 0.0


def rms(audio: np.ndarray) -> float:
    """Root mean square of `audio`; 0 for none."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def mix_at_snr(voice: np.ndarray, accompaniment: np.ndarray, voice_rms: float, snr_db: float) -> np.ndarray:
    """`voice` + `accompaniment` scaled to lie `snr_db` below `voice_rms`. A silent accompaniment stays silent."""
    level = rms(accompaniment)
    if level < RMS_FLOOR:
        return voice
    return voice + accompaniment * np.float32(voice_rms / level * 10.0 ** (-snr_db / 20.0))


def draw_key_shift(f0_hz: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> float:
    """A key shift in semitones that keeps every voiced frame inside the salience's range, or 0."""
    if rng.random() >= config.key_shift_probability:
        return 0.0
    semitones = float(rng.uniform(*config.key_shift_semitones))
    shifted = f0_hz[f0_hz > 0] * 2.0 ** (semitones / 12.0)
    return semitones if not len(shifted) or (shifted.min() > MIN_F0_HZ and shifted.max() < MAX_F0_HZ) else 0.0


def coloured_noise(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise [n_samples] of RMS 1 whose power falls with a random power (0: white, 1: pink, 2: brown) of frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples).astype(np.float32))
    slope = np.maximum(np.arange(len(spectrum), dtype=np.float32), 1.0) ** np.float32(-0.5 * rng.uniform(0.0, 2.0))
    noise = np.fft.irfft(spectrum * slope, n_samples).astype(np.float32)
    return noise / np.float32(max(rms(noise), RMS_FLOOR))


def equalise(audio: np.ndarray, mel: MelConfig, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """A random microphone and master: a spectral slope of at most +-`tilt_db` from end to end, perhaps a band limit."""
    f_hz = np.fft.rfftfreq(len(audio), 1.0 / mel.sample_rate)
    octaves = np.log2(np.maximum(f_hz, mel.f_min_hz) / mel.f_min_hz)
    gain = 10.0 ** (rng.uniform(-config.tilt_db, config.tilt_db) / 20.0 * (octaves / octaves[-1] - 0.5))
    if rng.random() < config.band_limit_probability:
        cutoff = rng.uniform(*config.band_limit_hz)
        gain /= np.sqrt(1.0 + (f_hz / cutoff) ** 16)  # eighth-order Butterworth magnitude
    return np.fft.irfft(np.fft.rfft(audio) * gain.astype(np.float32), len(audio)).astype(np.float32)


def augment(
    item: dict, foreign: np.ndarray | None, mel: MelConfig, config: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One excerpt's mix [samples] and its f0 [frames] in Hz (before any key shift).

    `item`: voice [samples], accompaniment [samples] or None, f0_hz [frames], voice_rms. `foreign`: another item's
    accompaniment [samples] to use instead of its own. An item without accompaniment never gets one: it holds
    something that must not be told from music by its sound (a bare tone).
    """
    voice, f0_hz, voice_rms = item["voice"], item["f0_hz"], item["voice_rms"]
    accompaniment = item["accompaniment"] if foreign is None else foreign
    if accompaniment is not None and rng.random() < config.voiceless_probability:
        voice, f0_hz = np.zeros_like(voice), np.zeros_like(f0_hz)
    mix = voice
    if accompaniment is not None and rng.random() < config.accompaniment_probability:
        mix = mix_at_snr(mix, accompaniment, voice_rms, float(rng.uniform(*config.snr_db)))
    if rng.random() < config.tilt_probability:
        mix = equalise(mix, mel, config, rng)
    if rng.random() < config.noise_probability:
        mix = mix + coloured_noise(len(mix), rng) * np.float32(10.0 ** rng.uniform(*config.noise_log10) * voice_rms)
    return (mix * np.float32(10.0 ** rng.uniform(*config.gain_log10))).astype(np.float32), f0_hz
