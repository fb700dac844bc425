"""Several recordings in one pass on a device: their windows as one array, and where each frame is found in it.

What the network makes of the windows is put together on the device too, with the weights of `rmvpe.framing.stitch`, so
that nothing comes back to the host between the spectrogram and the salience.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmvpe.framing import Window, fade_in


@dataclass(frozen=True)
class Batch:
    """W windows of L frames and more, of B recordings of up to T frames.

    log_mel: float32 [W, L, n_mels]; the rest of a shorter window is zeros. lengths: frames of each window [W].
    before, after: for each frame of each recording [B, T] the rows of the windows, seen as [W * L, ...], between which
    it is cross-faded; share: the weight of `after`. frames: of each recording [B].
    """

    log_mel: np.ndarray
    lengths: np.ndarray
    before: np.ndarray
    after: np.ndarray
    share: np.ndarray
    frames: np.ndarray


def batch_of(log_mels: Sequence[Sequence[np.ndarray]], plans: Sequence[Sequence[Window]]) -> Batch:
    """The batch of recordings whose windows have these log-mels [n, n_mels] and places."""
    flat = [log_mel for windows in log_mels for log_mel in windows]
    longest = max(map(len, flat))
    frames = np.array([windows[-1].stop for windows in plans], np.int32)
    before = np.zeros((len(plans), frames.max()), np.int32)
    after, share = before.copy(), np.zeros(before.shape, np.float32)
    first_row = 0
    for recording, windows in enumerate(plans):
        covered = 0
        for window in windows:
            rows = np.arange(first_row, first_row + window.stop - window.start, dtype=np.int32)
            overlap = covered - window.start
            after[recording, window.start : window.stop] = rows
            before[recording, covered : window.stop] = rows[overlap:]
            share[recording, window.start : covered] = fade_in(overlap)
            covered, first_row = window.stop, first_row + longest
    rows_of_windows = [np.pad(log_mel, ((0, longest - len(log_mel)), (0, 0))) for log_mel in flat]
    lengths = np.array([len(log_mel) for log_mel in flat], np.int32)
    return Batch(np.stack(rows_of_windows), lengths, before, after, share, frames)
