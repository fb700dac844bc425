"""Speed of both frameworks on this machine, side by side: seconds per second of audio, interleaved, median of runs.

    python scripts/benchmark.py [--weights small] [--seconds 60] [--runs 5] [--device cpu] [--high-register]

`e2e0` and `e2e` have no bundled weights: their speed is measured with random ones.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

import rmvpe
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.flops import flops_per_second
from rmvpe.checkpoint.store import Checkpoint, bundled_weights
from rmvpe.config import PRESETS, preset
from rmvpe.errors import UserError, cli_errors
from rmvpe.mel import log_mel

BACKENDS = ("torch", "jax")


def weights_of(name: str) -> str | Checkpoint:
    """Bundled weights or a path as given; random weights for a preset that has none."""
    if name in bundled_weights() or name not in PRESETS:
        return name
    config, rng = preset(name), np.random.default_rng(0)
    return Checkpoint(config, {key: random_tensor(key, shape, rng) for key, shape in expected_tensors(config).items()})


def random_tensor(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights that keep activations near 1; neutral batch norms and biases."""
    if len(shape) > 1:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    ones = key.endswith("running_var") or (key.endswith("weight") and "gru" not in key)
    return np.full(shape, float(ones), dtype=np.float32)


def median_seconds(predictions: Mapping[str, Callable[..., object]], audio: np.ndarray, runs: int) -> dict[str, float]:
    """Median wall time of a whole prediction by name; they take turns, after one warm-up each."""
    times: dict[str, list[float]] = {name: [] for name in predictions}
    for run in range(runs + 1):
        for name, predict in predictions.items():
            start = time.perf_counter()
            predict(audio, 16000)
            if run:
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="small", help="bundled name, preset or file (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each backend (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="of both backends (default: %(default)s)")
    parser.add_argument("--high-register", action="store_true", help="compare with its two passes")
    arguments = parser.parse_args()
    with cli_errors("benchmark"):
        if arguments.runs < 1 or arguments.seconds <= 0:
            raise UserError("--runs must be at least 1 and --seconds more than 0")
        weights = weights_of(arguments.weights)
        estimators = {name: rmvpe.load(weights, name, arguments.device) for name in BACKENDS}
        audio = np.random.default_rng(0).normal(0, 0.1, int(16000 * arguments.seconds)).astype(np.float32)
        model = estimators["torch"].model
        start = time.perf_counter()
        log_mel(audio, model.mel)
        front_end = time.perf_counter() - start
        predictions: dict[str, Callable[..., object]] = {}
        for name, estimator in estimators.items():
            predictions[name] = estimator.from_audio
            if arguments.high_register:
                predictions[f"{name}, high register"] = partial(estimator.from_audio, high_register=True)
        medians = median_seconds(predictions, audio, arguments.runs)
        print(f"{model.name}: {flops_per_second(model) / 1e9:.2f} GFLOP/s of audio; {arguments.seconds:g} s of audio")
        width = max(map(len, medians))
        for name, seconds in medians.items():
            share = seconds / arguments.seconds
            print(f"{name:<{width}} {share:.4f} s per second of audio ({1 / share:.0f} times real time)")
        print(f"jax / torch: {medians['jax'] / medians['torch']:.2f}; log-mel: {front_end / arguments.seconds:.5f} s")


if __name__ == "__main__":
    main()
