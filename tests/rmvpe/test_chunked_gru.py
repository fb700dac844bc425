"""A GRU's memory over long recordings: blocks hand on their state, and the answer is that of the whole recording.

The stand-in's layers are leaky sums in numpy, so that what they remember, and for how long, is known exactly.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest

from rmvpe.backends import Network
from rmvpe.chunked_gru import salience, salience_of_features
from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator
from tests.helpers.networks import InParts

FEATURES, HIDDEN, BINS = 5, 3, 360


class LeakySums(InParts):
    """A network that multiplies its memory by `kept` at each frame, forward and backward."""

    name, device, batch_windows = "numpy", "here", 2

    def __init__(self, layers: int = 1, kept: float = 0.9999, backward: float = 1.0, gain: float = 20.0):
        rng = np.random.default_rng(0)
        self.gru_layers, self.kept, self.gain, self.longest = layers, kept, gain, 0
        shapes = {
            (layer, r): (FEATURES if layer == 0 else 2 * HIDDEN, HIDDEN) for layer in range(layers) for r in (0, 1)
        }
        self.weights = {
            key: rng.standard_normal(shape) * (backward if key[1] else 1.0) for key, shape in shapes.items()
        }
        self.last = rng.standard_normal((2 * HIDDEN, BINS))

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        return log_mel[..., 20 : 20 + FEATURES] + 8.0

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        self.longest = max(self.longest, len(x))
        h, out = np.zeros(HIDDEN) if state is None else state, np.empty((len(x), HIDDEN))
        drive = np.tanh(x @ self.weights[layer, int(reverse)])
        for k in reversed(range(len(x))) if reverse else range(len(x)):
            h = out[k] = self.kept * h + (1 - self.kept) * drive[k]
        return out

    def head(self, hidden: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-self.gain * hidden @ self.last))

    def whole(self, x: np.ndarray) -> np.ndarray:
        """Salience of features [T, FEATURES], all at once."""
        for layer in range(self.gru_layers):
            x = np.concatenate([self.gru(x, None, layer, reverse=reverse) for reverse in (False, True)], axis=1)
        return self.head(x)

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        raise AssertionError("the host computes the spectrogram by default")


def features(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, FEATURES)).cumsum(axis=0) / 9.0


def pieces(x: np.ndarray, length: int) -> Iterator[np.ndarray]:
    return (x[start : start + length] for start in range(0, len(x), length))


def chunked(network: Network, blocks: Iterable[np.ndarray], look_ahead: int = 32) -> Iterator[np.ndarray]:
    """With blocks, segments and look-ahead short enough for a test."""
    return salience_of_features(network, blocks, 96, look_ahead, 16)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 100, 128])
@pytest.mark.parametrize("piece", [1, 40, 200])
def test_the_answer_is_that_of_the_whole_recording(layers: int, n: int, piece: int):
    network, x = LeakySums(layers), features(n)
    expected = network.whole(x)
    network.longest = 0
    found = np.concatenate(list(chunked(network, pieces(x, piece))))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert network.longest <= 16


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("n", [129, 192, 193, 1000])
def test_longer_ones_know_all_that_was_and_enough_of_what_comes(layers: int, n: int):
    x = features(n)
    past = LeakySums(layers, backward=0.0)
    found = np.concatenate(list(chunked(past, pieces(x, 40))))
    np.testing.assert_allclose(found, past.whole(x), rtol=0, atol=1e-12)
    both = LeakySums(layers, kept=0.5, gain=1.0)
    found = np.concatenate(list(chunked(both, pieces(x, 40))))
    # After 32 frames 0.5^32 is left of a memory; a look ahead of one frame leaves half of it
    np.testing.assert_allclose(found, both.whole(x), rtol=0, atol=1e-7)
    blind = np.concatenate(list(chunked(both, pieces(x, 1), 0)))
    assert np.abs(blind - both.whole(x))[:96].max() > 1e-3


def test_a_long_recording_is_not_held():
    taken = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal taken
        for piece in pieces(features(2000), 40):
            taken += len(piece)
            yield piece

    answers, answered = chunked(LeakySums(), counted()), 0
    for block in answers:
        assert taken - answered <= 96 + 32 + 40
        answered += len(block)
    assert answered == 2000


def test_no_features_no_answer():
    assert list(salience_of_features(LeakySums(), iter([]))) == []


def test_an_estimator_carries_the_memory_over_its_windows():
    """The memory is 100 s, the windows are 3 s: cross-fading their salience would be far off."""
    sound = 0.1 * np.random.default_rng(0).standard_normal(16000 * 20).astype(np.float32)
    sound *= np.repeat(10 ** -np.random.default_rng(1).uniform(0, 2, 20), 16000).astype(np.float32)
    network = LeakySums()
    windowed, whole = (
        Estimator(network, ModelConfig.small(), DecodeConfig(), window_frames=window, overlap_frames=overlap)
        for window, overlap in ((320, 64), (3200, 0))
    )
    shares: list[float] = []
    found = windowed.salience(sound, 16000, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    expected = whole.salience(sound, 16000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert expected.std(axis=0).max() > 0.05


@pytest.mark.parametrize("layers", [1, 2])
def test_salience_of_a_batch_is_that_of_each_clip(layers: int):
    network, log_mel = LeakySums(layers), np.random.default_rng(0).standard_normal((3, 64, 128)).astype(np.float32)
    found = salience(network, log_mel)
    for clip, features_ in zip(found, network.features(log_mel)):
        np.testing.assert_allclose(clip, network.whole(features_), rtol=0, atol=1e-12)


def test_salience_that_is_not_finite_is_an_error():
    network = LeakySums()
    network.last = network.last * np.nan
    hearing = Estimator(network, ModelConfig.small(), DecodeConfig(), window_frames=320, overlap_frames=64)
    with pytest.raises(UserError, match="not finite"):
        hearing.salience(np.zeros(16000 * 8, np.float32), 16000)
