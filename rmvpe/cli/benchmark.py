"""`rmvpe benchmark`: the speed of each installed backend on this machine, and which one to use."""

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
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator, load
from rmvpe.mel import log_mel
from rmvpe.processes import cpus_of_this_process

SUMMARY = (
    "Measure the speed of prediction on this machine, of one long file and of short clips: median of runs in which the "
    "backends take turns. e2e0 and e2e have no bundled weights: their speed is measured with random ones."
)
CLIP_S = (2.0, 10.0)
ABOUT_EQUAL = 1.1  # a smaller ratio is within what such a measurement varies by
Predict = Callable[[np.ndarray, float], object]


@dataclass(frozen=True)
class Settings:
    """What is measured. seconds: of one long file of noise. clips: how many short ones, of 2 to 10 s, in a run.

    runs: timed runs of each, after one that is not timed. Raises UserError for numbers that are not possible.
    """

    weights: Sequence[str] = (DEFAULT_WEIGHTS,)
    device: str = "cpu"
    seconds: float = 60.0
    clips: int = 8
    runs: int = 5
    high_register: bool = False

    def __post_init__(self) -> None:
        if self.runs < 1 or self.clips < 1 or not self.seconds > 0:
            raise UserError("--runs must be at least 1, --clips too, and --seconds more than 0")


@dataclass(frozen=True)
class Speed:
    """Seconds per second of audio, of the long file and of the clips."""

    long: float
    clips: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe benchmark`."""
    plain, add = Settings(), parser.add_argument
    text = f"bundled names, presets or files (default: {' '.join(plain.weights)})"
    add("--weights", nargs="+", default=plain.weights, metavar="WEIGHTS", help=text)
    add("--seconds", type=float, default=plain.seconds, metavar="S", help="of the long file (default: %(default)s)")
    text = "short clips of 2 to 10 s, with new lengths in each run (default: %(default)s)"
    add("--clips", type=int, default=plain.clips, metavar="N", help=text)
    text = "timed runs of each backend (default: %(default)s)"
    add("--runs", type=int, default=plain.runs, metavar="N", help=text)
    add("--device", default=plain.device, help="of all backends (default: %(default)s)")
    text = f"measure one backend alone (default: {', '.join(BACKENDS)}, those that are installed)"
    add("--backend", choices=BACKENDS, help=text)
    add("--high-register", action="store_true", help="measure its two passes besides")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    wanted = (arguments.backend,) if arguments.backend else tuple(installed_backends())
    given = {name: getattr(arguments, name) for name in ("device", "seconds", "clips", "runs", "high_register")}
    settings = Settings(tuple(arguments.weights), **given)
    backends = [choose_backend(name) for name in wanted or ("auto",)]
    for weights in settings.weights:
        benchmark(weights, backends, settings)
    return 0


def benchmark(weights: str, backends: Sequence[str], settings: Settings) -> None:
    """Print the speed of some weights with each backend, of the log-mel alone, and what to use. Raises UserError."""
    loaded = weights_of(weights)
    estimators = {name: load(loaded, name, settings.device) for name in backends}
    model = estimators[backends[0]].model
    predictions: dict[str, Predict] = {}
    for name, estimator in estimators.items():
        predictions[name] = estimator.from_audio
        if settings.high_register:
            predictions[f"{name}, high register"] = partial(estimator.from_audio, high_register=True)
    speeds = median_speeds(predictions, settings)
    cpus = cpus_of_this_process()
    print(
        f"{model.name}: {flops_per_second(model) / 1e9:.2f} GFLOP/s of audio; {cpus} CPU{'' if cpus == 1 else 's'}; "
        "seconds per second of audio, and times real time"
    )
    labels = {name: label(name, estimators) for name in speeds}
    width = max(map(len, labels.values()))
    long, clips = f"file of {settings.seconds:g} s", f"clips of {CLIP_S[0]:g} to {CLIP_S[1]:g} s"
    print(f"{'':<{width}}   {long:<20}  {clips}")
    for name, speed in speeds.items():
        print(f"{labels[name]:<{width}}   {in_words(speed.long):<20}  {in_words(speed.clips)}")
    print(f"{'log-mel alone':<{width}}   {in_words(log_mel_speed(estimators[backends[0]], settings.seconds))}")
    if len(backends) > 1:
        print(advice({name: speeds[name] for name in backends}, choose_backend("auto", settings.device)))


def label(name: str, estimators: Mapping[str, Estimator]) -> str:
    """The name of a line, with the threads or the device of its backend."""
    backend = estimators[name.partition(",")[0]].backend
    threads = backend.threads
    return f"{name}, " + (f"{threads} thread{'' if threads == 1 else 's'}" if threads else f"on {backend.device}")


def in_words(speed: float) -> str:
    """Seconds per second of audio, and the inverse."""
    return f"{speed:.4f}  {1 / speed:5.0f} times"


def advice(speeds: Mapping[str, Speed], default: str) -> str:
    """Which backend to use, in a sentence."""
    best = {kind: min(speeds, key=lambda name: getattr(speeds[name], kind)) for kind in ("long", "clips")}
    words = {"long": "long files", "clips": "short clips"}
    if default not in speeds:
        return f"Use --backend {best['long']} for long files and --backend {best['clips']} for short clips."
    parts = []
    for kind, name in best.items():
        gain = getattr(speeds[default], kind) / getattr(speeds[name], kind)
        if gain > ABOUT_EQUAL:
            parts.append(f"--backend {name} for {words[kind]}: {gain:.1f} times as fast as {default}, the default here")
    return f"Use {'; '.join(parts)}." if parts else f"Use the default here, {default}: no other is faster."


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


def noise(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """So much noise at the network's rate: float32 [samples]."""
    return rng.normal(0, 0.1, max(1, round(SAMPLE_RATE_HZ * seconds))).astype(np.float32)


def median_speeds(predictions: Mapping[str, Predict], settings: Settings) -> dict[str, Speed]:
    """Median speed of a whole prediction by name; they take turns, after one warm-up each.

    The clips of each run have other lengths, the same for all: what a backend compiles for a length is in its time.
    """
    rng = np.random.default_rng(0)
    long = [noise(settings.seconds, rng)]
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in predictions}
    for number in range(settings.runs + 1):
        clips = [noise(length_s, rng) for length_s in rng.uniform(*CLIP_S, settings.clips)]
        for name, predict in predictions.items():
            speed = seconds_per_second(predict, long), seconds_per_second(predict, clips)
            if number:
                speeds[name].append(speed)
    return {name: Speed(*(float(value) for value in np.median(pairs, axis=0))) for name, pairs in speeds.items()}


def seconds_per_second(predict: Predict, sounds: Sequence[np.ndarray]) -> float:
    """Wall time of predictions one after the other, per second of audio."""
    start = time.perf_counter()
    for samples in sounds:
        predict(samples, SAMPLE_RATE_HZ)
    return (time.perf_counter() - start) * SAMPLE_RATE_HZ / sum(map(len, sounds))


def log_mel_speed(estimator: Estimator, seconds: float) -> float:
    """As `seconds_per_second`, of the spectrogram alone, which is computed on the host."""
    mel = estimator.model.mel
    return seconds_per_second(lambda samples, rate: log_mel(samples, mel), [noise(seconds, np.random.default_rng(0))])
