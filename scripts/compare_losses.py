"""Are two training runs the same but for rounding? Mean error of their losses over the last steps, and a picture.

    python scripts/compare_losses.py runs/cuda runs/sdaa -o loss.png --labels "CUDA" "SDAA"

A (the reference) and B are run folders, log.jsonl files, or logs of SDAA's model collection (sdaa.jsonl, or what
tcap_dllogger prints). Passes if the mean relative error is at most 0.05 or the mean absolute error at most 0.0002, as
that collection asks. Exit code: 0 passed, 1 failed, 2 a log cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rmvpe.ownership import Output, check_outputs
from rmvpe.pictures.theme import DEFAULT_THEME, THEMES
from rmvpe.plot import check_picture
from rmvpe.program import Command, run_program
from rmvpe.training.loss_curves import LAST_STEPS, LossComparison, compare, read_curve
from rmvpe.training.plot import in_words, plot_comparison


def report(comparison: LossComparison) -> str:
    """The verdict and the numbers behind it."""
    step = comparison.step
    lines = [
        in_words(comparison),
        f"steps {step[0]} to {step[-1]}; signed, as SDAA's loss.py has it: "
        f"relative {comparison.signed_relative:+.6f}, absolute {comparison.signed_absolute:+.6f}",
    ]
    if comparison.net_relative is not None:
        lines.append(f"net of the dropout floor (not part of the verdict): relative {comparison.net_relative:.2%}")
    return "\n".join(lines)


def label_of(path: str) -> str:
    """A run's name for the legend: its folder."""
    resolved = Path(path).resolve()
    return resolved.parent.name if resolved.name in ("log.jsonl", "sdaa.jsonl") else resolved.name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("a", metavar="A", help="the reference: run folder or log")
    parser.add_argument("b", metavar="B", help="what is compared with it")
    parser.add_argument("--last", type=int, default=LAST_STEPS, help="common steps compared (default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="PICTURE", help="draw both curves (.png, .pdf or .svg)")
    parser.add_argument("--force", action="store_true", help="replace PICTURE even if rmvpe has not drawn it")
    parser.add_argument("--labels", nargs=2, metavar=("A", "B"), help="names in the picture (default: the folders)")
    parser.add_argument("--theme", choices=tuple(THEMES), default=DEFAULT_THEME, help="colours of the picture")


def run(arguments: argparse.Namespace) -> int:
    """Compare two runs; 0 if they agree, 1 if not."""
    if arguments.output:
        check_picture(arguments.output)
        check_outputs([Output(Path(arguments.output), "picture")], [arguments.a, arguments.b], arguments.force)
    a, b = read_curve(arguments.a), read_curve(arguments.b)
    comparison = compare(a, b, arguments.last)
    print(report(comparison))
    if arguments.output:
        labels = arguments.labels or (label_of(arguments.a), label_of(arguments.b))
        plot_comparison(arguments.output, a, b, comparison, labels, theme=arguments.theme)
    return 0 if comparison.passed else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("compare_losses", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
