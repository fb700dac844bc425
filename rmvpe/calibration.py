"""From the largest salience of a frame to the probability that its pitch is right.

Salience is trained per bin. Its maximum ranks frames well, but it is too low or too high as a probability: for a pitch
halfway between two bins, for example, it never reaches 1. A slope and an offset on the logit (Platt 1999, Probabilistic
Outputs for Support Vector Machines; see Guo et al. 2017, https://arxiv.org/abs/1706.04599), fitted on a validation set
and stored with the weights, correct this:

    confidence = sigmoid(slope * logit(salience) + offset)

(1, 0) leaves salience as it is. The order of frames does not change, so calibration makes no other voicing possible. A
voicing threshold is on the calibrated scale.
"""

import numpy as np

NONE = (1.0, 0.0)
EDGE = 1e-6  # salience is kept this far from 0 and 1, where the logit is infinite


def calibrated(salience: np.ndarray, calibration: tuple[float, float]) -> np.ndarray:
    """Confidence float32 [...], 0 to 1, of salience [...]; exactly the salience for (1, 0), and 0 stays 0."""
    salience = np.asarray(salience, dtype=np.float32)
    if tuple(calibration) == NONE:
        return salience
    slope, offset = calibration
    confidence = 1.0 / (1.0 + np.exp(-(slope * logit(salience) + offset)))
    return np.where(salience > 0, confidence, 0.0).astype(np.float32)


def logit(salience: np.ndarray) -> np.ndarray:
    """log(s / (1 - s)), float64 [...], of salience [...] from 0 to 1, clipped to `EDGE` from both ends."""
    inside = np.clip(np.asarray(salience, dtype=np.float64), EDGE, 1.0 - EDGE)
    return np.log(inside / (1.0 - inside))
