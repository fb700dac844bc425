"""Effects of rooms, microphones, loudspeakers and codecs, each on float32 [samples] at one sample rate.

No effect moves anything in time, so annotations stay valid: filters have zero phase, a room response has its direct
path at sample 0, and gains follow the level without look-ahead. Random numbers come from the generator given. Fourier
transforms have lengths with small prime factors: at a prime length one takes ten times as long.
"""

from functools import lru_cache

import numpy as np

from rmvpe.data.mixing import RMS_FLOOR, rms

FAST_FACTORS = (2, 3, 5, 7, 11)  # pocketfft, which numpy uses, has a routine for each
LOWEST_HZ = 30.0  # of slopes: below it spectra are flat
ROOM_BANDS_HZ = (250.0, 1000.0, 4000.0)  # each has its own reverberation time
LEVEL_HOP_S = 0.005
ATTACK_S, RELEASE_S = 0.005, 0.1  # of the compressor: usual for a voice
CODEC_WINDOW = 512  # 32 ms at 16 kHz; MP3's long block is 26 ms, AAC's 46 ms at 44.1 kHz
# Edges of the critical bands up to 8 kHz in Hz (Zwicker 1961, https://doi.org/10.1121/1.1908630)
CRITICAL_BANDS_HZ = (
    *(0, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270),
    *(1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300, 6400, 7700),
)


def is_fast(n: int) -> bool:
    """Whether a Fourier transform of length `n` is fast: no prime factor is above 11."""
    for factor in FAST_FACTORS:
        while n % factor == 0:
            n //= factor
    return n == 1


@lru_cache(maxsize=1024)
def fast_length(n: int) -> int:
    """The smallest even fast length that is at least `n` (and at least 2)."""
    n = max(2, n + n % 2)
    while not is_fast(n):
        n += 2
    return n


@lru_cache(maxsize=64)
def _octaves(n: int, sample_rate: int) -> np.ndarray:
    """log2 of the frequency in Hz of each bin of a transform of `n` samples; half a bin for the first."""
    f_hz = np.fft.rfftfreq(n, 1.0 / sample_rate)
    f_hz[0] = f_hz[1] / 2
    octaves = np.log2(f_hz).astype(np.float32)
    octaves.setflags(write=False)
    return octaves


@lru_cache(maxsize=64)
def _octaves_above_lowest(n: int, sample_rate: int) -> np.ndarray:
    """`_octaves` counted from `LOWEST_HZ`, 0 below it."""
    above = np.maximum(_octaves(n, sample_rate) - np.float32(np.log2(LOWEST_HZ)), 0.0)
    above.setflags(write=False)
    return above


def _random_spectrum(n: int, rng: np.random.Generator) -> np.ndarray:
    """The spectrum [n / 2 + 1], complex64, of white noise [n], `n` even."""
    return rng.standard_normal(n + 2, dtype=np.float32).view(np.complex64)


