"""Stand-ins for a network, in numpy, whose salience is known exactly."""

import numpy as np


class StandInNetwork:
    """A network without memory: `respond` is its salience [B, T, 360] of log-mel [B, T, n_mels].

    An `rmvpe.backends.Backend`: the GRU passes each frame through, and the head takes one of its two equal halves.
    """

    name, device = "numpy", "here"
    batch_windows, gru_layers = 1, 1
    threads: int | None = None

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def features(self, log_mel: np.ndarray) -> np.ndarray:
        return self.respond(log_mel)

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        return x

    def head(self, hidden: np.ndarray) -> np.ndarray:
        return hidden[:, : hidden.shape[1] // 2]

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        raise AssertionError("the host computes the spectrogram by default")
