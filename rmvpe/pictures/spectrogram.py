"""The spectrogram of a picture: over a logarithmic frequency axis, for sound of any length in bounded memory."""

from dataclasses import replace

import numpy as np

from rmvpe.config import MelConfig
from rmvpe.framing import samples_of_frames, samples_to_frames
from rmvpe.mel import filterbank, hz_to_mel, log_mel

# The window is longer than the network's, so that the harmonics of low voices are separate lines
DISPLAY_MEL = MelConfig(window_samples=2048, n_mels=224, f_min_hz=40.0, f_max_hz=6000.0)
LOWEST_HZ, HIGHEST_HZ, ROWS = 60.0, 5000.0, 480
MAX_COLUMNS = 2400
BLOCK = 1024  # columns at once
RANGE_NATS = 8.0  # darkest to brightest: 70 dB
# The brightest colour is at least this loud: a sine of -43 dBFS. So the darkest lies above the spectrogram of silence
# (from -11.5, the logarithm of the mel floor, to -9.2) and above 16-bit dither
MIN_TOP_NATS = 0.0


def log_frequency_picture(
    audio: np.ndarray,
    max_columns: int = MAX_COLUMNS,
    *,
    lowest_hz: float = LOWEST_HZ,
    highest_hz: float = HIGHEST_HZ,
    rows: int = ROWS,
) -> tuple[np.ndarray, float]:
    """The spectrogram of 16 kHz mono audio [samples] over a logarithmic frequency axis, and its seconds per column.

    The spectrogram is the natural logarithm of the magnitude, float32 [rows, columns]; rows go from `lowest_hz` to
    `highest_hz`, columns are evenly spaced from time 0 on.
    """
    n_frames = samples_to_frames(len(audio), DISPLAY_MEL.hop_samples)
    hop = DISPLAY_MEL.hop_samples * max(1, -(-n_frames // max_columns))
    n_frames = samples_to_frames(len(audio), hop)
    seconds = hop / DISPLAY_MEL.sample_rate
    if not n_frames:
        return np.full((rows, 1), np.log(DISPLAY_MEL.floor), dtype=np.float32), seconds
    config = replace(DISPLAY_MEL, hop_samples=min(hop, DISPLAY_MEL.window_samples))
    # The area norm of the filters makes low noise bright; half of it is undone, so that harmonics are visible
    flatter = 0.5 * np.log(filterbank(config).max(axis=1, keepdims=True))
    step = (hz_to_mel(config.f_max_hz) - hz_to_mel(config.f_min_hz)) / (config.n_mels + 1)
    rows_hz = np.geomspace(lowest_hz, highest_hz, rows)
    band = np.clip((hz_to_mel(rows_hz) - hz_to_mel(config.f_min_hz)) / step - 1.0, 0.0, config.n_mels - 1.001)
    below, share = band.astype(int), (band % 1.0)[:, None]
    picture = np.empty((rows, n_frames), dtype=np.float32)
    for first in range(0, n_frames, BLOCK):
        stop = min(first + BLOCK, n_frames)
        mel = log_mel(_samples_under(audio, first, stop, hop, config), config, centred=False).T - flatter
        picture[:, first:stop] = mel[below] * (1.0 - share) + mel[below + 1] * share
    return picture, seconds


def _samples_under(audio: np.ndarray, first: int, stop: int, hop: int, config: MelConfig) -> np.ndarray:
    """What the windows of columns [first, stop) see, as `log_mel` takes it at the hop of `config`."""
    if hop == config.hop_samples:
        return samples_of_frames(audio, 0, first, stop, config)
    # The windows do not touch: only what lies under them is taken, one after the other
    margin, last = config.window_samples // 2, len(audio) - 1
    index = hop * np.arange(first, stop)[:, None] + np.arange(-margin, margin)  # [columns, window]
    mirrored: np.ndarray = audio[np.abs((index.ravel() + last) % max(2 * last, 1) - last)]  # at both ends
    return mirrored


def brightness_range(picture: np.ndarray) -> tuple[float, float]:
    """The values of the darkest and the brightest colour for a spectrogram; silence is never above the darkest."""
    top = max(float(np.quantile(picture, 0.998)), MIN_TOP_NATS)
    return top - RANGE_NATS, top
