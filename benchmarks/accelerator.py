"""Speed and parity on an accelerator, in one run: prediction from arrays and from files, training steps.

    python benchmarks/accelerator.py [--device cuda] [--weights small,e2e0] [--files 8] [--seconds 180]

For each framework that has the device, in a process of its own: the f0 of examples/demo.flac against that of the CPU
(largest difference in cents of frames that both call voiced, frames whose voicing differs); seconds of audio per second
of `from_batch` of --files arrays of --seconds at 16 kHz (all of them at once on the device), of the same for one array
after the other, and of `from_files` of as many WAV files with --jobs readers; a training step of float32 and bfloat16
against a plain float32 loop in torch on the same device. e2e0 has random weights. With --device cpu it runs anywhere.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ, read
from rmvpe.backends import device_name, installed_backends
from rmvpe.cli.benchmark import weights_of
from rmvpe.config import TrainConfig, preset
from rmvpe.errors import UserError
from rmvpe.estimator import load
from rmvpe.pitch import hz_to_cents
from rmvpe.program import Command, run_program

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.training_step import batch_of, plain  # noqa: E402 # found by the line above

DEMO = ROOT / "examples" / "demo.flac"
FRAMEWORKS = ("torch", "jax")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Settings:
    """What is measured. Raises UserError for what cannot be."""

    device: str
    weights: Sequence[str]
    files: int
    seconds: float
    runs: int
    jobs: int
    steps: int
    batch_size: int

    def __post_init__(self) -> None:
        if self.files < 1 or self.runs < 1 or self.jobs < 1 or self.batch_size < 1 or not self.seconds > 0:
            raise UserError("--files, --runs, --jobs, --batch-size and --seconds must be at least 1")
        if self.steps < 0:
            raise UserError("--steps must be 0, for no training, or more")


def median_s(work: Callable[[], object], runs: int) -> float:
    """Median seconds of a call, after one that is not timed."""
    times = []
    for number in range(runs + 1):
        start = time.perf_counter()
        work()
        if number:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def sounds(settings: Settings) -> list[np.ndarray]:
    """The demo recording repeated, a little different in each file: 16 kHz mono."""
    demo, samples = read(DEMO).samples, round(settings.seconds * SAMPLE_RATE_HZ)
    long = np.tile(demo, -(-(samples + 997 * settings.files) // len(demo)))
    return [long[997 * number : 997 * number + samples] for number in range(settings.files)]


def prediction(framework: str, weights: str, settings: Settings) -> dict[str, float]:
    """Parity with the CPU, and seconds of audio per second of each way."""
    import soundfile

    loaded = weights_of(weights)
    estimator = load(loaded, framework, settings.device)
    demo = read(DEMO).samples
    here, there = estimator.from_audio(demo, SAMPLE_RATE_HZ), load(loaded, framework, "cpu").from_audio(demo, 16_000)
    both = here.voiced & there.voiced
    cents = np.abs(hz_to_cents(here.f0_hz[both]) - hz_to_cents(there.f0_hz[both]))
    recordings = sounds(settings)
    audio_s = settings.files * settings.seconds
    found = {
        "cents": float(cents.max(initial=0.0)),
        "flips": float((here.voiced != there.voiced).sum()),
        "batch": audio_s / median_s(partial(estimator.from_batch, recordings, SAMPLE_RATE_HZ), settings.runs),
    }
    each = median_s(lambda: [estimator.from_audio(sound, SAMPLE_RATE_HZ) for sound in recordings], settings.runs)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.wav" for number in range(settings.files)]
        for path, sound in zip(paths, recordings):
            soundfile.write(path, sound, SAMPLE_RATE_HZ)
        files = median_s(lambda: list(estimator.from_files(paths, jobs=settings.jobs)), settings.runs)
    return found | {"one by one": audio_s / each, "files": audio_s / files}


def training(framework: str, weights: str, settings: Settings) -> dict[str, float]:
    """Seconds of a step: of the plain loop (in torch's process), then of ours in each precision."""
    config = replace(TrainConfig(), model=preset(weights), batch_size=settings.batch_size)
    batch, found = batch_of(config), {}
    if framework == "torch":
        found["plain"] = median_s(plain(config, batch, settings.device), settings.steps)
    for precision in PRECISIONS:
        trainer = trainer_of(framework, replace(config, conv_dtype=precision), settings.device)
        found[precision] = median_s(partial(trainer.train_step, [batch], config.learning_rate), settings.steps)
    return found


def trainer_of(framework: str, config: TrainConfig, device: str) -> Any:
    """Our trainer on the device."""
    if framework == "torch":
        from rmvpe_torch.device import resolve
        from rmvpe_torch.train import TorchTrainer

        return TorchTrainer(config, resolve(device))
    from rmvpe_jax.device import resolve as resolve_jax
    from rmvpe_jax.train import JaxTrainer

    return JaxTrainer(config, [resolve_jax(device)])


def measure(framework: str, settings: Settings) -> dict[str, dict[str, float]]:
    """What one process measures, by weights and part."""
    found = {}
    for weights in settings.weights:
        found[weights] = prediction(framework, weights, settings)
        if settings.steps:
            steps = training(framework, weights, settings)
            found[weights] |= {f"step {name}": seconds for name, seconds in steps.items()}
    return found


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row for each network and framework."""
    titles = ["weights", "framework", "against the CPU", "batch", "one by one", "files", "training step"]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for weights in next(iter(results.values())):
        for framework, found in results.items():
            row = found[weights]
            speeds = [f"{row[name]:.0f} x real time" for name in ("batch", "one by one", "files")]
            steps = [f"{name[5:]} {seconds:.4f} s" for name, seconds in row.items() if name.startswith("step ")]
            parity = f"{row['cents']:.4f} cents, {row['flips']:.0f} flips"
            lines.append("| " + " | ".join([weights, framework, parity, *speeds, ", ".join(steps) or "-"]) + " |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    add = parser.add_argument
    add("--device", default="auto", help="default: %(default)s")
    add("--weights", default="small,e2e0", metavar="NAMES", help="presets, joined by commas (default: %(default)s)")
    add("--files", type=int, default=8, metavar="N", help="recordings in a batch (default: %(default)s)")
    add("--seconds", type=float, default=180.0, metavar="S", help="of each (default: %(default)s)")
    add("--runs", type=int, default=3, metavar="N", help="after one that is not counted (default: %(default)s)")
    add("--jobs", type=int, default=1, metavar="N", help="processes that read files and predict (default: %(default)s)")
    add("--steps", type=int, default=10, metavar="N", help="of training; 0: none (default: %(default)s)")
    add("--batch-size", type=int, default=32, metavar="N", help="excerpts of a step (default: %(default)s)")
    add("--backend", choices=FRAMEWORKS, help="one framework alone (default: both, those that are installed)")
    add("--one", choices=FRAMEWORKS, help=argparse.SUPPRESS)


def flags_of(arguments: argparse.Namespace) -> list[str]:
    """The flags again, for the process of one framework."""
    names = ("device", "weights", "files", "seconds", "runs", "jobs", "steps", "batch_size")
    return [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))]


def run(arguments: argparse.Namespace) -> int:
    """Measure each framework in a process of its own, and print the table."""
    names = ("files", "seconds", "runs", "jobs", "steps", "batch_size")
    given = {name: getattr(arguments, name) for name in names}
    settings = Settings(device_name(arguments.device), arguments.weights.split(","), **given)
    for name in settings.weights:
        preset(name)
    if arguments.one:
        print(json.dumps(measure(arguments.one, settings)))
        return 0
    wanted = [arguments.backend] if arguments.backend else [name for name in installed_backends() if name in FRAMEWORKS]
    results = {}
    for framework in wanted:
        command = [sys.executable, __file__, *flags_of(arguments), "--one", framework]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise UserError(f"{framework} could not be measured on {settings.device}: see above")
        results[framework] = json.loads(done.stdout.splitlines()[-1])
    print(table(results))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default this process's) and return the exit code."""
    return run_program("accelerator", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
