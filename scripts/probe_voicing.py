"""Do the GRU's outputs know more about voicing than the salience shows? A linear probe on frozen weights.

    python scripts/probe_voicing.py small --data Hybrid --files 400

A logistic regression from the GRU outputs and the confidence's logit to "there is a voice" is fitted on files of one
split, each mixed at three ratios, and compared with the confidence alone on another split. Per ratio, the probe gets
the threshold at which it calls as many unvoiced frames voiced (VFA) as the weights do at theirs. OA counts pitch and
voicing. The interval is a paired bootstrap over files. A large penalty leaves the confidence alone, a small one learns
the voices of the first split by heart: try several. An output of its own for voicing can be worth its cost only if a
probe shows a gain.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import rmvpe
from rmvpe.calibration import logit
from rmvpe.data.readers.base import Item
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.decode import pitch_in_blocks
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator
from rmvpe.evaluation.evaluate import CLEAN, MUSIC, evenly_spaced, mixed, snr_name
from rmvpe.evaluation.metrics import TOLERANCE_CENTS
from rmvpe.framing import frame_levels_db, frame_times, plan_padding
from rmvpe.interpolation import f0_at_times
from rmvpe.mel import log_mel
from rmvpe.pitch import cents_between
from rmvpe.program import Command, run_program

RATIOS = (CLEAN, 20.0, 10.0, 5.0, 0.0, -5.0, MUSIC)
IN_TURN = (0, 3, 5)  # a file for fitting comes at these of the ratios, counted from its own place on
RESAMPLED = 2000


@dataclass(frozen=True)
class Frames:
    """One file at one ratio: GRU outputs [T, 2 * hidden], confidence, truth, and whether the pitch is right [T]."""

    hidden: np.ndarray
    confidence: np.ndarray
    sung: np.ndarray
    right: np.ndarray  # the pitch is within 50 cents

    def probed(self, weights: np.ndarray, offset: float) -> np.ndarray:
        """What the probe says [T]: the higher, the likelier there is a voice; what the silence gate closes is never."""
        return np.where(self.confidence > 0, self.inputs() @ weights + offset, -np.inf)

    def inputs(self) -> np.ndarray:
        """What the probe sees, float32 [T, 2 * hidden + 1]."""
        return np.concatenate([self.hidden, logit(self.confidence)[:, None]], axis=1).astype(np.float32)


def frames_of(estimator: Estimator, item: Item, snr_db: float) -> Frames | None:
    """The network's view of an item at one ratio; None if that takes music and it has none."""
    audio, model = mixed(item, snr_db, estimator.model), estimator.model
    if audio is None:
        return None
    plan = plan_padding(len(audio), model.mel, model.time_multiple, "silence")
    shown = log_mel(np.pad(audio, (0, plan.zeros_right)).astype(np.float32), model.mel)[plan.frame_source]
    network = estimator.backend
    hidden = network.features(shown[None])[0]
    for layer in range(network.gru_layers):
        hidden = np.concatenate(network.gru_pair((hidden, hidden), (None, None), layer), axis=1)
    hidden = hidden[: plan.n_frames]
    salience = network.head(hidden)
    f0_hz, confidence = pitch_in_blocks(iter([salience]), estimator.config)
    silent = frame_levels_db(audio, model.mel) < estimator.config.silence_gate_db
    confidence = np.where(silent, 0.0, confidence)
    times = frame_times(plan.n_frames, model.mel)
    truth = f0_at_times(item.time_s, item.f0_hz, times)
    truth = np.zeros_like(truth) if snr_db == MUSIC else truth
    sung = truth > 0
    off = cents_between(np.maximum(f0_hz, 1.0), np.where(sung, truth, 1.0))
    right = sung & (np.abs(off) <= TOLERANCE_CENTS)
    known = (times >= item.time_s[0]) & (times <= item.time_s[-1])  # elsewhere the annotation says nothing
    return Frames(hidden[known], confidence[known], sung[known], right[known])


def gather(estimator: Estimator, data: Hybrid, work: Sequence[tuple[int, float]]) -> Iterator[Frames]:
    """The files of these numbers at these ratios."""
    from tqdm import tqdm

    for index, ratio in tqdm(work, unit="mix", file=sys.stderr):
        if (frames := frames_of(estimator, data[index], ratio)) is not None:
            yield frames


def several_ratios(indices: Sequence[int]) -> list[tuple[int, float]]:
    """Three ratios for each file, all of them equally often."""
    return [(index, RATIOS[(place + step) % len(RATIOS)]) for place, index in enumerate(indices) for step in IN_TURN]


