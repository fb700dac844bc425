"""The GRU over recordings of any length: salience as if the network had read the whole recording at once.

The U-Net's output at a frame depends on a bounded neighbourhood, so windows suffice for it. A GRU has no such bound:
how long it remembers is decided by its weights. Here the forward direction runs through the whole recording in blocks
that pass on their state. The backward direction does the same from the end, at the same time. In a long recording it
does not wait for the end: it starts `LOOK_AHEAD_FRAMES` after the frames that are needed, `SEGMENT_FRAMES` at a time,
so that memory does not grow with the length. Up to 18 minutes the result is that of the whole recording, for any
weights.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from rmvpe.backends import Network

BLOCK_FRAMES = 1024  # of one call of `Network.gru`; a compiling backend pads to a few sizes up to this
SEGMENT_FRAMES = 90 * BLOCK_FRAMES  # 15 min in frames of 10 ms: 240 MB for the presets
LOOK_AHEAD_FRAMES = 18 * BLOCK_FRAMES  # 3 min


def salience(network: Network, log_mel: np.ndarray) -> np.ndarray:
    """Log-mel float32 [B, T, n_mels], T a multiple of the U-Net's stride -> salience float32 [B, T, 360].

    Each of the B clips is a recording of its own, which fits into memory.
    """
    clips = network.features(log_mel)
    return np.stack([np.concatenate(list(salience_of_features(network, [clip]))) for clip in clips])


def salience_of_features(
    network: Network,
    blocks: Iterable[np.ndarray],
    segment_frames: int = SEGMENT_FRAMES,
    look_ahead_frames: int = LOOK_AHEAD_FRAMES,
    block_frames: int = BLOCK_FRAMES,
) -> Iterator[np.ndarray]:
    """Salience in consecutive blocks [k, 360] of a recording whose features come in consecutive blocks [k, features].

    Up to `segment_frames + look_ahead_frames` frames the result is that of the whole recording. Beyond that each frame
    has all frames before it as context, and at least `look_ahead_frames` after it.
    """
    states: list[np.ndarray | None] = [None] * network.gru_layers  # of the forward direction, before `pending` begins
    pending: list[np.ndarray] = []
    for block in blocks:
        pending.append(block)
        if sum(map(len, pending)) > segment_frames + look_ahead_frames:
            x = np.concatenate(pending)
            yield from _salience(network, x, segment_frames, states, block_frames)
            pending = [x[segment_frames:].copy()]  # a copy, to release the memory of the rest
    if pending:
        x = np.concatenate(pending)
        yield from _salience(network, x, len(x), states, block_frames)


def _salience(
    network: Network, x: np.ndarray, n_wanted: int, states: list[np.ndarray | None], block_frames: int
) -> Iterator[np.ndarray]:
    """Salience of the first `n_wanted` of the features [n, features]; `states` move on to the last of these."""
    for layer in range(network.gru_layers):
        is_last = layer == network.gru_layers - 1
        n_kept = n_wanted if is_last else len(x)
        forward, backward = _both_directions(network, x, n_kept, states[layer], layer, block_frames)
        states[layer] = forward[n_wanted - 1]
        x = np.concatenate([forward, backward], axis=1)
    for start in range(0, n_wanted, block_frames):
        yield network.head(x[start : start + block_frames])


def _both_directions(
    network: Network, x: np.ndarray, n_kept: int, state: np.ndarray | None, layer: int, block_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a layer over the first `n_kept` of x [n, features]: forward from `state`, backward from the end of x.

    [n_kept, hidden] each. Neither direction needs the other: a network may compute a block of each at the same time.
    """
    forward: list[np.ndarray] = []
    backward: list[np.ndarray] = []
    after: np.ndarray | None = None
    starts = range(0, len(x), block_frames)
    for start, from_end in zip(starts, reversed(starts)):
        ahead, back = x[start : min(start + block_frames, n_kept)], x[from_end : from_end + block_frames]
        if len(ahead):
            output, behind = network.gru_pair((ahead, back), (state, after), layer)
            state = output[-1]
            forward.append(output)
        else:
            behind = network.gru(back, after, layer, reverse=True)
        after = behind[0]
        if from_end < n_kept:
            backward.append(behind[: n_kept - from_end])
    return np.concatenate(forward), np.concatenate(backward[::-1])
