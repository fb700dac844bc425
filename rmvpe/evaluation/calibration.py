"""Fit the calibration of a network (`rmvpe.calibration`) on frames whose pitch is known to be right or wrong.

Platt scaling: Platt 1999, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood
methods", in Advances in Large Margin Classifiers, MIT Press, 61-74.
"""

import math

import numpy as np

from rmvpe.calibration import NONE, logit

NEWTON_STEPS = 50

RIDGE = 1e-6  # keeps Newton's step finite if one salience separates all right frames from all wrong ones


def fit_calibration(salience: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the calibration, by maximum likelihood (Newton's method).

    `salience`: the largest salience of each frame, 0 to 1, [frames]. `right`: whether its pitch is right, bool
    [frames]. Raises ValueError if all frames are right or all are wrong, if frames with more salience are not right
    more often, or if no finite numbers fit.
    """
    if right.all() or not right.any():
        raise ValueError("calibration needs frames that are right and frames that are wrong")
    inputs = np.stack([logit(salience), np.ones(len(salience))], axis=1)  # [frames, 2]
    weights = np.array(NONE)
    for _ in range(NEWTON_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(inputs @ weights, -500.0, 500.0)))
        gradient = inputs.T @ (right - probability) - RIDGE * weights
        curvature = (inputs * (probability * (1.0 - probability))[:, None]).T @ inputs + RIDGE * np.eye(2)
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError as error:
            raise ValueError("calibration failed: the confidence of all frames is the same") from error
        weights = weights + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))  # at most 1: no overshoot
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = (float(value) for value in weights)
    if not (math.isfinite(slope) and math.isfinite(offset)):
        raise ValueError("calibration failed: its numbers are not finite")
    if slope <= 0.0:
        raise ValueError("calibration failed: frames with more salience are not right more often")
    return slope, offset
