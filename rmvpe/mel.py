"""The log-mel spectrogram: its definition, in numpy. `rmvpe_torch.mel` and `rmvpe_jax.mel` compute the same numbers.

Periodic Hann window, magnitude spectrum, HTK mel scale with Slaney's area normalisation (each triangle divided by half
its width in Hz), natural logarithm of `max(mel, 1e-5)`. These are the settings of the published weights.

Sources: mel scale: O'Shaughnessy, Speech Communication: Human and Machine, 1987; The HTK Book, section 5.4,
https://htk.eng.cam.ac.uk. Area normalisation: Slaney, Auditory Toolbox, Interval Research Technical Report 1998-010,
https://engineering.purdue.edu/~malcolm/interval/1998-010/.
"""

from functools import lru_cache

import numpy as np

from rmvpe.config import MelConfig
from rmvpe.framing import reflect_pad

BLOCK_FRAMES = 128  # of one transform: what lies between two steps stays in a core's cache


def hann(n: int) -> np.ndarray:
    """Periodic Hann window [n], float64."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)


def hz_to_mel(f_hz: np.ndarray | float) -> np.ndarray:
    """HTK mels [...] of frequencies [...] in Hz: 2595 log10(1 + f / 700) (The HTK Book, section 5.4)."""
    return 2595.0 * np.log10(1.0 + np.asarray(f_hz, dtype=np.float64) / 700.0)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """Frequencies [...] in Hz of HTK mels [...]."""
    return 700.0 * (10.0 ** (np.asarray(mel, dtype=np.float64) / 2595.0) - 1.0)


@lru_cache(maxsize=8)
def filterbank(config: MelConfig) -> np.ndarray:
    """Triangular mel filters [n_mels, window_samples // 2 + 1], float32, read-only."""
    fft_hz = np.linspace(0.0, config.sample_rate / 2.0, config.window_samples // 2 + 1)
    edges_hz = mel_to_hz(np.linspace(hz_to_mel(config.f_min_hz), hz_to_mel(config.f_max_hz), config.n_mels + 2))
    lower, centre, upper = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (fft_hz - lower) / (centre - lower)
    falling = (upper - fft_hz) / (upper - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (upper - lower))
    weights = weights.astype(np.float32)
    weights.setflags(write=False)
    return weights


def frames_of(audio: np.ndarray, window_samples: int, hop_samples: int) -> np.ndarray:
    """Overlapping frames [frames, window_samples] of `audio` [n], as a view; frame k starts at sample k * hop.

    Raises ValueError if `audio` is shorter than one window.
    """
    if len(audio) < window_samples:
        raise ValueError(f"{len(audio)} samples are fewer than one window of {window_samples}")
    return np.lib.stride_tricks.sliding_window_view(audio, window_samples)[::hop_samples]


def shifted_window(config: MelConfig, key_shift_semitones: float) -> int:
    """Samples of the window that makes the pitch appear `key_shift_semitones` higher, see `log_mel`."""
    return int(np.round(config.window_samples * 2.0 ** (key_shift_semitones / 12.0)))


def log_mel(
    audio: np.ndarray, config: MelConfig, *, key_shift_semitones: float = 0.0, centred: bool = True
) -> np.ndarray:
    """Log-mel spectrogram [frames, n_mels], float32, of mono audio [n] at the rate of `config`.

    `centred`: frame k is around sample k * hop, with mirrored edges; otherwise frame k starts at sample k * hop.
    `key_shift_semitones` makes the pitch appear that much higher and keeps the time: the window and FFT become
    2^(k/12) times longer, the first bins are kept (zeros where there are fewer) and scaled back: the reference's
    training augmentation, https://github.com/yxlllc/RMVPE. Raises ValueError if uncentred audio is shorter than one
    window.
    """
    window_samples = shifted_window(config, key_shift_semitones)
    audio = np.asarray(audio, dtype=np.float32)
    if centred:
        # Half the window on each side, rounded as the reference does it, so that frame k stays around sample k * hop
        audio = reflect_pad(audio, window_samples // 2)
    frames, window = frames_of(audio, window_samples, config.hop_samples), hann(window_samples)
    found = np.empty((len(frames), config.n_mels), dtype=np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        # In float64, as in numpy 1: the float32 transforms of two libraries differ by up to 1e-3 in quiet bands
        magnitude = np.abs(np.fft.rfft(frames[block] * window, axis=-1)).astype(np.float32)
        if window_samples != config.window_samples:
            n_bins = config.window_samples // 2 + 1
            missing = max(0, n_bins - magnitude.shape[1])
            magnitude = np.pad(magnitude[:, :n_bins], ((0, 0), (0, missing)))
            magnitude *= np.float32(config.window_samples / window_samples)
        found[block] = magnitude_to_log_mel(magnitude, config)
    return found


def magnitude_to_log_mel(magnitude: np.ndarray, config: MelConfig) -> np.ndarray:
    """Log-mel [frames, n_mels], float32, of a magnitude spectrum [frames, window_samples // 2 + 1].

    The filterbank is applied as sums over each triangle's bins, not as a matrix product: 99 % of the matrix is zeros.
    A threaded BLAS would also be slower for such a small product (100 times on a busy machine) and not reproducible.
    """
    mel = np.empty((len(magnitude), config.n_mels), dtype=np.float32)
    weighted = np.zeros((len(magnitude), magnitude.shape[1] + 1), dtype=np.float32)  # the last column ends every sum
    for parity, (weights, edges, empty) in enumerate(_triangles(config)):
        np.multiply(magnitude, weights, out=weighted[:, :-1])
        mel[:, parity::2] = np.where(empty, np.float32(0.0), np.add.reduceat(weighted, edges, axis=1)[:, ::2])
    return np.log(np.maximum(mel, np.float32(config.floor)))


@lru_cache(maxsize=8)
def _triangles(config: MelConfig) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The even filters, then the odd ones: no two filters of one group overlap.

    For each group: the weight of each bin [bins], the first bin and the bin after the last of every filter
    [2 * filters], and which filters contain no bin [filters].
    """
    halves = []
    for parity in range(2):
        bank = filterbank(config)[parity::2]
        covered = bank > 0
        empty = ~covered.any(axis=1)
        first = np.where(empty, 0, covered.argmax(axis=1))
        last = np.where(empty, 0, bank.shape[1] - covered[:, ::-1].argmax(axis=1))
        halves.append((bank.sum(axis=0), np.stack([first, last], axis=1).ravel(), np.asarray(empty)))
    return halves
