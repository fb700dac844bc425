"""The steps between audio and f0 that RVC's class and its copies offer one by one: log-mel, salience, decoding.

Callers that use them, such as Applio in real time, take the steps in this order and hand tensors; each answer is a
tensor on the device of what was given, or an array for an array. Decoding is ours (`rmvpe.decode`), and so are the
weights' calibration and threshold. The silence gate is not part of it, because a salience does not say how loud the
audio was. A number of frames that is no multiple of 32 is padded here without the audio's end, so that the last frames
may differ slightly from `infer_from_audio`. For 5120 k - 160 samples, which callers in real time choose, they do not.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rmvpe.chunked_gru import salience_of_features
from rmvpe.config import MelConfig
from rmvpe.decode import NEIGHBOURS, decode
from rmvpe.framing import plan_windows, round_up, stitch
from rmvpe.hosts.core import Host, Threshold
from rmvpe.hosts.tensors import like, to_numpy
from rmvpe.mel import log_mel
from rmvpe.pitch import N_BINS, bins_to_cents, hz_to_cents
from rmvpe.salience import OVERLAP_FRAMES, WINDOW_FRAMES

HALF_WINDOW_FRAMES = 3  # whole hops of 160 in half a window, 512 samples


class MelExtractor:
    """Audio [B, n] to log-mel [B, 128, T], under the attribute names of RVC's `MelSpectrogram`."""

    def __init__(self, config: MelConfig):
        self._config = config
        self.sampling_rate, self.n_mel_channels = config.sample_rate, config.n_mels
        self.n_fft = self.win_length = config.window_samples
        self.hop_length, self.clamp = config.hop_samples, config.floor

    def __call__(self, audio: Any, keyshift: float = 0, speed: float = 1, center: bool = True) -> Any:
        """Log-mel float32 [B, 128, T] of 16 kHz audio [B, n] or [n] (B is 1), tensor or array as `audio` is.

        keyshift: semitones by which the pitch appears higher. speed: the hop becomes that much longer. center: frame k
        is around sample k * hop. Raises ValueError if uncentred audio is shorter than one window.
        """
        config = replace(self._config, hop_samples=round(self.hop_length * speed))
        rows = np.atleast_2d(to_numpy(audio))
        if not rows.shape[1]:
            return like(np.zeros((len(rows), self.n_mel_channels, 0), dtype=np.float32), audio)
        mels = [log_mel(row, config, key_shift_semitones=keyshift, centred=center).T for row in rows]
        return like(np.stack(mels), audio)


class Pieces:
    """The steps of a drop-in class, which has a `Host` as `_host`."""

    _host: Host
    mel_extractor: MelExtractor
    cents_mapping: Any

    def _make_pieces(self, host: Host) -> None:
        self._host = host
        self.mel_extractor = MelExtractor(host.estimator.model.mel)
        # Cents above 10 Hz of each bin, with the zeros that callers expect on both sides. float32, because Apple's GPU
        # has no float64
        self.cents_mapping = np.pad(bins_to_cents(np.arange(N_BINS)), NEIGHBOURS).astype(np.float32)

    def mel2hidden(self, mel: Any, chunk_size: int | None = None) -> Any:
        """Log-mel [B, 128, T] to salience float32 [B, T, 360]; the B clips are recordings of their own.

        chunk_size: for callers that name it; long spectrograms go through in windows that change nothing.
        """
        clips = to_numpy(mel)
        return like(np.stack([self._salience(clip.T) for clip in clips]), mel)

    def decode(self, hidden: Any, thred: Threshold = None) -> Any:
        """f0 in Hz, float32 [T], 0 where unvoiced, of salience [T, 360]; thred as for `infer_from_audio`."""
        f0_hz, _, _ = decode(to_numpy(hidden), self._host.config(thred))
        return like(f0_hz.astype(np.float32), hidden)

    def to_local_average_cents(self, salience: Any, thred: Threshold = None) -> Any:
        """Cents above 10 Hz, float32 [T], 0 where unvoiced, of salience [T, 360]; thred as for `infer_from_audio`."""
        f0_hz, voiced, _ = decode(to_numpy(salience), self._host.config(thred))
        return like(np.where(voiced, hz_to_cents(f0_hz), 0.0).astype(np.float32), salience)

    def _salience(self, mel: np.ndarray) -> np.ndarray:
        """Salience [T, 360] of log-mel [T, 128]."""
        if not len(mel):
            return np.zeros((0, N_BINS), dtype=np.float32)
        network, multiple = self._host.estimator.backend, self._host.estimator.model.time_multiple
        padded = self._padded(mel, round_up(len(mel), multiple))
        windows = plan_windows(len(padded), WINDOW_FRAMES, OVERLAP_FRAMES, multiple)

        def features() -> Iterator[np.ndarray]:
            for window in windows:
                yield network.features(padded[None, window.start : window.stop])[0]

        salience = np.concatenate(list(salience_of_features(network, stitch(windows, features()))))
        return salience[: len(mel)]

    def _padded(self, mel: np.ndarray, n_frames: int) -> np.ndarray:
        """Log-mel continued to `n_frames` frames, as the weights want it."""
        pad, missing = self._host.estimator.config.pad, n_frames - len(mel)
        if pad == "zero":
            return np.pad(mel, ((0, missing), (0, 0)))
        # Silence after the audio is heard together with its end by the first frames, which a mirror comes closest to
        mirrored = missing if pad == "reflect" else min(missing, HALF_WINDOW_FRAMES)
        mel = np.pad(mel, ((0, mirrored), (0, 0)), mode="reflect" if len(mel) > 1 else "edge")
        silence = np.log(np.float32(self.mel_extractor.clamp))
        return np.pad(mel, ((0, n_frames - len(mel)), (0, 0)), constant_values=silence)
