"""`rmvpe benchmark`: seconds per second of audio of each installed framework on this machine."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.backends import BACKENDS, choose_backend, installed_backends
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.flops import flops_per_second
from rmvpe.checkpoint.store import Checkpoint, is_name
from rmvpe.config import PRESETS, preset
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS, load
from rmvpe.mel import log_mel

SUMMARY = (
    "Measure the speed of prediction on this machine: seconds per second of audio, median of runs in which the "
    "frameworks take turns. e2e0 and e2e have no bundled weights: their speed is measured with random ones."
)


@dataclass(frozen=True)
class Settings:
    """What is measured. seconds: of audio, which is noise. runs: timed runs of each, after one that is not timed.

    Raises UserError for numbers that are not possible.
    """

    weights: str = DEFAULT_WEIGHTS
    device: str = "cpu"
    seconds: float = 60.0
    runs: int = 5
    high_register: bool = False

    def __post_init__(self) -> None:
        if self.runs < 1 or not self.seconds > 0:
            raise UserError("--runs must be at least 1 and --seconds more than 0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe benchmark`."""
    plain, add = Settings(), parser.add_argument
    text = "bundled name, preset or file (default: %(default)s)"
    add("--weights", default=plain.weights, help=text)
    add("--seconds", type=float, default=plain.seconds, metavar="S", help="of audio (default: %(default)s)")
    text = "timed runs of each framework (default: %(default)s)"
    add("--runs", type=int, default=plain.runs, metavar="N", help=text)
    add("--device", default=plain.device, help="of all frameworks (default: %(default)s)")
    text = f"measure one framework alone (default: {', '.join(BACKENDS)}, those that are installed)"
    add("--backend", choices=BACKENDS, help=text)
    add("--high-register", action="store_true", help="measure its two passes besides")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    wanted = (arguments.backend,) if arguments.backend else tuple(installed_backends())
    settings = Settings(arguments.weights, arguments.device, arguments.seconds, arguments.runs, arguments.high_register)
    benchmark([choose_backend(name) for name in wanted or ("auto",)], settings)
    return 0


def benchmark(backends: Sequence[str], settings: Settings) -> None:
    """Print the time of each backend, and of the log-mel alone. Raises UserError."""
    weights = weights_of(settings.weights)
    estimators = {name: load(weights, name, settings.device) for name in backends}
    samples = int(SAMPLE_RATE_HZ * settings.seconds)
    audio = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    model = estimators[backends[0]].model
    start = time.perf_counter()
    log_mel(audio, model.mel)
    front_end = time.perf_counter() - start
    predictions: dict[str, Callable[..., object]] = {}
    for name, estimator in estimators.items():
        predictions[name] = estimator.from_audio
        if settings.high_register:
            predictions[f"{name}, high register"] = partial(estimator.from_audio, high_register=True)
    medians = median_seconds(predictions, audio, settings.runs)
    print(f"{model.name}: {flops_per_second(model) / 1e9:.2f} GFLOP/s of audio; {settings.seconds:g} s of audio")
    width = max(map(len, medians))
    for name, seconds in medians.items():
        share = seconds / settings.seconds
        print(f"{name:<{width}} {share:.4f} s per second of audio ({1 / share:.0f} times real time)")
    first = backends[0]
    for second in backends[1:]:
        print(f"{second} / {first}: {medians[second] / medians[first]:.2f}")
    print(f"log-mel: {front_end / settings.seconds:.5f} s per second of audio")


def weights_of(name: str) -> str | Checkpoint:
    """Bundled weights or a path as given; random weights for a preset that has none."""
    if is_name(name) or name not in PRESETS:
        return name
    config, rng = preset(name), np.random.default_rng(0)
    return Checkpoint(config, {key: random_tensor(key, shape, rng) for key, shape in expected_tensors(config).items()})


def random_tensor(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights of `shape` that keep activations near 1; neutral batch norms and biases."""
    if len(shape) > 1:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    ones = key.endswith("running_var") or (key.endswith("weight") and "gru" not in key)
    return np.full(shape, float(ones), dtype=np.float32)


def median_seconds(predictions: Mapping[str, Callable[..., object]], audio: np.ndarray, runs: int) -> dict[str, float]:
    """Median wall time of a whole prediction by name; they take turns, after one warm-up each."""
    times: dict[str, list[float]] = {name: [] for name in predictions}
    for number in range(runs + 1):
        for name, predict in predictions.items():
            start = time.perf_counter()
            predict(audio, SAMPLE_RATE_HZ)
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}
