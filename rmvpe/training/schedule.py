"""The learning rate of a step, for both trainers."""

import math

from rmvpe.config import TrainConfig

DECAY_SHARE = 0.3  # of all updates, in which "hold" decays


def learning_rate(step: int, config: TrainConfig) -> float:
    """Learning rate of update `step` (from 0).

    "step": that of the reference, times `decay_rate` after every `decay_steps` updates. "cosine": half a cosine from
    `learning_rate` down to 0 at `iterations` (https://arxiv.org/abs/1608.03983). "hold": `learning_rate` until the last
    `DECAY_SHARE` of `iterations`, then half a cosine down to 0 (warmup, constant, decay: see
    https://arxiv.org/abs/2405.18392); before the decay, a run can be resumed with more iterations at no loss. All rise
    linearly over the first `warmup_steps` updates.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        share = min(1.0, step / config.iterations)
        return warm * config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
    if config.schedule == "hold":
        share = (step / config.iterations - (1.0 - DECAY_SHARE)) / DECAY_SHARE
        return warm * config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
    return warm * config.learning_rate * config.decay_rate ** (step // config.decay_steps)
