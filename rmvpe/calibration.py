"""From the largest salience of a frame to the probability that its pitch is right.

Salience is trained per bin, so its maximum ranks frames well and says too little or too much as a probability: a voice
halfway between two bins, or one the network hesitates about by a bin, never reaches 1. A slope and an offset on the
logit (Platt 1999), fitted on a validation set and stored with the weights, mend that:

    confidence = sigmoid(slope * logit(salience) + offset)

(1, 0) leaves salience as it is. The order of frames never changes, so neither does what voicing can be reached by some
threshold; thresholds are on the calibrated scale.
"""

import numpy as np

NONE = (1.0, 0.0)
EDGE = 1e-6  # salience is kept so far from 0 and 1, where the logit ends
NEWTON_STEPS = 50
RIDGE = 1e-6  # keeps Newton's step finite where the two kinds of frames are cleanly parted


def calibrated(salience: np.ndarray, calibration: tuple[float, float]) -> np.ndarray:
    """Confidence float32, 0 to 1, from salience of any shape; exactly the salience for (1, 0), and 0 stays 0."""
    salience = np.asarray(salience, dtype=np.float32)
    if tuple(calibration) == NONE:
        return salience
    slope, offset = calibration
    confidence = 1.0 / (1.0 + np.exp(-(slope * _logit(salience) + offset)))
    return np.where(salience > 0, confidence, 0.0).astype(np.float32)


def fit_calibration(salience: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset by maximum likelihood, from salience [frames] and whether each frame is right, bool [frames].

    Raises ValueError where all frames are right or none is, or where more salience does not mean more of them.
    """
    if right.all() or not right.any():
        raise ValueError("calibration needs frames that are right and frames that are not")
    inputs = np.stack([_logit(salience), np.ones(len(salience))], axis=1)  # [frames, 2]
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


def _logit(salience: np.ndarray) -> np.ndarray:
    inside = np.clip(np.asarray(salience, dtype=np.float64), EDGE, 1.0 - EDGE)
    return np.log(inside / (1.0 - inside))
