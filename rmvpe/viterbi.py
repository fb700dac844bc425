"""The most likely path of bins through a recording of any length, found block by block, exactly.

The paths that end in the bins of the newest frame have usually all been one path before: whatever comes later, this
part is final. It is given out, and its salience and back pointers are released. The result is the path through the
whole recording, to the bit. What is not final yet is compressed: it grows only where no bin is any likelier than its
neighbours, as in salience that is all 0, and there it compresses best.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_FRAMES = 4096  # frames at a time: 12 MB of observations in float64
REACH = 30  # bins: the transition weight falls linearly to 0 at this distance (600 cents in 10 ms)
KEPT_BLOCKS = 4  # that are not final and not compressed


@dataclass(frozen=True)
class Transitions:
    """Steps between bins: `max(30 - |i - j|, 0)`, each row i normalised. The transition is that of yxlllc/RMVPE.

    source [bins, 59]: the bin from which each step comes; log_weight [bins, 59]: its log probability.
    """

    source: np.ndarray
    log_weight: np.ndarray


def transitions(n_bins: int) -> Transitions:
    """The steps between `n_bins` bins."""
    distance = np.arange(-(REACH - 1), REACH)
    weight = (REACH - np.abs(distance)).astype(np.float64)
    source = np.arange(n_bins)[:, None] + distance  # [bins, 59]
    inside = (source >= 0) & (source < n_bins)
    row_sum = np.maximum(REACH - np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins))), 0).sum(axis=1)
    clipped = np.clip(source, 0, n_bins - 1)
    with np.errstate(divide="ignore"):
        return Transitions(clipped, np.where(inside, np.log(weight / row_sum[clipped]), -np.inf))


class Pending:
    """A block whose path is not known yet: its salience [k, bins] and back pointers uint8 [k, bins].

    first_bins [bins]: the bin before the block of the path that ends in each bin of its last frame.
    """

    def __init__(self, salience: np.ndarray, steps: np.ndarray, first_bins: np.ndarray):
        self.salience, self.steps, self.first_bins = salience, steps, first_bins
        self._packed: tuple[bytes, bytes] | None = None
        self._shape, self._dtype = salience.shape, salience.dtype

    def pack(self) -> None:
        """Compress the arrays, if that is not done yet."""
        if self._packed is None:
            self._packed = zlib.compress(self.salience.tobytes(), 1), zlib.compress(self.steps.tobytes(), 1)
            self.salience = self.steps = np.zeros(0)

    def unpack(self) -> None:
        """The arrays as they were."""
        if self._packed is not None:
            salience, steps = map(zlib.decompress, self._packed)
            self.salience = np.frombuffer(salience, self._dtype).reshape(self._shape)
            self.steps = np.frombuffer(steps, np.uint8).reshape(self._shape)
            self._packed = None


class ViterbiPath:
    """The most likely path through salience that comes in blocks.

    Start: uniform. Observation: salience normalised per frame. Transition: `max(30 - |i - j|, 0)`, each row normalised.
    Source: Viterbi 1967, doi 10.1109/TIT.1967.1054010; the transition is that of https://github.com/yxlllc/RMVPE.
    """

    def __init__(self) -> None:
        self._pending: list[Pending] = []
        self._best: np.ndarray | None = None  # log probability of the best path into each bin
        self._table: Transitions | None = None

    def add(self, salience: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Read a block [k > 0, bins]; gives each earlier block whose path, int64 [k], is final now, in order."""
        steps = np.empty(salience.shape, dtype=np.uint8)
        self._forward(salience, steps)
        self._pending.append(Pending(salience, steps, self._before(steps)))
        bins = self._pending[-1].first_bins
        for index in range(len(self._pending) - 1, 0, -1):
            if bins.min() == bins.max():
                yield from self._release(index, int(bins[0]))
                break
            bins = self._pending[index - 1].first_bins[bins]
        for block in self._pending[:-KEPT_BLOCKS]:
            block.pack()

    def finish(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The blocks that are left, with their paths."""
        if self._best is not None:
            yield from self._release(len(self._pending), int(self._best.argmax()))

    def _forward(self, salience: np.ndarray, steps: np.ndarray) -> None:
        """Move `_best` over the block and note the number of the step into each bin of each frame."""
        n_bins = salience.shape[1]
        table = self._table = self._table or transitions(n_bins)
        rows = np.arange(n_bins)
        for frame, observed in enumerate(log_observations(salience)):
            if self._best is None:
                self._best = observed - np.log(n_bins)
                steps[frame] = REACH - 1  # from the same bin; there is no frame before it
                continue
            candidates = self._best[table.source] + table.log_weight
            choice = candidates.argmax(axis=1)
            steps[frame] = choice
            self._best = candidates[rows, choice] + observed

    @staticmethod
    def _before(steps: np.ndarray) -> np.ndarray:
        """The bin before the block of the path into each bin of its last frame, [bins]."""
        bins = np.arange(steps.shape[1])
        for frame in range(len(steps) - 1, -1, -1):
            bins = np.clip(bins + steps[frame, bins] - (REACH - 1), 0, steps.shape[1] - 1)
            if len(bins) > 1 and bins.min() == bins.max():
                bins = bins[:1]  # one path from here on
        return np.broadcast_to(bins, steps.shape[1])

    def _release(self, count: int, last_bin: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The first `count` blocks with the path that ends in `last_bin`."""
        final, self._pending = self._pending[:count], self._pending[count:]
        last_bins = [last_bin]  # of each block, from the last
        for block in final[:0:-1]:
            last_bins.append(int(block.first_bins[last_bins[-1]]))
        for block, last in zip(final, reversed(last_bins)):
            block.unpack()
            path = np.empty(len(block.steps), dtype=np.int64)
            path[-1] = last
            for frame in range(len(path) - 1, 0, -1):
                path[frame - 1] = previous_bin(block.steps, frame, int(path[frame]))
            yield block.salience, path


def previous_bin(steps: np.ndarray, frame: int, bin_: int) -> int:
    """The bin of the frame before, on the path that is in `bin_` at `frame`."""
    return min(max(bin_ + int(steps[frame, bin_]) - (REACH - 1), 0), steps.shape[1] - 1)


def path_in_blocks(
    blocks: Iterable[np.ndarray], *, block_frames: int = BLOCK_FRAMES
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Salience in consecutive blocks [k, bins] again in blocks, each with its part of the path, int64 [k].

    The path is the most likely one through the whole; `block_frames` frames are read at a time.
    """
    path = ViterbiPath()
    for block in blocks:
        for start in range(0, len(block), block_frames):
            yield from path.add(block[start : start + block_frames])
    yield from path.finish()


def log_observations(salience: np.ndarray) -> Iterator[np.ndarray]:
    """Log of each frame of `salience` [k, bins] normalised to sum 1, float64 [bins]; uniform where all is 0."""
    total = salience.sum(axis=1, keepdims=True, dtype=np.float64)
    share = np.where(total > 0, salience / np.where(total > 0, total, 1.0), 1.0 / salience.shape[1])
    yield from np.log(share + np.finfo(np.float64).tiny)