def fit(files: Sequence[Frames], penalty: float) -> tuple[np.ndarray, float]:
    """Weights [inputs] and offset of the logistic regression. Raises UserError if frames of one kind are missing.

    penalty: on the squares of the weights of the GRU outputs; a large one leaves the confidence alone.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    x = np.concatenate([frames.inputs() for frames in files])
    y = np.concatenate([frames.sung for frames in files]).astype(np.float32)
    if not 0 < y.sum() < len(y):
        raise UserError("a probe needs voiced and unvoiced frames: give a data set with both")
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    x = (x - mean) / scale

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, offset = parameters[:-1].astype(np.float32), parameters[-1]
        z = x @ weights + np.float32(offset)
        difference = expit(z) - y
        value = np.mean(np.logaddexp(0.0, z) - y * z) + penalty * np.sum(weights[:-1] ** 2)
        gradient = np.append(x.T @ difference / len(y), difference.mean())
        gradient[:-2] += 2 * penalty * weights[:-1]
        return float(value), gradient.astype(np.float64)

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    weights = found.x[:-1] / scale
    return weights, float(found.x[-1] - mean @ weights)


def threshold_at(files: Sequence[Frames], scores: Sequence[np.ndarray], vfa: float) -> float:
    """The threshold that as large a share `vfa` of the unvoiced frames reaches."""
    unvoiced = np.sort(np.concatenate([score[~frames.sung] for frames, score in zip(files, scores)]))
    count = round(vfa * len(unvoiced))
    return float(unvoiced[-count]) if count else np.inf


def accuracy(files: Sequence[Frames], scores: Sequence[np.ndarray], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames with the right answer, and frames, per file [n]."""
    good = [
        np.sum(np.where(frames.sung, frames.right & (score >= threshold), score < threshold))
        for frames, score in zip(files, scores)
    ]
    return np.array(good, float), np.array([len(frames.sung) for frames in files], float)


def interval(change: np.ndarray, frames: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the pooled change in percent, by resampling files."""
    drawn = np.random.default_rng(0).integers(len(frames), size=(RESAMPLED, len(frames)))
    low, high = np.quantile(100.0 * change[drawn].sum(axis=1) / frames[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def table(estimator: Estimator, data: Hybrid, weights: np.ndarray, offset: float, indices: Sequence[int]) -> str:
    """OA of salience and probe at each ratio, as Markdown."""
    lines = ["| voice to music | VFA % | OA %, salience | OA %, probe | change [95 %] |", "|---|---|---|---|---|"]
    for ratio in RATIOS[:-1]:
        files = list(gather(estimator, data, [(index, ratio) for index in indices]))
        if not files:
            continue
        plain = [frames.confidence for frames in files]
        probed = [frames.probed(weights, offset) for frames in files]
        unvoiced = np.concatenate([frames.confidence[~frames.sung] for frames in files])
        own = estimator.config.known_threshold
        vfa = float(np.mean(unvoiced >= own))
        before, total = accuracy(files, plain, own)
        after, _ = accuracy(files, probed, threshold_at(files, probed, vfa))
        low, high = interval(after - before, total)
        old, new = 100 * before.sum() / total.sum(), 100 * after.sum() / total.sum()
        change = f"{new - old:+.2f} [{low:+.2f}, {high:+.2f}]"
        lines.append(f"| {snr_name(ratio)} | {100 * vfa:.1f} | {old:.2f} | {new:.2f} | {change} |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("weights", help="weights as `rmvpe predict` takes them")
    parser.add_argument(
        "--data", default="Hybrid", help="folder with train/ and the other split (default: %(default)s)"
    )
    parser.add_argument("--fit-split", default="train", help="split for the regression (default: %(default)s)")
    parser.add_argument("--split", default="valid", help="split on which both are compared (default: %(default)s)")
    parser.add_argument("--files", type=int, default=400, help="files for the regression (default: %(default)s)")
    parser.add_argument(
        "--penalty",
        type=float,
        default=1.0,
        help="on the squares of the weights of the GRU outputs, in units of their deviation (default: %(default)s)",
    )
    parser.add_argument("--backend", default="auto", help="as in `rmvpe predict` (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Fit, compare, print."""
    if arguments.files < 1:
        raise UserError(f"--files {arguments.files} must be at least 1")
    if not arguments.penalty >= 0:
        raise UserError(f"--penalty {arguments.penalty} must not be below 0")
    estimator = rmvpe.load(arguments.weights, arguments.backend, "cpu")
    data, other = Hybrid(arguments.data, arguments.fit_split), Hybrid(arguments.data, arguments.split)
    work = several_ratios(evenly_spaced(len(data), arguments.files))
    weights, offset = fit(list(gather(estimator, data, work)), arguments.penalty)
    print(table(estimator, other, weights, offset, range(len(other))))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("probe_voicing", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
