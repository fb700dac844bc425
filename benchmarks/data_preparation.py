"""CPU time of preparing training examples, as a share of a training step of torch, and of each effect.

    OMP_NUM_THREADS=1 python benchmarks/data_preparation.py [--model_name small] [--examples 300] [--steps 5]

The examples are those of the demo data set with the usual augmentation, all effects on. The recordings are in memory;
reading them is a row of its own. An effect's row is what an excerpt costs that has it, less one without any effect.
Times are of all threads of the process, so that other programs change little; one thread of torch, as above, because
threads that wait for each other count too.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.config import AugmentConfig, TrainConfig, preset
from rmvpe.data.pipeline import MakeExample
from rmvpe.data.readers.base import Item
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.synthesis.demo import make_demo
from rmvpe.program import Command, run_program

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.training_step import batch_of, ours  # noqa: E402 # found by the line above

# Of each row: the probabilities that are 1 while all others are 0
EFFECTS = {
    "key shift": ("key_shift",),
    "another item's music, resampled": ("accompaniment", "foreign", "music_speed"),
    "backing voice": ("backing",),
    "room": ("reverberation",),
    "spectral slope": ("tilt",),
    "band limit": ("band_limit",),
    "noise": ("noise",),
    "compression": ("compression",),
    "overload": ("clip",),
    "codec": ("codec",),
}


class InMemory(Hybrid):
    """One split of a Hybrid folder, read once."""

    def __init__(self, root: Path, split: str) -> None:
        super().__init__(root, split)
        self.items = [super(InMemory, self).__getitem__(index) for index in range(len(self))]

    def __getitem__(self, index: int) -> Item:
        return self.items[index]


def cpu_s(run: Callable[[int], object], count: int) -> float:
    """CPU seconds of one of `run(0)` ... `run(count - 1)`, on average, after one uncounted."""
    run(0)
    start = time.process_time()
    for number in range(count):
        run(number)
    return (time.process_time() - start) / count


def preparing(source: InMemory, config: TrainConfig, examples: int) -> float:
    """CPU seconds per example."""
    make = MakeExample(source, config)
    return cpu_s(lambda number: make(number % len(source), np.random.default_rng([1, number])), examples)


def only(*effects: str) -> AugmentConfig:
    """The augmentation with these effects in every excerpt and no other."""
    on: dict[str, Any] = {f"{name}_probability": 1.0 for name in effects}
    return dataclasses.replace(AugmentConfig.none(), **on)


def table(config: TrainConfig, examples: int, steps: int) -> str:
    """CPU time per excerpt and as a share of that of a training step, by what takes it."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_demo(Path(folder) / "demo")
        files, source = Hybrid(root, "train"), InMemory(root, "train")
        reading_s = cpu_s(lambda number: files[number % len(files)], examples)
    step = ours("torch", config, batch_of(config))
    step_s = cpu_s(lambda _: step(), steps) / config.batch_size
    all_s = preparing(source, config, examples)
    none_s = preparing(source, dataclasses.replace(config, augment=AugmentConfig.none()), examples)
    rows = {"training step": step_s, "reading": reading_s, "preparation, all effects": all_s, "no effect": none_s}
    for name, effects in EFFECTS.items():
        rows[name] = preparing(source, dataclasses.replace(config, augment=only(*effects)), examples) - none_s
    lines = ["| per excerpt | CPU time in ms | share of the step |", "|---|---|---|"]
    for name, seconds in rows.items():
        lines.append(f"| {name} | {1e3 * seconds:.2f} | {100 * seconds / step_s:.1f} % |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--model_name", default="small", help="default: %(default)s")
    parser.add_argument("--batch_size", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--excerpt_frames", type=int, default=256, help="default: %(default)s")
    parser.add_argument("--examples", type=int, default=300, help="per row (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="after one uncounted (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a table."""
    config = dataclasses.replace(
        TrainConfig(),
        model=preset(arguments.model_name),
        batch_size=arguments.batch_size,
        excerpt_frames=arguments.excerpt_frames,
    )
    print(table(config, arguments.examples, arguments.steps))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("data_preparation", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
