"""The published port's short run in both frameworks: E2E0, batch 32, 100 iterations, same start and same batches.

    python benchmarks/published_run.py --data Hybrid --logdir runs/published [--device cpu] [--amp]

Writes both runs, and the picture of both loss curves (LOGDIR/both.png). Dropout draws other masks in each framework, so
the curves agree in trend, not digit by digit; `tests/parity/test_training.py` compares them without dropout. For
seconds per step use `benchmarks/training_step.py`, where the frameworks take turns.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmvpe.checkpoint.store import save
from rmvpe.config import TrainConfig
from rmvpe.errors import UserError
from rmvpe.pictures.theme import DEFAULT_THEME, THEMES
from rmvpe.program import Command, run_program
from rmvpe.training.loss_curves import compare, read_curve
from rmvpe.training.plot import plot_comparison

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ("torch", "jax")
LABELS = {"torch": "PyTorch", "jax": "JAX"}
PUBLISHED = 0.1737  # the final loss that the SDAA port reports for this run


def write_start(path: Path) -> None:
    """The weights from which both runs start: PyTorch's initialisation of seed 0."""
    from rmvpe_torch.train import TorchTrainer

    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, TorchTrainer(TrainConfig()).checkpoint({}))


def train(framework: str, start: Path, data: str, logdir: Path, flags: list[str]) -> None:
    """One run, in a process of its own."""
    given = ["--initial", str(start), "--data", data, "--logdir", str(logdir), *flags]
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / f"train_{framework}.py"), *given])
    if done.returncode:
        raise UserError(f"the {framework} run ended with exit code {done.returncode}: see its message above")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--data", default="Hybrid", help="default: %(default)s")
    parser.add_argument("--logdir", type=Path, default=Path("runs/published"), help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="of both frameworks (default: %(default)s)")
    parser.add_argument("--framework", choices=(*FRAMEWORKS, "none"), help="run this one alone, or only compare")
    parser.add_argument("--amp", action="store_true", help="bfloat16 convolutions")
    parser.add_argument("--theme", choices=tuple(THEMES), default=DEFAULT_THEME, help="of the picture")


def run(arguments: argparse.Namespace) -> int:
    """Train with both frameworks and compare the losses."""
    start = arguments.logdir / "start.safetensors"
    if not start.exists():
        write_start(start)
    flags = ["--device", arguments.device, *(["--amp", "bfloat16"] if arguments.amp else [])]
    for framework in [arguments.framework] if arguments.framework else FRAMEWORKS:
        if framework != "none":
            train(framework, start, arguments.data, arguments.logdir / framework, flags)
    if arguments.framework in FRAMEWORKS:
        return 0
    curves = {name: read_curve(arguments.logdir / name) for name in FRAMEWORKS}
    comparison = compare(curves["torch"], curves["jax"])
    labels = [LABELS[name] for name in FRAMEWORKS]
    plot_comparison(
        arguments.logdir / "both.png", curves["torch"], curves["jax"], comparison, labels, theme=arguments.theme
    )
    for name, curve in curves.items():
        print(f"{name}: last loss {curve.loss[-1]:.4f}, mean of the last 10 {np.mean(curve.loss[-10:]):.4f}")
    print(f"last {len(comparison.step)} steps: mean relative error {comparison.relative:.4f}")
    print(f"the published port reports {PUBLISHED} for its own data")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("published_run", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
