"""The recurrent part of a network over recordings of any length, as if it had read the whole of them at once.

The U-Net hears a bounded neighbourhood of each frame, so windows suffice for it. A GRU has no such bound: what it
remembers, trained weights decide. Here its forward direction goes through the whole recording in blocks that hand on
their state, and its backward direction likewise from the end. The end of a long recording is not waited for: the
backward direction then begins `AHEAD_FRAMES` after the frames that are answered, `STRETCH_FRAMES` at a time, so that
memory does not grow with the length. Up to 18 minutes the answer is that of the whole recording for any weights.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from rmvpe.backends import RecurrentNetwork

BLOCK_FRAMES = 1024  # a compiling backend fills shorter blocks up to this, so that it compiles once
STRETCH_FRAMES = 90 * BLOCK_FRAMES  # 15 min in frames of 10 ms: 240 MB for the presets
AHEAD_FRAMES = 18 * BLOCK_FRAMES  # 3 min


def salience_of_features(
    network: RecurrentNetwork,
    blocks: Iterable[np.ndarray],
    stretch_frames: int = STRETCH_FRAMES,
    ahead_frames: int = AHEAD_FRAMES,
) -> Iterator[np.ndarray]:
    """Salience in consecutive blocks [k, 360] of a recording's features, which come in blocks [k, features] in turn.

    Up to `stretch_frames + ahead_frames` frames it is that of the whole recording; after that every frame is answered
    with at least `ahead_frames` of what follows it, and all that went before it.
    """
    states: list[np.ndarray | None] = [None] * network.gru_layers  # of the forward direction, before the first of held
    held: list[np.ndarray] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) > stretch_frames + ahead_frames:
            held = [np.concatenate(held)]
            yield from _answers(network, held[0], stretch_frames, states)
            held = [held[0][stretch_frames:].copy()]  # a copy, to let go of the rest
    if held:
        held = [np.concatenate(held)]
        yield from _answers(network, held[0], len(held[0]), states)


def _answers(
    network: RecurrentNetwork, x: np.ndarray, n_wanted: int, states: list[np.ndarray | None]
) -> Iterator[np.ndarray]:
    """Salience of the first `n_wanted` of the features [n, features]; the states move on to the end of these."""
    for layer in range(network.gru_layers - 1):
        forward = np.concatenate(list(_forward(network, x, states[layer], layer)))
        states[layer] = forward[n_wanted - 1]
        x = np.concatenate([forward, _backward(network, x, len(x), layer)], axis=1)
    layer = network.gru_layers - 1
    backward, done = _backward(network, x, n_wanted, layer), 0
    for forward in _forward(network, x[:n_wanted], states[layer], layer):
        states[layer] = forward[-1]
        yield network.head(np.concatenate([forward, backward[done : done + len(forward)]], axis=1))
        done += len(forward)


def _forward(network: RecurrentNetwork, x: np.ndarray, state: np.ndarray | None, layer: int) -> Iterator[np.ndarray]:
    """Outputs of the forward direction over x [n, features], in blocks [k, hidden]."""
    for start in range(0, len(x), BLOCK_FRAMES):
        output = network.gru(x[start : start + BLOCK_FRAMES], state, layer, reverse=False)
        state = output[-1]
        yield output


def _backward(network: RecurrentNetwork, x: np.ndarray, n_wanted: int, layer: int) -> np.ndarray:
    """Outputs [n_wanted, hidden] of the backward direction, which begins at the end of x [n, features]."""
    outputs: list[np.ndarray] = []
    state = None
    for start in reversed(range(0, len(x), BLOCK_FRAMES)):
        output = network.gru(x[start : start + BLOCK_FRAMES], state, layer, reverse=True)
        state = output[0]
        if start < n_wanted:
            outputs.append(output[: n_wanted - start])
    return np.concatenate(outputs[::-1])
