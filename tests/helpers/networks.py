"""Networks for tests: stand-ins in numpy whose salience is known exactly, and a tiny one with every layer."""

from collections.abc import Callable, Sequence

import numpy as np

from rmvpe.backends import Pair, States
from rmvpe.batches import Batch
from rmvpe.config import MelConfig, ModelConfig

# Every kind of layer, and two of everything that can be repeated
EVERY_LAYER = ModelConfig(
    name="tiny",
    mel=MelConfig(n_mels=16),
    levels=2,
    blocks=2,
    inter_layers=2,
    channels=3,
    head_channels=2,
    gru_hidden=5,
    gru_layers=2,
    n_bins=12,
    timbre_filter=True,
    dropout=0.0,
)


class GruPair:
    """`rmvpe.backends.Network.gru_pair` of a class that has `gru`: one after the other."""

    gru: Callable[..., np.ndarray]

    def gru_pair(self, xs: Pair, states: States, layer: int) -> Pair:
        there = self.gru(xs[0], states[0], layer, reverse=False)
        return there, self.gru(xs[1], states[1], layer, reverse=True)


class InParts(GruPair):
    """What a stand-in has of `rmvpe.backends.Network` that goes through the network in parts only."""

    whole_batches = False
    threads: int | None = None

    def salience(self, batch: Batch) -> np.ndarray:
        raise NotImplementedError


class StandInNetwork(InParts):
    """A network without memory: `respond` is its salience [B, T, 360] of log-mel [B, T, n_mels].

    An `rmvpe.backends.Backend`: the GRU passes each frame through, and the head takes one of its two equal halves.
    """

    name, device = "numpy", "here"
    batch_windows, gru_layers = 1, 1

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        if lengths is None:
            return self.respond(log_mel)
        rows = [self.respond(row[None, :length])[0] for row, length in zip(log_mel, lengths)]
        filler = log_mel.shape[1] - np.asarray(lengths)
        return np.stack([np.pad(row, ((0, n), (0, 0)), constant_values=np.nan) for row, n in zip(rows, filler)])

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        return x

    def head(self, hidden: np.ndarray) -> np.ndarray:
        return hidden[:, : hidden.shape[1] // 2]

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        raise AssertionError("the host computes the spectrogram by default")
