"""Prune saturated GRU units: those whose update gate stays near 1, which are replaced by their mean.

A unit computes h = (1 - z) n + z h' from its last state h', its candidate n and its update gate z (Cho et al. 2014,
https://arxiv.org/abs/1406.1078, in the form of torch.nn.GRU). Training moves units that it does not need to z = 1,
where they keep their first state, 0. In an excerpt of some seconds such a unit has no effect. In a recording of minutes
it drifts to states that did not occur in training, and the results depend on where the recording begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rmvpe.backends import Network
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.errors import UserError

GRU = "fc.0.gru"
GATES = 3  # reset, update, new: in this order along the first axis of the weights
DIRECTIONS = ("_l0", "_l0_reverse")


@dataclass(frozen=True)
class UnitStatistics:
    """Statistics of the units of both directions over some recordings, arrays [2, hidden].

    `memory_frames`: frames after which 1/e of a state is left, -1 / mean(log z). `mean`: the mean output.
    """

    memory_frames: np.ndarray
    mean: np.ndarray


def measure_units(network: Network, checkpoint: Checkpoint, log_mels: Iterable[np.ndarray]) -> UnitStatistics:
    """Statistics of the units of `network`, which runs `checkpoint`, over log-mel spectrograms [T, n_mels].

    T is a multiple of the U-Net's stride. Raises UserError for a network of several GRU layers, or no spectrogram.
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
        raise UserError("there is no spectrogram to measure: give at least one recording")
    return UnitStatistics(-frames / np.minimum(log_gate, -1e-12), total / frames)


def prune(checkpoint: Checkpoint, units: UnitStatistics, saturated: np.ndarray) -> Checkpoint:
    """The checkpoint without the units of the mask `saturated`, bool [2, hidden]; their means go into the biases.

    All weights of these units become 0, and so do their gradients: more training does not change them.
    """
    tensors = {name: tensor.copy() for name, tensor in checkpoint.tensors.items()}
    hidden = checkpoint.config.gru_hidden
    for side, name in enumerate(DIRECTIONS):
        unit = np.flatnonzero(saturated[side])
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
    """log z [T, hidden] of one direction for the inputs x [T, features] and the last states `before` [T, hidden]."""
    hidden = before.shape[1]
    weight_ih, weight_hh, bias_ih, bias_hh = (
        tensors[f"{GRU}.{kind}{name}"][hidden : 2 * hidden] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    gate = x @ weight_ih.T + bias_ih + before @ weight_hh.T + bias_hh
    return -np.logaddexp(0.0, -gate.astype(np.float64))
