"""The Viterbi path against one searched exhaustively; the same path from blocks, in bounded memory."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from rmvpe.viterbi import KEPT_BLOCKS, REACH, log_observations, path_in_blocks


def bumps(*centres: float) -> np.ndarray:
    """Salience [frames, 360] with one Gaussian per frame."""
    distance = np.arange(360) - np.array(centres)[:, None]
    return np.exp(-0.5 * (distance / 1.25) ** 2).astype(np.float32)


def exhaustive_path(salience: np.ndarray) -> np.ndarray:
    """Viterbi as the textbook has it: the full transition matrix, in float64."""
    n_bins = salience.shape[1]
    transition = np.maximum(REACH - np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins))), 0).astype(float)
    transition /= transition.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_transition = np.log(transition)
    log_observed = np.log(salience / salience.sum(axis=1, keepdims=True, dtype=np.float64) + np.finfo(np.float64).tiny)
    best, back = log_observed[0] - np.log(n_bins), []
    for observed in log_observed[1:]:
        scores = best[:, None] + log_transition
        back.append(scores.argmax(axis=0))
        best = scores.max(axis=0) + observed
    path = [int(best.argmax())]
    for choice in reversed(back):
        path.append(int(choice[path[-1]]))
    return np.array(path[::-1])


def test_the_viterbi_path_is_the_textbooks():
    rng = np.random.default_rng(0)
    walk = np.clip(np.cumsum(rng.integers(-12, 13, 80)) + 180, 0, 359).astype(float)
    salience = bumps(*walk) + rng.random((80, 360), dtype=np.float32) ** 8
    expected = exhaustive_path(salience)
    for block_frames in (4096, 7):  # observations come in blocks, which must not change the path
        parts = [part for _, part in path_in_blocks([salience], block_frames=block_frames)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_observations_of_silence_are_uniform():
    (observed,) = log_observations(np.zeros((1, 360), dtype=np.float32))
    np.testing.assert_allclose(np.exp(observed), 1 / 360)


def walk(frames: int, seed: int = 0) -> np.ndarray:
    """A pitch that wanders in noise."""
    rng = np.random.default_rng(seed)
    centres = np.clip(np.cumsum(rng.integers(-12, 13, frames)) + 180, 0, 359).astype(float)
    return bumps(*centres) + rng.random((frames, 360), dtype=np.float32) ** 8


SALIENCES = {
    "a pitch": walk(300),
    "noise": np.random.default_rng(1).random((300, 360), dtype=np.float32),  # paths stay apart for long
    "nothing": np.zeros((300, 360), dtype=np.float32),  # no bin is likelier than another
    "a pitch, then nothing": np.concatenate([walk(150), np.zeros((100, 360), np.float32), walk(50, 2)]),
}


@pytest.mark.parametrize("name", SALIENCES)
@pytest.mark.parametrize("lengths", [(300,), (1,) * 300, (7,) * 43, (290, 10), (0, 128, 0, 200)])
def test_blocks_of_any_length_give_the_path_of_the_whole(name: str, lengths: tuple[int, ...]):
    salience = SALIENCES[name]
    blocks = np.split(salience, np.cumsum(lengths)[:-1])
    assert len(lengths) < 2 * KEPT_BLOCKS or len(blocks) > KEPT_BLOCKS  # some cases compress what is not final
    for block_frames in (4096, 5):
        found = list(path_in_blocks(blocks, block_frames=block_frames))
        np.testing.assert_array_equal(np.concatenate([block for block, _ in found]), salience)
        np.testing.assert_array_equal(np.concatenate([path for _, path in found]), exhaustive_path_of(name))


PATHS: dict[str, np.ndarray] = {}


def exhaustive_path_of(name: str) -> np.ndarray:
    if name not in PATHS:
        salience = np.where(SALIENCES[name].sum(axis=1, keepdims=True) > 0, SALIENCES[name], np.float32(1.0))
        PATHS[name] = exhaustive_path(salience)
    return PATHS[name]


def test_memory_does_not_grow_with_the_length():
    """Five minutes of salience are 43 MB, and 43 MB more as back pointers of 32 bits."""

    def blocks(count: int) -> Iterator[np.ndarray]:
        for number in range(count):
            yield walk(1000, number) if number % 3 else np.zeros((1000, 360), dtype=np.float32)

    peaks = []
    for count in (10, 30):
        tracemalloc.start()
        assert sum(len(path) for _, path in path_in_blocks(blocks(count))) == 1000 * count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 30e6
