"""What a sound goes through: telephone, codec, hum, clipping. Each on float [samples] at 16 kHz; nothing moves in time.

Rooms, noise and mixing are those of the training data (`rmvpe.data.effects`, `rmvpe.data.mixing`).
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from rmvpe import audio
from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data import effects

TELEPHONE_BAND_HZ, TELEPHONE_RATE_HZ = (300.0, 3400.0), 8000
TELEPHONE_ORDER = 8  # 48 dB per octave outside the band
MU = 255.0  # of G.711, https://www.itu.int/rec/T-REC-G.711
HUM_PARTIALS = 10
# Encoder and container that PyAV has, bits per second, sample rate
CODECS: Mapping[str, tuple[str, str, int, int]] = {
    "mp3 32 kbit/s": ("libmp3lame", "mp3", 32_000, 16_000),
    "aac 24 kbit/s": ("aac", "mp4", 24_000, 16_000),
    "opus 12 kbit/s": ("libopus", "ogg", 12_000, 16_000),
}


def telephone(sound: np.ndarray) -> np.ndarray:
    """The band from 300 to 3400 Hz at 8 kHz in 8 bits of mu-law, [samples / 2].

    The rate is halved by leaving out the spectrum above 4 kHz, so that sample k is at the time of sample 2 k.
    """
    limited = effects.equalise(sound, SAMPLE_RATE_HZ, 0.0, *TELEPHONE_BAND_HZ, order=TELEPHONE_ORDER)
    n = 2 * effects.fast_length(-(-len(limited) // 2))  # half of it is even too
    spectrum = np.fft.rfft(limited, n)
    half = np.fft.irfft(spectrum[: n // 4 + 1], n // 2)[: len(limited) // 2] / 2.0
    peak = max(float(np.abs(half).max(initial=0.0)), 1e-9)
    pressed = np.sign(half) * np.log1p(MU * np.abs(half) / peak) / np.log1p(MU)
    rounded = np.round(pressed * 127.0) / 127.0
    return (np.sign(rounded) * np.expm1(np.abs(rounded) * np.log1p(MU)) / MU * peak).astype(np.float32)


def hum(n_samples: int, mains_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Mains hum of RMS 1, [samples]: ten harmonics of `mains_hz` that get weaker, of random phase."""
    time_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    sound = np.zeros(n_samples)
    for number in range(1, HUM_PARTIALS + 1):
        sound += rng.uniform(0.5, 1.0) / number * np.sin(2 * np.pi * (number * mains_hz * time_s + rng.random()))
    return sound / np.sqrt(np.mean(np.square(sound)))


def clipped(sound: np.ndarray, drive_db: float) -> np.ndarray:
    """`sound` [samples] made `drive_db` louder and cut off at its old peak, as by a converter driven too far."""
    peak = float(np.abs(sound).max(initial=0.0))
    return np.clip(sound * 10.0 ** (drive_db / 20.0), -peak, peak)


def missing_codecs() -> dict[str, str]:
    """Those of `CODECS` that cannot be made here, and why."""
    try:
        import av
    except ImportError:
        return dict.fromkeys(CODECS, "PyAV is not installed: run pip install av")
    missing = {}
    for name, (encoder, *_) in CODECS.items():
        try:
            av.Codec(encoder, "w")
        except ValueError:
            missing[name] = f"this PyAV was built without {encoder}"
    return missing


def coded(sound: np.ndarray, name: str) -> np.ndarray:
    """`sound` [samples] encoded and decoded again by one of `CODECS`, [samples], in its old place in time.

    Needs PyAV with its encoder (`missing_codecs`).
    """
    import av

    encoder, container, bit_rate, rate = CODECS[name]
    file = io.BytesIO()
    with av.open(file, mode="w", format=container) as output:
        stream: Any = output.add_stream(encoder, rate=rate)
        stream.bit_rate = bit_rate
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sound.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    decoded = audio.read(file.getvalue()).samples
    return np.pad(decoded, (0, max(0, len(sound) - len(decoded))))[: len(sound)]
