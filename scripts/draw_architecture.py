"""Draw the picture of docs/architecture.md: the rooms, and the way of sound and of training data through them.

python scripts/draw_architecture.py -o docs/architecture.png
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmvpe.files import atomic_path
from rmvpe.ownership import Output, check_outputs
from rmvpe.pictures.file import check_picture, mark
from rmvpe.program import Command, run_program

WIDTH, HEIGHT = 12.6, 7.3  # inches, and the units of the drawing
CORE, DATA, RUNTIME, DOOR = "#e7eef7", "#e9f3e6", "#fbeedc", "#efe8f3"
LEGEND = {"the core: what the f0 is": CORE, "data and training": DATA, "a runtime: computes": RUNTIME, "a door": DOOR}
FOREGROUND, LINE_COLOUR, EDGE = "#1f2328", "#57606a", "#8a8f98"
LARGE, SMALL = 10.0, 8.2  # font sizes


@dataclass(frozen=True)
class Box:
    """A box with its lower left corner: a heading, what it does, and the room it lives in."""

    x: float
    y: float
    width: float
    height: float
    heading: str
    text: str
    colour: str

    def left(self) -> tuple[float, float]:
        """The middle of the left side."""
        return self.x, self.y + self.height / 2

    def right(self) -> tuple[float, float]:
        """The middle of the right side."""
        return self.x + self.width, self.y + self.height / 2

    def top(self) -> tuple[float, float]:
        """The middle of the upper side."""
        return self.x + self.width / 2, self.y + self.height

    def bottom(self) -> tuple[float, float]:
        """The middle of the lower side."""
        return self.x + self.width / 2, self.y


ESTIMATOR = (2.55, 3.75, 7.6, 1.75)  # x, y, width, height of the frame around what an Estimator does
BOXES = {
    "cli": Box(0.2, 5.95, 3.0, 0.85, "the rmvpe command", "rmvpe/cli: parse and call", DOOR),
    "api": Box(4.1, 5.95, 4.4, 0.85, "import rmvpe", "load, Estimator, F0Track", DOOR),
    "checkpoint": Box(9.4, 5.95, 3.0, 0.85, "weights", "rmvpe/checkpoint", CORE),
    "audio": Box(0.2, 4.0, 1.95, 1.05, "audio", "16 kHz mono\nrmvpe/audio", CORE),
    "mel": Box(2.75, 4.0, 2.1, 1.05, "windows, log-mel", "rmvpe/framing\nrmvpe/mel", CORE),
    "network": Box(5.2, 4.0, 2.2, 1.05, "network", "U-Net, GRU, head\nrmvpe/backends", RUNTIME),
    "decode": Box(7.8, 4.0, 2.1, 1.05, "decode", "f0, then voicing\nrmvpe/decode", CORE),
    "track": Box(10.45, 4.0, 1.95, 1.05, "F0Track", "csv npz npy pv\nrmvpe/track", CORE),
    "torch": Box(2.2, 2.15, 2.2, 0.95, "rmvpe_torch", "cpu cuda sdaa mps", RUNTIME),
    "convert": Box(5.2, 2.15, 2.2, 0.95, "convert", "weights and runs", DOOR),
    "jax": Box(8.2, 2.15, 2.2, 0.95, "rmvpe_jax", "cpu gpu tpu", RUNTIME),
    "onnx": Box(10.7, 2.15, 1.7, 0.95, "rmvpe_ort", "cpu cuda dml coreml\nwrites ONNX files", RUNTIME),
    "readers": Box(0.2, 0.25, 2.0, 1.05, "data sets", "rmvpe/data/readers\nsynthesis, prepare", DATA),
    "pipeline": Box(2.7, 0.25, 2.0, 1.05, "batches", "rmvpe/data/pipeline\naugment, targets", DATA),
    "training": Box(5.2, 0.25, 2.2, 1.05, "training loop", "rmvpe/training\nlog, states", DATA),
    "evaluation": Box(8.2, 0.25, 2.2, 1.05, "evaluation", "rmvpe/evaluation\nscores, other trackers", DATA),
}


def draw_box(axes: Any, box: Box) -> None:
    """Draw a box with its heading and its text."""
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.09"
    axes.add_patch(
        FancyBboxPatch((box.x, box.y), box.width, box.height, boxstyle=style, facecolor=box.colour, edgecolor=EDGE)
    )
    middle = box.x + box.width / 2
    top = box.y + box.height / 2 + 0.1 * (box.text.count("\n") + 1) + 0.14
    axes.text(middle, top, box.heading, fontsize=LARGE, weight="bold", color=FOREGROUND, ha="center", va="top")
    axes.text(middle, top - 0.27, box.text, fontsize=SMALL, color=FOREGROUND, ha="center", va="top", linespacing=1.35)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], *, both: bool = False) -> None:
    """An arrow from `start` to `end`; `both`: with a head at each end."""
    head = "<|-|>" if both else "-|>"
    style = {"arrowstyle": head, "color": LINE_COLOUR, "linewidth": 1.2, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def draw_arrows(axes: Any) -> None:
    """The ways: sound to f0 from left to right, weights from above, training data along the bottom."""
    box = BOXES
    rows = (("audio", "mel", "network", "decode", "track"), ("cli", "api"), ("readers", "pipeline", "training"))
    for row in rows:
        for first, second in itertools.pairwise(row):
            arrow(axes, box[first].right(), box[second].left())
    arrow(axes, box["checkpoint"].left(), box["api"].right())
    arrow(axes, box["api"].bottom(), (box["api"].bottom()[0], ESTIMATOR[1] + ESTIMATOR[3]))
    arrow(axes, box["training"].right(), box["evaluation"].left())
    for name, side in (("torch", 0.2), ("jax", 0.7), ("onnx", 0.9)):
        arrow(axes, box[name].top(), (box["network"].x + side * box["network"].width, box["network"].y))
    for name, side in (("torch", 0.25), ("jax", 0.75)):
        start = box["training"].x + side * box["training"].width, box["training"].top()[1]
        arrow(axes, start, box[name].bottom(), both=True)
    arrow(axes, box["torch"].right(), box["convert"].left(), both=True)
    arrow(axes, box["convert"].right(), box["jax"].left(), both=True)


def picture() -> Any:
    """The figure."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=110, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.axis("off")
    x, y, width, height = ESTIMATOR
    axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=EDGE, linestyle=(0, (4, 3))))
    axes.text(x + 0.12, y + height - 0.1, "Estimator: rmvpe/estimator", fontsize=SMALL, color=FOREGROUND, va="top")
    for box in BOXES.values():
        draw_box(axes, box)
    draw_arrows(axes)
    handles = [Patch(facecolor=colour, edgecolor=EDGE, label=label) for label, colour in LEGEND.items()]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.0), ncol=4, frameon=False, fontsize=LARGE)
    return figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument("-o", "--output", type=Path, required=True, help="the picture: .png, .svg or .pdf")
    parser.add_argument("--force", action="store_true", help="replace a picture even if rmvpe has not drawn it")


def run(arguments: argparse.Namespace) -> int:
    """Draw and write."""
    check_outputs([Output(arguments.output, "picture")], force=arguments.force)
    check_picture(arguments.output)
    with atomic_path(arguments.output) as temporary:
        picture().savefig(temporary, metadata=mark(arguments.output))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("draw_architecture", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
