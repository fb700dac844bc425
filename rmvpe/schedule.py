"""The learning rate of a step: one definition for both trainers."""

import math

from rmvpe.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Learning rate of update `step` (from 0).

    "step": the reference's, times `decay_rate` after every `decay_steps` updates. "cosine": half a cosine from
    `learning_rate` down to 0 at `iterations`. Both rise linearly over the first `warmup_steps` updates.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        share = min(1.0, step / config.iterations)
        return warm * config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
    return warm * config.learning_rate * config.decay_rate ** (step // config.decay_steps)
