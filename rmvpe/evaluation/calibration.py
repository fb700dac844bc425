"""Fit the calibration that weights bring (`rmvpe.calibration`) on frames that are known to be right or wrong."""

import numpy as np

from rmvpe.calibration import NONE, logit

NEWTON_STEPS = 50

RIDGE = 1e-6  # keeps Newton's step finite where the two kinds of frames are cleanly parted


def fit_calibration(salience: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset by maximum likelihood, from salience [frames] and whether each frame is right, bool [frames].

    Raises ValueError where all frames are right or none is, or where more salience does not mean more of them.
    """
    if right.all() or not right.any():
        raise ValueError("calibration needs frames that are right and frames that are not")
    inputs = np.stack([logit(salience), np.ones(len(salience))], axis=1)  # [frames, 2]
    weights = np.array(NONE)
    for _ in range(NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(inputs @ weights, -500.0, 500.0)))
        gradient = inputs.T @ (right - chance) - RIDGE * weights
        curvature = (inputs * (chance * (1.0 - chance))[:, None]).T @ inputs + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))  # at most 1: no overshoot
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = (float(value) for value in weights)
    if slope <= 0.0:
        raise ValueError("calibration failed: frames of more salience are not right more often")
    return slope, offset