def coloured_noise(n_samples: int, sample_rate: int, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Noise [n_samples] of RMS 1 whose power falls with frequency^`colour` (0: white, 1: pink, 2: brown)."""
    n = fast_length(n_samples)
    above = _octaves_above_lowest(n, sample_rate)
    noise = np.fft.irfft(_random_spectrum(n, rng) * np.exp2(np.float32(-0.5 * colour) * above), n)
    noise = noise[:n_samples].astype(np.float32)
    return noise / np.float32(max(rms(noise), RMS_FLOOR))


def equalise(
    audio: np.ndarray,
    sample_rate: int,
    tilt_db: float = 0.0,
    high_pass_hz: float = 0.0,
    low_pass_hz: float = float("inf"),
    order: int = 4,
) -> np.ndarray:
    """`audio` [samples] through a spectral slope and a pass band, with zero phase.

    `tilt_db`: gain at the highest frequency over that at 30 Hz, a straight line over octaves. The band's ends have
    the magnitude of a Butterworth filter of `order`: -3 dB at `high_pass_hz` and `low_pass_hz`, 6 dB x `order` per
    octave beyond.
    """
    n = fast_length(len(audio))
    octaves, above = _octaves(n, sample_rate), _octaves_above_lowest(n, sample_rate)
    gain = np.exp2((above / above[-1] - np.float32(0.5)) * np.float32(tilt_db / 20.0 * np.log2(10.0)))
    for edge_hz, side in ((high_pass_hz, -1), (low_pass_hz, 1)):
        if 0.0 < edge_hz < sample_rate:
            steepness = np.float32(2 * order * side)
            # Capped at -180 dB, so that float32 does not overflow
            gain /= np.sqrt(1.0 + np.exp2(np.minimum(steepness * (octaves - np.float32(np.log2(edge_hz))), 60.0)))
    return np.fft.irfft(np.fft.rfft(audio, n) * gain, n)[: len(audio)].astype(np.float32)


def room_response(
    rt60_s: float,
    high_share: float,
    direct_to_reverberant_db: float,
    pre_delay_s: float,
    sample_rate: int,
    longest_s: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A synthetic room's impulse response [samples] of energy 1: the direct path at sample 0, then a tail of noise.

    The tail starts after `pre_delay_s` and decays exponentially, by 60 dB in `rt60_s` below 250 Hz and in
    `high_share` times that above 4 kHz, because walls and air absorb high frequencies more. Noise as the tail follows
    J. A. Moorer, "About this reverberation business", http://articles.ircam.fr/textes/Moorer78b/. It is cut off after
    60 dB or `longest_s`. `direct_to_reverberant_db`: energy of the direct path over that of the tail.
    """
    n = max(2, round(min(rt60_s, longest_s) * sample_rate))
    n_fft = 1 << (n - 1).bit_length()
    spectrum, octaves = _random_spectrum(n_fft, rng), _octaves(n_fft, sample_rate)
    # Bands that overlap linearly over octaves and add up to 1
    places = np.interp(octaves, np.log2(ROOM_BANDS_HZ), np.arange(len(ROOM_BANDS_HZ))).astype(np.float32)
    time_s = (np.arange(n) / sample_rate).astype(np.float32)
    tail = np.zeros(n, dtype=np.float32)
    for band in range(len(ROOM_BANDS_HZ)):
        share = np.maximum(0.0, 1.0 - np.abs(places - np.float32(band)))
        band_rt60_s = rt60_s * high_share ** (band / (len(ROOM_BANDS_HZ) - 1))
        decay = np.exp(np.float32(-3.0 * np.log(10.0) / band_rt60_s) * time_s)
        tail += np.fft.irfft(spectrum * share, n_fft)[:n].astype(np.float32) * decay
    tail[: max(1, round(pre_delay_s * sample_rate))] = 0.0
    tail *= np.float32(10.0 ** (-direct_to_reverberant_db / 20.0) / max(rms(tail) * np.sqrt(n), 1e-12))
    tail[0] = 1.0
    return tail / np.float32(rms(tail) * np.sqrt(n))


def reverberate(audio: np.ndarray, response: np.ndarray, context: int) -> np.ndarray:
    """`audio` [context + samples] in a room, [samples]: the first `context` samples add only their reverberation.

    Raises ValueError if `response` has more than context + 1 samples.
    """
    if len(response) > context + 1:
        raise ValueError(f"a response of {len(response)} samples needs {len(response) - 1} of context, not {context}")
    remembered = len(response) - 1
    audio = audio[context - remembered :]
    # Circular convolution wraps around into the first `remembered` samples, which are dropped
    n = fast_length(len(audio))
    wet = np.fft.irfft(np.fft.rfft(audio, n) * np.fft.rfft(response, n), n)
    return wet[remembered : len(audio)].astype(np.float32)


def compress(audio: np.ndarray, sample_rate: int, threshold_db: float, ratio: float) -> np.ndarray:
    """Compress `audio` [samples]: a level x dB above `threshold_db` is reduced to x / `ratio` dB above it.

    `threshold_db` is relative to the RMS of `audio`. The level is followed in steps of 5 ms, rises within 5 ms and
    falls within 100 ms.
    """
    level, hop = rms(audio), round(LEVEL_HOP_S * sample_rate)
    if level < RMS_FLOOR:
        return audio
    blocks = np.pad(audio, (0, -len(audio) % hop)).reshape(-1, hop)  # [blocks, hop]
    power = np.mean(np.square(blocks), axis=1) / np.float32(level) ** 2
    rise, fall = (1.0 - float(np.exp(-LEVEL_HOP_S / constant_s)) for constant_s in (ATTACK_S, RELEASE_S))
    followed, state = [], 0.0
    for now in power.tolist():
        state += (rise if now > state else fall) * (now - state)
        followed.append(state)
    above_db = 10.0 * np.log10(np.maximum(followed, 1e-12)) - threshold_db
    gain = 10.0 ** (-np.maximum(above_db, 0.0) * (1.0 - 1.0 / ratio) / 20.0)
    centres = np.arange(len(gain)) * hop + hop / 2
    return audio * np.interp(np.arange(len(audio)), centres, gain).astype(np.float32)


def soft_clip(audio: np.ndarray, drive_db: float) -> np.ndarray:
    """Overload `audio` [samples]: tanh limits peaks, which are `drive_db` above its knee; quiet sound is unchanged."""
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < RMS_FLOOR:
        return audio
    knee = np.float32(peak * 10.0 ** (-drive_db / 20.0))
    return np.tanh(audio / knee) * knee


def codec(audio: np.ndarray, sample_rate: int, snr_db: float) -> np.ndarray:
    """A model of a cheap codec on `audio` [samples].

    Each critical band of each 32 ms is quantised with noise `snr_db` below its level. What is weaker than half a step
    becomes zero, so quiet partials come and go, and every onset spreads over its window, as in any transform codec. The
    transform is a Fourier transform with a sine window, half overlapped.
    """
    n, hop = len(audio), CODEC_WINDOW // 2
    n_frames = -(-n // hop) + 1
    window = np.sin(np.pi * (np.arange(CODEC_WINDOW, dtype=np.float32) + 0.5) / CODEC_WINDOW)
    padded = np.pad(audio, (hop, n_frames * hop - n))
    frames = np.lib.stride_tricks.sliding_window_view(padded, CODEC_WINDOW)[::hop]  # [frames, window]
    spectrum = np.fft.rfft(frames * window, axis=1).astype(np.complex64)  # [frames, bins]
    step = _codec_steps(spectrum, sample_rate, snr_db)
    whole_steps = np.rint((spectrum / step).view(np.float32)).view(np.complex64)
    pieces = np.fft.irfft(whole_steps * step, CODEC_WINDOW, axis=1) * window  # [frames, window]
    out = np.zeros((n_frames + 1, hop), dtype=np.float32)
    out[:-1] += pieces[:, :hop]
    out[1:] += pieces[:, hop:]
    return out.reshape(-1)[hop : hop + n]


def _codec_steps(spectrum: np.ndarray, sample_rate: int, snr_db: float) -> np.ndarray:
    """The rounding step [frames, bins] of each bin of `spectrum` [frames, bins].

    Rounding the real and imaginary parts to a step s adds noise of power s^2 / 6. Half of it is lost in the overlap,
    because the transform has twice as many numbers as the sound: s^2 = 12 x power / SNR.
    """
    n_bins = spectrum.shape[1]
    edges = np.round(np.array(CRITICAL_BANDS_HZ) / (sample_rate / 2) * (n_bins - 1)).astype(int)
    edges = np.unique(edges[edges < n_bins])
    widths = np.diff(np.append(edges, n_bins))
    power = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, edges, axis=1) / widths.astype(np.float32)
    step = np.sqrt(np.maximum(power * np.float32(12.0 * 10.0 ** (-snr_db / 10.0)), np.float32(1e-20)))
    return np.repeat(step, widths, axis=1)
