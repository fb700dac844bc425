"""GRU units whose update gate stays shut: what they remember lasts for hours, so they are replaced by their mean.

A unit obeys h = (1 - z) n + z h. Training drives units that it has no use for to z = 1, where they keep their first
value, zero, whatever comes. In an excerpt of some seconds that is as good as silence. In a recording of minutes such a
unit drifts through values that no training excerpt showed, and answers depend on where the recording begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rmvpe.backends import Network
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.errors import UserError

GRU = "fc.0.gru"
GATES = 3  # reset, update, new, one below the other in the weights
DIRECTIONS = ("_l0", "_l0_reverse")


@dataclass(frozen=True)
class Units:
    """What the units of both directions did over some recordings, each array [2, hidden].

    `memory_frames`: after how many frames 1/e of a state is left, -1 / mean(log z). `mean`: of their outputs.
    """

    memory_frames: np.ndarray
    mean: np.ndarray


def observe(network: Network, checkpoint: Checkpoint, log_mels: Iterable[np.ndarray]) -> Units:
    """Watch the units of `network`, which computes `checkpoint`, over spectrograms [T, n_mels].

    T: a multiple of the U-Net's stride. Raises UserError for a network of several GRU layers, or no spectrogram.
    """
    if checkpoint.config.gru_layers != 1:
        raise UserError(
            f"{checkpoint.config.name} has {checkpoint.config.gru_layers} GRU layers: only one is supported"
        )
    hidden = checkpoint.config.gru_hidden
    frames, log_gate, total = 0, np.zeros((2, hidden)), np.zeros((2, hidden))
    for log_mel in log_mels:
        x = network.features(log_mel[None])[0]
        frames += len(x)
        for side, name in enumerate(DIRECTIONS):
            reverse = side == 1
            h = network.gru(x, None, 0, reverse=reverse)
            zeros = np.zeros((1, hidden), np.float32)
            before = np.concatenate([h[1:], zeros] if reverse else [zeros, h[:-1]])
            log_gate[side] += _log_update_gate(checkpoint.tensors, name, x, before).sum(axis=0)
            total[side] += h.sum(axis=0)
    if not frames:
        raise UserError("no recording was heard: give at least one")
    return Units(-frames / np.minimum(log_gate, -1e-12), total / frames)


def silence(checkpoint: Checkpoint, units: Units, stuck: np.ndarray) -> Checkpoint:
    """The checkpoint with the units of the mask `stuck` [2, hidden] at zero for ever, and their means in the biases.

    Their weights are all zero then, and so are the gradients of these: training on does not wake them.
    """
    tensors = {name: tensor.copy() for name, tensor in checkpoint.tensors.items()}
    hidden = checkpoint.config.gru_hidden
    for side, name in enumerate(DIRECTIONS):
        unit = np.flatnonzero(stuck[side])
        mean = units.mean[side, unit].astype(np.float32)
        recurrent, output = tensors[f"{GRU}.weight_hh{name}"], tensors["fc.1.weight"]
        tensors[f"{GRU}.bias_hh{name}"] += recurrent[:, unit] @ mean
        tensors["fc.1.bias"] += output[:, unit + side * hidden] @ mean
        recurrent[:, unit] = 0.0
        output[:, unit + side * hidden] = 0.0
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            for gate in range(GATES):
                tensors[f"{GRU}.{kind}{name}"][unit + gate * hidden] = 0.0
    return replace(checkpoint, tensors=tensors)


def _log_update_gate(tensors: dict[str, np.ndarray], name: str, x: np.ndarray, before: np.ndarray) -> np.ndarray:
    """log z [T, hidden] of a direction that reads x [T, features] in the states `before` [T, hidden]."""
    hidden = before.shape[1]
    weight_ih, weight_hh, bias_ih, bias_hh = (
        tensors[f"{GRU}.{kind}{name}"][hidden : 2 * hidden] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    gate = x @ weight_ih.T + bias_ih + before @ weight_hh.T + bias_hh
    return -np.logaddexp(0.0, -gate.astype(np.float64))
