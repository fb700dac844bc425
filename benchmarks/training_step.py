"""Seconds per training step and memory of both frameworks against a plain loop over the published recipe.

    python benchmarks/training_step.py [--model_name E2E0] [--batch_size 32] [--steps 5] [--rounds 2]
    python benchmarks/training_step.py --memory 4,8,16,32

Step time: all three take turns on the same batch, from the same weights, each in processes of its own, one at a time;
ours keep freed memory, as the training commands do. Medians are compared. The plain loop is what one writes first: the
same network in PyTorch's default memory layout, sigmoid and binary cross-entropy, Adam, clipping, nothing else. Memory:
the largest resident set of a fresh process that makes two steps, less that of one that has only imported and built the
network ("MB above the start").
"""

import argparse
import dataclasses
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

import numpy as np

from rmvpe.config import TrainConfig, preset
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError
from rmvpe.evaluation.trackers.process import peak_memory
from rmvpe.memory import keep_freed
from rmvpe.program import Command, run_program

FRAMEWORKS = ("torch", "jax")
PLAIN = "plain loop"


def batch_of(config: TrainConfig) -> Batch:
    """One batch of random numbers: the arithmetic does not depend on them."""
    rng = np.random.default_rng(0)
    shape = (config.batch_size, config.excerpt_frames)
    return Batch(
        log_mel=rng.normal(-5.0, 2.0, (*shape, config.model.mel.n_mels)).astype(np.float32),
        target=rng.random((*shape, config.model.n_bins)).astype(np.float32),
        f0_hz=np.zeros(shape, np.float32),
        index=np.zeros(config.batch_size, np.int64),
        start_s=np.zeros(config.batch_size),
    )


def ours(framework: str, config: TrainConfig, batch: Batch) -> Callable[[], object]:
    """One step of our trainer on the CPU."""
    if framework == "torch":
        from rmvpe_torch.train import TorchTrainer

        side = TorchTrainer(config, "cpu")
        return lambda: side.train_step([batch], config.learning_rate)
    import jax

    from rmvpe_jax.train import JaxTrainer

    other = JaxTrainer(config, jax.local_devices(backend="cpu")[:1])
    return lambda: other.train_step([batch], config.learning_rate)


def plain(config: TrainConfig, batch: Batch, device: str = "cpu") -> Callable[[], object]:
    """One step of the plain loop, on a device of torch."""
    import torch

    from rmvpe_torch.device import resolve
    from rmvpe_torch.model import RMVPE

    place = resolve(device)
    model = RMVPE(config.model).train().to(place)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)

    def step() -> float:
        log_mel, target = (torch.from_numpy(array).to(place) for array in (batch.log_mel, batch.target))
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy(model(log_mel), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_grad_norm)
        optimizer.step()
        return loss.item()

    return step


def measure(name: str, config: TrainConfig, steps: int, answer: Connection) -> None:
    """The process of one side: sends the seconds of each of its steps after the first, which compiles."""
    batch = batch_of(config)
    if name == PLAIN:
        step = plain(config, batch)
    else:
        keep_freed()  # as the training commands do
        step = ours(name, config, batch)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    answer.send(seconds[1:])


def step_times(config: TrainConfig, steps: int, rounds: int) -> str:
    """A table of median seconds per step.

    One process at a time: at batch 32 all three together fill 24 GB, and the system's search for memory counts as work.
    """
    context = multiprocessing.get_context("spawn")
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in (PLAIN, *FRAMEWORKS):
            receiver, answer = context.Pipe(duplex=False)
            process = context.Process(target=measure, args=(name, config, steps, answer))
            process.start()
            answer.close()  # so that the end of the process ends the wait for it
            seconds.setdefault(name, []).extend(receiver.recv())
            process.join()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    lines = ["| | seconds per step | against the plain loop |", "|---|---|---|"]
    for name, median in medians.items():
        lines.append(f"| {name} | {median:.3f} | {median / medians[PLAIN]:.2f} |")
    return "\n".join(lines)


def peak_mb(framework: str, config: TrainConfig, steps: int) -> float:
    """Largest resident set in MB of this process after `steps` steps."""
    keep_freed()
    run = ours(framework, config, batch_of(config))
    for _ in range(steps):
        run()
    peak = peak_memory()
    if peak is None:
        raise UserError("this system does not say how much memory a process has used: measure on Linux or macOS")
    return peak / 1e6


def memory_table(model_name: str, batch_sizes: list[int]) -> str:
    """A table of MB above the start per batch size, each measured in a process of its own."""

    def measured(framework: str, batch_size: int, steps: int) -> float:
        flags = ["--model_name", model_name, "--batch_size", str(batch_size), "--steps", str(steps)]
        command = [sys.executable, __file__, "--peak", framework, *flags]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    lines = ["| batch size | " + " | ".join(FRAMEWORKS) + " |", "|---" * (len(FRAMEWORKS) + 1) + "|"]
    for size in batch_sizes:
        cells = [f"{measured(name, size, 2) - measured(name, size, 0):.0f}" for name in FRAMEWORKS]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--model_name", default="E2E0", help="default: %(default)s")
    parser.add_argument("--batch_size", type=int, default=32, help="excerpts of 128 frames (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="per process, after one uncounted (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=2, help="processes per framework, in turns (default: %(default)s)"
    )
    parser.add_argument("--conv_dtype", default="float32", help="float32 or bfloat16, not for the plain loop")
    parser.add_argument("--memory", metavar="SIZES", help="measure memory for these batch sizes instead, as in 4,8,16")
    parser.add_argument("--peak", choices=FRAMEWORKS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Measure time or memory and print a table."""
    config = dataclasses.replace(
        TrainConfig(),
        model=preset(arguments.model_name),
        batch_size=arguments.batch_size,
        conv_dtype=arguments.conv_dtype,
    )
    if arguments.peak:
        print(peak_mb(arguments.peak, config, arguments.steps))
    elif arguments.memory:
        sizes = arguments.memory.split(",")
        if not all(size.isdecimal() for size in sizes):
            raise UserError(f"--memory {arguments.memory!r} must be batch sizes joined by commas, as in 4,8,16")
        print(memory_table(arguments.model_name, [int(size) for size in sizes]))
    else:
        print(step_times(config, arguments.steps, arguments.rounds))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("training_step", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
