"""The voicing threshold and the calibration that fit a network, from its predictions on recordings with known f0.

They are stored in the metadata of a checkpoint (`rmvpe.checkpoint.store.Checkpoint`), and prediction uses them. A
checkpoint of new weights gets its own: what fits other weights, those it started from included, does not fit it.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from rmvpe.calibration import calibrated
from rmvpe.config import DecodeConfig
from rmvpe.evaluation.calibration import fit_calibration
from rmvpe.evaluation.evaluate import CLEAN, MUSIC, Prediction, best_threshold, correct_frames, snr_name

# By ratio, the voicing false alarm that a threshold may have. Accuracy alone would set the threshold too low: a
# synthetic voice is harder to detect in music than a real one.
MOST_FALSE_ALARMS = {snr_name(CLEAN): 0.05, snr_name(0.0): 0.05}
CANDIDATES = tuple(np.round(np.arange(0.02, 0.71, 0.01), 2).tolist())  # of the salience
NAMES = ("threshold", "calibration")  # in the metadata
# Fewer voiced or unvoiced frames of a ratio say nothing about a threshold: 5 % of them is less than one frame
MIN_FRAMES = 20


def recommendations(
    rows: dict[str, list[Prediction]],
    config: DecodeConfig,
    candidates: Sequence[float] = CANDIDATES,
    most_false_alarms: Mapping[str, float] = MOST_FALSE_ALARMS,
) -> dict[str, str]:
    """Metadata "threshold", on the calibrated scale, and "calibration".

    `rows`: predictions by voice-to-music ratio, made without calibration (`config`). The threshold has the highest
    overall accuracy, averaged over the ratios but `MUSIC`, among those that keep to `most_false_alarms`. Without
    "calibration", confidence is the salience: so it is if the predictions cannot be calibrated, as those of a network
    that has learnt nothing yet.
    """
    mixes = {ratio: files for ratio, files in rows.items() if ratio != snr_name(MUSIC)}
    limits = {ratio: most for ratio, most in most_false_alarms.items() if ratio in mixes}
    threshold = best_threshold(mixes, candidates, config, limits)
    confidence, right = (np.concatenate(parts) for parts in zip(*map(correct_frames, itertools.chain(*rows.values()))))
    try:
        slope, offset = fit_calibration(confidence, right)
    except ValueError:  # nothing is right, or more salience does not mean more often right
        return {"threshold": _text(threshold)}
    if round(slope, 4) <= 0:  # hardly more often: as text it would be 0, which is no calibration
        return {"threshold": _text(threshold)}
    return {
        "threshold": _text(float(calibrated(np.array(threshold), (slope, offset)))),
        "calibration": f"{slope:.4f},{offset:.4f}",
    }


def _text(threshold: float) -> str:
    """Two decimals, or more near 0 and 1, which as thresholds would voice all frames or none."""
    return f"{threshold:.2f}" if 0.1 <= threshold <= 0.99 else f"{threshold:.6f}"


def updated(
    last: Mapping[str, str],
    rows: dict[str, list[Prediction]],
    config: DecodeConfig,
    candidates: Sequence[float] = CANDIDATES,
    most_false_alarms: Mapping[str, float] = MOST_FALSE_ALARMS,
) -> dict[str, str]:
    """`recommendations` from the predictions `rows` of a network in training, or `last` where nothing can be fitted.

    Nothing can where some ratio has hardly any voiced or unvoiced frames, or something is not finite. A threshold
    without calibration does not replace a `last` that has both: they belong together.
    """
    if not can_be_fitted(rows):
        return dict(last)
    fitted = recommendations(rows, config, candidates, most_false_alarms)
    return dict(last) if "calibration" in last and "calibration" not in fitted else fitted


def can_be_fitted(rows: Mapping[str, Sequence[Prediction]]) -> bool:
    """Whether each ratio but `MUSIC` has `MIN_FRAMES` voiced and unvoiced points, and every confidence is finite."""
    mixes = [files for ratio, files in rows.items() if ratio != snr_name(MUSIC)]
    for files in mixes:
        voiced = sum(int((prediction.ref_hz > 0).sum()) for prediction in files)
        unvoiced = sum(int((prediction.ref_hz <= 0).sum()) for prediction in files)
        if min(voiced, unvoiced) < MIN_FRAMES:
            return False
    return bool(mixes) and all(np.isfinite(row.curve.confidence).all() for files in mixes for row in files)
