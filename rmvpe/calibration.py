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


def calibrated(salience: np.ndarray, calibration: tuple[float, float]) -> np.ndarray:
    """Confidence float32, 0 to 1, from salience of any shape; exactly the salience for (1, 0), and 0 stays 0."""
    salience = np.asarray(salience, dtype=np.float32)
    if tuple(calibration) == NONE:
        return salience
    slope, offset = calibration
    confidence = 1.0 / (1.0 + np.exp(-(slope * logit(salience) + offset)))
    return np.where(salience > 0, confidence, 0.0).astype(np.float32)


def logit(salience: np.ndarray) -> np.ndarray:
    inside = np.clip(np.asarray(salience, dtype=np.float64), EDGE, 1.0 - EDGE)
    return np.log(inside / (1.0 - inside))
